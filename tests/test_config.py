"""The configuration of the plugin."""

import json
import math

import pytest
from click.testing import CliRunner
from datasette.cli import cli
from datasette.utils import StartupError
from helpers.serving import GALLERY, IS_1, serve

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
        ({"images_root": "not/there"}, "images_root is a folder that exists"),
        ({"images_root": "a\0b"}, "images_root is a folder that exists"),
        ({"images_root": "~nobody-of-this-name/x"}, "images_root is a folder that exists"),
        ({"images_root": 3}, "images_root is a folder that exists"),
        ({"space": 3}, "space is the name of a space"),
        ({"engine": "milvus"}, 'engine is an object such as {"milvus": '),
        ({"engine": {"milvus": 3}}, 'engine is an object such as {"milvus": '),
        ({"engine": {"timeout_ms": 100}}, 'engine is an object such as {"milvus": '),
        ({"engine": {"faiss": "x"}}, "engine names 'faiss': there is milvus"),
        ({"engine": {"milvus": "a.db", "token": 3}}, "token of engine is text"),
        ({"engine": {"milvus": "a.db", "timeout_ms": 0}}, "timeout_ms of engine is a number above"),
        ({"engine": {"milvus": "a.db", "timeout_ms": 1000}}, "less than sql_time_limit_ms, which"),
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


@pytest.mark.asyncio
@pytest.mark.parametrize("images_root", ["images", "./images/", "../{}/images"])
async def test_a_relative_folder_is_beside_the_database(photos, images_root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ds = serve(photos / "photos.db", {"images_root": images_root.format(photos.name)})
    assert (await ds.client.get(f"{GALLERY}/large/3.jpg")).status_code == 200


@pytest.mark.parametrize("images_root", ["not/there", "a\0b"])
def test_the_program_says_it_in_one_sentence(photos, images_root, tmp_path):
    config = {"plugins": {"datasette-imgsim": {"images_root": images_root}}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    option = "--config" if IS_1 else "--metadata"
    result = CliRunner().invoke(
        cli, [str(photos / "photos.db"), option, str(file), "--get", "/-/versions.json"]
    )
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "images_root is a folder that exists" in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.asyncio
@pytest.mark.parametrize("of_database", [False, True])
async def test_a_space_that_is_not_there_stops_the_start(photos, tmp_path, of_database):
    plugin = {"space": "nope"}
    config = {"databases": {"photos": {"plugins": {"datasette-imgsim": plugin}}}}
    ds = serve(
        photos / "photos.db", None if of_database else plugin, **(config if of_database else {})
    )
    with pytest.raises(StartupError, match="no space 'nope' is in .*: there is vgg16-oxford$"):
        await ds.invoke_startup()
    # Where nothing is embedded yet, it may come.
    (tmp_path / "photos.db").touch()
    ds = serve(tmp_path / "photos.db", plugin)
    await ds.invoke_startup()
