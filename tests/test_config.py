"""The configuration of the plugin."""

import math

import pytest
from datasette.utils import StartupError
from helpers.serving import GALLERY, serve

pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "plugin,sentence",
    [
        ({"uploads": "no"}, "uploads is true, false or an allow block"),
        ({"max_upload_mb": 0}, "max_upload_mb is a finite number above 0"),
        ({"max_upload_mb": "20"}, "max_upload_mb is a finite number above 0"),
        ({"max_upload_mb": math.inf}, "max_upload_mb is a finite number above 0"),
        ({"max_upload_mb": math.nan}, "max_upload_mb is a finite number above 0"),
        ({"max_upload_mb": 1e308}, "max_upload_mb is a finite number above 0"),
        ({"max_upload_mb": True}, "max_upload_mb is a finite number above 0"),
        ({"images_root": "/does/not/exist"}, "images_root is a folder that exists"),
        ({"space": 3}, "space is the name of a space"),
        ({"upload": False}, "there is no setting 'upload', only uploads"),
    ],
)
@pytest.mark.parametrize("of_database", [False, True])
async def test_wrong_settings_stop_the_start_with_a_sentence(photos, plugin, sentence, of_database):
    ds = serve(
        photos / "photos.db",
        None if of_database else plugin,
        databases={"photos": {"plugins": {"datasette-imgsim": plugin}} if of_database else {}},
    )
    with pytest.raises(StartupError) as raised:
        await ds.invoke_startup()
    assert sentence in str(raised.value)


@pytest.mark.asyncio
async def test_a_database_overlays_single_settings_of_the_instance(photos):
    ds = serve(
        photos / "photos.db",
        {"uploads": False},
        databases={
            "photos": {"plugins": {"datasette-imgsim": {"images_root": str(photos / "images")}}}
        },
    )
    assert (await ds.client.get(f"{GALLERY}/large/3.jpg")).status_code == 200
    assert (await ds.client.post(f"{GALLERY}/search", content=b"x")).status_code == 403
