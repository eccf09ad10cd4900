"""Thumbnails and menus in Datasette's own tables.

The plugin datasette-render-images is installed beside ours.
"""

import pytest
from helpers.databases import change
from helpers.serving import GALLERY, IS_1, serve

from datasette_imgsim.limits import LIMITS

pytestmark = pytest.mark.datasette

SIMILAR = f"{GALLERY}/similar/3"


@pytest.mark.asyncio
async def test_the_source_table_shows_thumbnails_that_lead_to_similar_images(photos):
    ds = serve(photos / "photos.db")
    html = (await ds.client.get("/photos/images")).text
    assert html.count('class="imgsim-cell"') == 24
    assert f'<a class="imgsim-cell" href="{SIMILAR}"><img src="{GALLERY}/thumbnail/3.jpg"' in html
    assert "table-cells.css" in html


@pytest.mark.asyncio
async def test_the_row_page_shows_the_thumbnail(photos):
    html = (await serve(photos / "photos.db").client.get("/photos/images/3")).text
    assert html.count('class="imgsim-cell"') == 1 and "table-cells.css" in html


@pytest.mark.asyncio
@pytest.mark.parametrize("most, shown", [(20_000, 22), (5, 24)])
async def test_a_row_without_a_thumbnail_stays_as_it_is(copy_photos, monkeypatch, most, shown):
    monkeypatch.setattr(LIMITS, "most_thumbnails_known", most)
    database = copy_photos / "photos.db"
    change(database, "delete from imgsim_thumbnails where image_key in (3, 5)")
    html = (await serve(database).client.get("/photos/images")).text
    assert html.count('class="imgsim-cell"') == shown
    assert (f"{GALLERY}/thumbnail/3.jpg" in html) == (shown == 24)
    assert ">images/circles/2.jpg</td>" in html or shown == 24


@pytest.mark.asyncio
async def test_other_tables_and_formats_stay_as_they_are(photos):
    ds = serve(photos / "photos.db")
    assert "imgsim-cell" not in (await ds.client.get("/photos/imgsim_spaces")).text
    assert "imgsim-cell" not in (await ds.client.get("/photos/images.json?_shape=array")).text
    assert "imgsim-cell" not in (await ds.client.get("/photos/images.csv")).text
    query = await ds.client.get("/photos?sql=select+*+from+images", follow_redirects=True)
    assert "imgsim-cell" not in query.text


@pytest.mark.asyncio
async def test_cells_keep_their_text_escaped(copy_photos):
    change(
        copy_photos / "photos.db",
        "update images set path = 'images/<b>&\"x.jpg' where id = 3",
    )
    ds = serve(copy_photos / "photos.db")
    for path in ("/photos/images", GALLERY, SIMILAR):
        html = (await ds.client.get(path)).text
        assert "<b>" not in html and "&lt;b&gt;" in html


@pytest.mark.asyncio
async def test_action_menus_lead_to_the_pages(photos):
    ds = serve(photos / "photos.db")
    for path in ("/photos", "/photos/images"):
        assert f'href="{GALLERY}"' in (await ds.client.get(path)).text
    assert f'href="{GALLERY}"' not in (await ds.client.get("/photos/imgsim_spaces")).text


@pytest.mark.asyncio
@pytest.mark.skipif(not IS_1, reason="Datasette 0.65 has no row actions")
async def test_row_actions_lead_to_similar_images(photos):
    html = (await serve(photos / "photos.db").client.get("/photos/images/3")).text
    assert "Similar images" in html
