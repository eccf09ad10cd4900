"""The map page, its JSON, and its rectangle as a filter."""

import pytest
from helpers.databases import change, copy_space, lay_out, renamed, rows, set_source
from helpers.maps import MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, all_pages, cookies, get_json, serve
from helpers.waiting import eventually

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]


async def test_without_a_map_the_page_names_the_command(photos):
    ds = serve(photos / "photos.db")
    response = await ds.client.get(MAP)
    assert response.status_code == 200
    assert "datasette imgsim map photos.db" in response.text
    for path in (f"{MAP}.json", f"{GALLERY}/tiles/0/0/0.jpg"):
        answer = await get_json(ds, path, 404)
        assert answer["error"].endswith("run 'datasette imgsim map photos.db'")


async def test_the_page_says_what_the_map_holds(mapped):
    ds = serve(mapped / "photos.db")
    html = (await ds.client.get(MAP)).text
    assert "24 images" in html and "placed between" not in html
    assert f"{MAP}" in (await ds.client.get(GALLERY)).text
    lay_out(mapped / "photos.db", {1: (128, 128)}, "interpolated")
    html = (await serve(mapped / "photos.db").client.get(MAP)).text
    assert "24 images, 1 of them placed between the others" in html


async def test_the_json_holds_every_image_with_its_place(mapped):
    ds = serve(mapped / "photos.db")
    found = await all_pages(ds, f"{MAP}.json?_size=7")
    wanted = rows(mapped / "photos.db", "select image_key, x, y, placed from imgsim_atlas")
    assert [(row["id"], row["x"], row["y"], row["placed"]) for row in found] == sorted(wanted)
    assert found[0]["thumbnail"] == f"{GALLERY}/thumbnail/{found[0]['id']}.jpg"
    answer = await get_json(ds, f"{MAP}.json?_size=1")
    assert (answer["ok"], answer["count"], answer["space"]) == (True, 24, "vgg16-oxford")


@pytest.mark.parametrize(
    "bbox, count",
    [
        ("0,0,256,256", 24),
        ("0,0,128,128", 6),
        ("30,40,33,256", 6),
        ("30,40,30,40", 0),
        ("31,0,32,41", 0),
    ],
)
async def test_a_rectangle_bounds_the_map_the_gallery_and_the_table(mapped, bbox, count):
    ds = serve(mapped / "photos.db")
    x0, y0, x1, y1 = map(int, bbox.split(","))
    wanted = rows(
        mapped / "photos.db",
        "select image_key from imgsim_atlas where x >= ? and x < ? and y >= ? and y < ?",
        *(x0, x1, y0, y1),
    )
    assert len(wanted) == count
    for path in (f"{MAP}.json?_size=4&bbox={bbox}", f"{GALLERY}.json?_size=4&bbox={bbox}"):
        assert sorted(row["id"] for row in await all_pages(ds, path)) == sorted(wanted)
    table = await get_json(ds, f"/photos/images.json?_in_atlas={bbox}&_shape=array")
    assert sorted(row["id"] for row in table) == sorted(wanted)


async def test_the_rectangle_is_a_filter_like_others(mapped):
    ds = serve(mapped / "photos.db")
    query = "_in_atlas=0,0,128,128"
    html = (await ds.client.get(f"/photos/images?{query}")).text
    assert "on the map between x 0 and 128, y 0 and 128" in html
    csv = (await ds.client.get(f"/photos/images.csv?{query}")).text
    assert len(csv.split()) == 7
    (first, *_) = await get_json(ds, f"/photos/images.json?{query}&_shape=array")
    both = f"{query}&_similar_to={first['id']}&_similar_min=0"
    assert len(await get_json(ds, f"/photos/images.json?{both}&_shape=array")) == 5


@pytest.mark.parametrize(
    "path, status, error",
    [
        ("/map.json?bbox=3", 400, "bbox is x0,y0,x1,y1"),
        ("/map.json?bbox=9,0,1,1", 400, "bbox is x0,y0,x1,y1"),
        ("/map.json?bbox=nan,0,1,1", 400, "bbox is x0,y0,x1,y1"),
        ("/map.json?bbox=-inf,-inf,inf,inf", 400, "bbox is x0,y0,x1,y1"),
        ("/map.json?bbox=0,0,1e999,1", 400, "bbox is x0,y0,x1,y1"),
        (".json?bbox=0,-Infinity,1,1", 400, "_in_atlas is x0,y0,x1,y1"),
        ("/map.json?z=x", 400, "z is a zoom"),
        ("/map.json?z=99", 404, "The map has zooms 0 to"),
        ("/map.json?color=nope", 400, "has no column 'nope'"),
        ("/map.json?space=nope", 400, "No space 'nope'"),
        ("/map.json?id=999", 404, "There is no image '999'"),
        ("/map.json?_size=1001", 400, "_size is a whole number from 1 to 1000"),
        ("/tiles/1/2/0.jpg", 404, "no tile 1/2/0"),
        ("/tiles/99/0/0.jpg", 404, "The map has zooms 0 to"),
        ("/tiles/0/0/0.jpg?color=nope", 400, "has no column 'nope'"),
        (".json?bbox=x", 400, "_in_atlas is x0,y0,x1,y1"),
    ],
)
async def test_what_makes_no_sense_is_refused(mapped, path, status, error):
    answer = await get_json(serve(mapped / "photos.db"), GALLERY + path, status)
    assert error in answer["error"]


@pytest.mark.parametrize("bounds", ["1,2", "-inf,-inf,inf,inf", "0,0,1,nan", "0,0,1e999,1"])
async def test_a_wrong_rectangle_is_a_sentence_on_the_table_page(mapped, bounds):
    ds = serve(mapped / "photos.db")
    for suffix in ("", ".json"):
        response = await ds.client.get(f"/photos/images{suffix}?_in_atlas={bounds}")
        assert response.status_code == 400 and "_in_atlas is x0,y0,x1,y1" in response.text


async def test_a_rectangle_of_a_map_that_is_not_there_is_a_sentence(photos):
    ds = serve(photos / "photos.db")
    for path in ("{}/-/imgsim{}?bbox=0,0,9,9", "{}{}?_in_atlas=0,0,9,9"):
        for suffix in ("", ".json"):
            response = await ds.client.get(path.format("/photos/images", suffix))
            assert response.status_code == 404
            assert "There is no map of the space" in response.text
            assert "datasette imgsim map photos.db" in response.text


async def test_at_each_zoom_the_json_counts_what_an_image_stands_for(mapped):
    ds = serve(mapped / "photos.db")
    shown = await all_pages(ds, f"{MAP}.json?z=0&_size=3")
    assert [row["count"] for row in shown] == [6, 6, 6, 6]
    part = await all_pages(ds, f"{MAP}.json?z=0&bbox=100,0,256,100")
    assert [row["id"] for row in part] == [row["id"] for row in shown if row["x"] > 100 > row["y"]]
    (first, *_) = await all_pages(ds, f"{MAP}.json?id={shown[0]['id']}")
    assert first["zoom"] == 0 and first["columns"]["path"].endswith(first["name"])


async def test_images_are_found_by_id_and_by_name(mapped):
    ds = serve(mapped / "photos.db")
    paths = dict(rows(mapped / "photos.db", "select id, path from images"))
    (last,) = (await get_json(ds, f"{MAP}.json?find=24"))["rows"]
    assert last["id"] == 24 and last["zoom"] >= 0
    found = (await get_json(ds, f"{MAP}.json?find=CIRCLES"))["rows"]
    assert {row["id"] for row in found} == {id for id, path in paths.items() if "circles" in path}
    assert (await get_json(ds, f"{MAP}.json?find=%25"))["rows"] == []
    several = (await get_json(ds, f"{MAP}.json?id=3&id=1"))["rows"]
    assert [row["id"] for row in several] == [3, 1]


async def test_the_similar_page_says_where_the_image_lies(mapped):
    ds = serve(mapped / "photos.db")
    html = (await ds.client.get(f"{GALLERY}/similar/1")).text
    (x, y) = rows(mapped / "photos.db", "select x, y from imgsim_atlas where image_key = 1")[0]
    assert f"at x {x:.1f}, y {y:.1f}" in html and f"{MAP}?id=1" in html
    query = (await get_json(ds, f"{GALLERY}/similar/1.json"))["query"]
    assert (query["x"], query["y"]) == (x, y)


async def test_rows_deleted_by_hand_vanish_from_the_map(mapped):
    change(mapped / "photos.db", "delete from images where id = 5")
    ds = serve(mapped / "photos.db")
    assert 5 not in [row["id"] for row in await all_pages(ds, f"{MAP}.json")]


async def test_pictures_in_the_table_itself_are_not_read(mapped):
    database = mapped / "photos.db"
    change(database, "create table shop (id integer primary key, photo blob, price real)")
    change(database, "insert into shop select id, zeroblob(9), id / 3.0 from images")
    set_source(database, "shop")
    ds = serve(database)
    shop = "/photos/shop/-/imgsim/map"
    assert 'value="photo"' not in (await ds.client.get(shop)).text
    (row,) = (await get_json(ds, f"{shop}.json?id=3"))["rows"]
    assert row["columns"] == {"id": 3, "price": 1.0} and row["name"] == "3"
    assert (await get_json(ds, f"{shop}.json?find=a"))["rows"] == []
    await get_json(ds, f"{shop}.json?color=photo", 400)


async def test_an_empty_area_says_so(mapped):
    html = (await serve(mapped / "photos.db").client.get(f"{GALLERY}?bbox=0,0,1,1")).text
    assert "No image passes this filter" in html and "command line" not in html


async def test_an_unknown_one_among_several_is_passed_over(mapped):
    answer = await get_json(serve(mapped / "photos.db"), f"{MAP}.json?id=2&id=999")
    assert [row["key"] for row in answer["rows"]] == ["2"]


async def test_the_command_names_the_space_where_another_is_the_usual_one(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "create table paintings (id integer primary key, title text)")
    copy_space(database, "my paintings", "paintings")
    answer = await get_json(serve(database), "/photos/paintings/-/imgsim/map.json", 404)
    assert "run 'datasette imgsim map photos.db --space 'my paintings'" in answer["error"]


async def test_a_newer_map_takes_the_place_of_the_older_one(mapped):
    ds = serve(mapped / "photos.db")
    (before,) = (await get_json(ds, f"{MAP}.json?id=1"))["rows"]
    lay_out(mapped / "photos.db", {1: (128.5, 128.5)})

    async def there():
        return (await get_json(ds, f"{MAP}.json?bbox=128,128,129,129"))["rows"]

    (row,) = await eventually(there)
    assert row["id"] == 1 and (before["x"], before["y"]) != (row["x"], row["y"])


async def test_text_keys_work_as_numbers_do(mapped):
    keys = renamed(mapped / "photos.db", "our pictures", lambda id: f"no. {id}/ä")
    change(
        mapped / "photos.db",
        "update imgsim_atlas set image_key = 'no. ' || image_key || '/ä'",
    )
    ds = serve(mapped / "photos.db")
    base = "/photos/our+pictures/-/imgsim"
    found = await all_pages(ds, f"{base}/map.json?_size=10")
    assert {row["id"] for row in found} == set(keys.values())
    (row,) = (await get_json(ds, f"{base}/map.json?find=no. 7/ä"))["rows"]
    assert row["id"] == "no. 7/ä" and row["zoom"] >= 0
    opened(await ds.client.get(f"{base}/tiles/0/0/0.jpg?color=path"))
    table = await get_json(ds, "/photos/our+pictures.json?_in_atlas=0,0,128,128&_shape=array")
    assert len(table) == 6


async def test_who_may_not_view_the_table_sees_no_map(mapped):
    private = {"photos": {"tables": {"images": {"allow": {"id": "ann"}}}}}
    ds = serve(mapped / "photos.db", databases=private)
    for path in (MAP, f"{MAP}.json", f"{GALLERY}/tiles/0/0/0.jpg"):
        assert (await ds.client.get(path)).status_code == 403
        assert (await ds.client.get(path, cookies=cookies(ds, "ann"))).status_code == 200


async def test_a_prefix_of_all_urls_is_kept(mapped):
    ds = serve(mapped / "photos.db", settings={"base_url": "/pre/"})
    html = (await ds.client.get(MAP)).text
    assert f'data-map="/pre{MAP}"' in html and f'data-gallery="/pre{GALLERY}"' in html
    row = (await get_json(ds, f"{MAP}.json"))["rows"][0]
    assert row["thumbnail"].startswith("/pre/") and row["href"].startswith("/pre/")
