"""The gallery page, as HTML and as JSON."""

import re

import pytest
from helpers.commands import imgsim
from helpers.databases import change, rows
from helpers.serving import GALLERY, ROW_KEYS, all_pages, get_json, serve

pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
async def test_gallery_shows_each_image_with_its_links(photos):
    html = (await serve(photos / "photos.db").client.get(GALLERY)).text
    assert html.count('class="imgsim-tile"') == 24
    assert f'href="{GALLERY}/similar/1"' in html
    assert 'href="/photos/images/1"' in html
    assert re.search(rf'src="{GALLERY}/thumbnail/1.jpg" alt="\w+/\d.jpg" loading="lazy"', html)


@pytest.mark.asyncio
async def test_gallery_counts_images_vectors_and_failures(copy_photos):
    database = copy_photos / "photos.db"
    change(
        database,
        "insert into imgsim_failures (source_table, source, error, tried_at) "
        "values ('images', 'a<b.jpg', 'cut off', '')",
    )
    ds = serve(database)
    html = (await ds.client.get(GALLERY)).text
    assert "24 images" in html and "24 vectors" in html and "1 failure" in html
    assert "a&lt;b.jpg" in html and "cut off" in html
    answer = await get_json(ds, f"{GALLERY}.json")
    assert answer["counts"] == {"images": 24, "vectors": 24, "failures": 1}
    assert answer["failures"] == [{"source": "a<b.jpg", "error": "cut off"}]


@pytest.mark.asyncio
async def test_gallery_lists_the_spaces(photos):
    answer = await get_json(serve(photos / "photos.db"), f"{GALLERY}.json")
    (space,) = answer["spaces"]
    assert space["name"] == answer["space"] and space["is_default"] and space["vectors"] == 24
    assert space["model"] == "vgg16-oxford" and space["dimensions"] > 0 and space["levels"]


@pytest.mark.asyncio
async def test_many_failures_are_cut_with_their_total(copy_photos):
    for number in range(103):
        change(
            copy_photos / "photos.db",
            "insert into imgsim_failures (source_table, source, error, tried_at) "
            "values ('images', ?, 'cut off', '')",
            f"{number}.jpg",
        )
    html = (await serve(copy_photos / "photos.db").client.get(GALLERY)).text
    assert "The first 100 of 103" in html
    assert "/photos/imgsim_failures?source_table__exact=images" in html


@pytest.mark.asyncio
async def test_gallery_pages_show_each_image_once(photos):
    found = await all_pages(serve(photos / "photos.db"), f"{GALLERY}.json?_size=7")
    assert [row["id"] for row in found] == rows(photos / "photos.db", "select id from images")
    assert all(set(row) == ROW_KEYS - {"score", "percentile", "word"} for row in found)


@pytest.mark.asyncio
async def test_an_image_without_a_thumbnail_has_a_placeholder(copy_photos):
    change(copy_photos / "photos.db", "delete from imgsim_thumbnails where image_key = 3")
    ds = serve(copy_photos / "photos.db")
    html = (await ds.client.get(GALLERY)).text
    assert "no thumbnail" in html and f"{GALLERY}/thumbnail/3.jpg" not in html
    found = await get_json(ds, f"{GALLERY}.json")
    assert [row["id"] for row in found["rows"] if not row["thumbnail"]] == [3]


@pytest.mark.asyncio
async def test_without_images_the_gallery_says_how_to_add_some(tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "notes.jpg", "--quiet", exit_code=1)
    ds = serve(tmp_path / "photos.db")
    html = (await ds.client.get(GALLERY)).text
    assert "There are no images yet" in html and "datasette imgsim embed photos.db" in html
    assert "notes.jpg" in html and "imgsim-ask" not in html
    assert (await get_json(ds, f"{GALLERY}.json"))["rows"] == []


@pytest.mark.asyncio
async def test_a_space_that_cannot_be_loaded_stops_only_the_search(copy_photos):
    change(copy_photos / "photos.db", "update imgsim_spaces set centre = x'00'")
    ds = serve(copy_photos / "photos.db")
    await get_json(ds, f"{GALLERY}/similar/4.json", 503)
    response = await ds.client.get(GALLERY)
    assert response.status_code == 200 and "cannot be loaded" in response.text
    assert response.text.count('class="imgsim-tile"') == 24


@pytest.mark.asyncio
async def test_gallery_says_how_a_map_is_made(photos):
    html = (await serve(photos / "photos.db").client.get(GALLERY)).text
    assert "<code>datasette imgsim map photos.db</code>" in html


@pytest.mark.asyncio
async def test_gallery_links_the_map_that_there_is(mapped):
    html = (await serve(mapped / "photos.db").client.get(GALLERY)).text
    assert f'href="{GALLERY}/map"' in html and "imgsim map" not in html
