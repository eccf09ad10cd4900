"""Which tables have pages."""

import pytest
from helpers.commands import embed_toy
from helpers.databases import change, copy_space, set_source
from helpers.serving import GALLERY, get_json, serve

pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/photos/other", "/photos/nope", "/nope/images"])
async def test_tables_without_images_are_not_found(copy_photos, path):
    change(copy_photos / "photos.db", "create table other (id integer primary key)")
    ds = serve(copy_photos / "photos.db")
    assert (await get_json(ds, f"{path}/-/imgsim.json", 404))["error"]
    assert (await ds.client.get(f"{path}/-/imgsim")).status_code == 404


@pytest.mark.asyncio
async def test_a_database_without_our_tables_shows_nothing_of_us(tmp_path):
    change(tmp_path / "plain.db", "create table images (id integer primary key, path text)")
    ds = serve(tmp_path / "plain.db")
    answer = await get_json(ds, "/plain/images/-/imgsim.json", 404)
    assert "datasette imgsim embed" in answer["error"]
    for path in ("/plain", "/plain/images"):
        assert "imgsim" not in (await ds.client.get(path)).text


def moved_to_products(database, images):
    """Makes the images those of a table `products`, beside another table of their old name."""
    change(database, "alter table images rename to products")
    set_source(database, "products")
    change(database, images)
    change(database, "insert into images values (1, 'https://example.com/a.jpg')")


@pytest.mark.asyncio
async def test_somebody_elses_table_of_the_name_images_is_none_of_ours(copy_photos):
    database = copy_photos / "photos.db"
    moved_to_products(database, "create table images (id integer primary key, url text)")
    ds = serve(database)
    assert (await get_json(ds, f"{GALLERY}.json", 404))["error"]
    html = (await ds.client.get("/photos/images")).text
    assert "example.com" in html and "imgsim" not in html
    assert GALLERY not in (await ds.client.get("/photos")).text
    assert 'class="imgsim-cell"' in (await ds.client.get("/photos/products")).text


@pytest.mark.asyncio
async def test_a_table_that_cannot_be_used_does_not_hide_another(copy_photos):
    database = copy_photos / "photos.db"
    moved_to_products(database, "create table images (id, url, primary key (id, url))")
    copy_space(database, "compound", "images")
    ds = serve(database)
    assert 'class="imgsim-cell"' in (await ds.client.get("/photos/products")).text
    assert "compound primary key" in (await get_json(ds, f"{GALLERY}.json", 503))["error"]


@pytest.mark.asyncio
async def test_a_source_table_is_listed_once(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "alter table images rename to pictures")
    change(database, "alter table pictures rename to Images")
    set_source(database, "Images")
    html = (await serve(database).client.get("/photos")).text
    assert "/photos/Images/-/imgsim" in html and GALLERY not in html


@pytest.mark.asyncio
async def test_images_have_a_page_before_the_first_could_be_embedded(tmp_path, toy):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/broken.jpg").write_bytes(b"\xff\xd8\xff")
    embed_toy(tmp_path, exit_code=1)
    change(tmp_path / "photos.db", "delete from imgsim_spaces")
    answer = await get_json(serve(tmp_path / "photos.db"), GALLERY + ".json")
    assert [each["source"] for each in answer["failures"]] == ["images/broken.jpg"]
