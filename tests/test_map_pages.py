"""The map page, its JSON, its tiles, and the rectangle as a filter."""

import asyncio
import io

import pytest
from conftest import rows
from made import change, lay_out, reload_at_once, set_source
from PIL import Image
from serving import GALLERY, all_pages, cookies, get_json, renamed, serve

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.pages import tiles as map_tiles
from datasette_imgsim.web.state import TILE_OVERHEAD_BYTES, state_of

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

MAP = f"{GALLERY}/map"
CORNERS = ((30, 40), (200, 40), (30, 200), (200, 200))


def places_of(ids):
    """Each group of six images around a corner of its own, a unit between neighbours."""
    return {
        id: (CORNERS[n // 6][0] + n % 6, CORNERS[n // 6][1] + n % 3) for n, id in enumerate(ids)
    }


@pytest.fixture
def mapped(copy_photos):
    """A copy of `photos` whose 24 images lie on a map, each of four groups around its corner."""
    database = copy_photos / "photos.db"
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    return copy_photos


def opened(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content)).convert("RGB")


async def test_without_a_map_the_page_names_the_command(photos):
    ds = serve(photos / "photos.db")
    response = await ds.client.get(MAP)
    assert response.status_code == 200
    assert "datasette imgsim map photos.db" in response.text
    for path in (f"{MAP}.json", f"{GALLERY}/tiles/0/0/0.jpg"):
        answer = await get_json(ds, path, 404)
        assert answer["error"].endswith("run 'datasette imgsim map photos.db'")
    assert "/map" not in (await ds.client.get(GALLERY)).text


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
    wanted = rows(mapped / "photos.db", "select image_id, x, y, placed from imgsim_atlas")
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
        "select image_id from imgsim_atlas where x >= ? and x < ? and y >= ? and y < ?",
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
        ("/map.json?z=x", 400, "z is a zoom"),
        ("/map.json?z=99", 404, "The map has zooms 0 to"),
        ("/map.json?color=nope", 400, "has no column 'nope'"),
        ("/map.json?space=nope", 400, "No space 'nope'"),
        ("/map.json?id=999", 404, "There is no image '999'"),
        ("/map.json?_size=1001", 400, "_size is a whole number from 1 to 1000"),
        ("/tiles/1/2/0.jpg", 404, "no tile 1/2/0"),
        ("/tiles/99/0/0.jpg", 404, "The map has zooms 0 to"),
        ("/tiles/0/0/0.jpg?color=nope", 400, "has no column 'nope'"),
        (".json?bbox=x", 400, "bbox is x0,y0,x1,y1"),
    ],
)
async def test_what_makes_no_sense_is_refused(mapped, path, status, error):
    answer = await get_json(serve(mapped / "photos.db"), GALLERY + path, status)
    assert error in answer["error"]


async def test_a_wrong_rectangle_is_a_sentence_on_the_table_page(mapped):
    response = await serve(mapped / "photos.db").client.get("/photos/images?_in_atlas=1,2")
    assert response.status_code == 400 and "_in_atlas is x0,y0,x1,y1" in response.text


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


async def test_tiles_show_the_images_of_their_part(mapped):
    ds = serve(mapped / "photos.db")
    tile = opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg"))
    large = opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0@2x.jpg"))
    assert (tile.size, large.size) == ((256, 256), (512, 512))
    dark = tile.getpixel((128, 128))
    for x, y in CORNERS:
        centre = (x // 64 * 64 + 32, y // 64 * 64 + 32)
        assert sum(abs(a - b) for a, b in zip(tile.getpixel(centre), dark)) > 60
    empty = opened(await ds.client.get(f"{GALLERY}/tiles/2/1/1.jpg"))
    ((count, colour),) = empty.getcolors()
    assert max(abs(a - b) for a, b in zip(colour, dark)) <= 2


async def test_a_tile_that_a_browser_has_is_not_sent_again(mapped):
    ds = serve(mapped / "photos.db")
    first = await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
    assert first.headers["cache-control"] == "max-age=600"
    headers = {"if-none-match": first.headers["etag"]}
    again = await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg", headers=headers)
    assert (again.status_code, again.content) == (304, b"")


async def test_tiles_asked_for_together_are_drawn_once(mapped, monkeypatch):
    drawn, paint = [], map_tiles._paint
    monkeypatch.setattr(map_tiles, "_paint", lambda *of: drawn.append(of) or paint(*of))
    ds = serve(mapped / "photos.db")
    answers = await asyncio.gather(
        *(ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg") for _ in range(8)),
        *(ds.client.get(f"{GALLERY}/tiles/0/0/0@2x.jpg") for _ in range(8)),
    )
    assert len({answer.content for answer in answers}) == 2 and len(drawn) == 2
    await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
    assert len(drawn) == 2


async def test_only_so_many_tiles_are_kept(mapped, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_of_tiles", 5_000)
    ds = serve(mapped / "photos.db")
    for x in range(4):
        await ds.client.get(f"{GALLERY}/tiles/2/{x}/0.jpg")
    kept = state_of(ds.databases["photos"]).tiles
    assert 1 <= len(kept) < 4
    assert kept.currsize == sum(len(jpeg) + TILE_OVERHEAD_BYTES for _, jpeg in kept.values())


async def test_frames_are_coloured_by_text(mapped):
    change(mapped / "photos.db", "alter table images add column shape text")
    change(
        mapped / "photos.db",
        "update images set shape = case when path like '%circles%' then 'round' "
        "when path like '%dots%' then null else 'edged' end",
    )
    ds = serve(mapped / "photos.db")
    legend = (await get_json(ds, f"{MAP}.json?color=shape&_size=1"))["legend"]
    assert legend["kind"] == "text"
    assert [(entry["label"], entry["count"]) for entry in legend["entries"]] == [
        ("edged", 12),
        ("round", 6),
    ]
    plain, framed = [
        opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg{query}"))
        for query in ("", "?color=shape")
    ]
    assert plain.tobytes() != framed.tobytes()
    # The dots have no shape; they lie around the second corner.
    dots, dots_framed = (each.crop((192, 0, 256, 64)) for each in (plain, framed))
    assert dots.tobytes() == dots_framed.tobytes()


async def test_frames_are_coloured_by_numbers_on_a_scale(mapped):
    ds = serve(mapped / "photos.db")
    legend = (await get_json(ds, f"{MAP}.json?color=bytes&_size=1"))["legend"]
    sizes = rows(mapped / "photos.db", "select bytes from images")
    assert legend["kind"] == "number"
    assert min(sizes) <= legend["low"] < legend["high"] <= max(sizes)


async def test_dates_make_a_scale_too(mapped):
    change(mapped / "photos.db", "update images set taken_at = date('2020-01-01', id || ' days')")
    ds = serve(mapped / "photos.db")
    legend = (await get_json(ds, f"{MAP}.json?color=taken_at&_size=1"))["legend"]
    assert (legend["kind"], legend["low"], legend["high"]) == ("number", "2020-01-02", "2020-01-24")
    opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?color=taken_at"))


async def test_of_paths_the_folder_counts(mapped):
    ds = serve(mapped / "photos.db")
    legend = (await get_json(ds, f"{MAP}.json?color=path&_size=1"))["legend"]
    labels = [(entry["label"], entry["count"]) for entry in legend["entries"]]
    assert labels == [("circles", 6), ("dots", 6), ("squares", 6), ("stripes", 6)]


async def test_the_similar_page_says_where_the_image_lies(mapped):
    ds = serve(mapped / "photos.db")
    html = (await ds.client.get(f"{GALLERY}/similar/1")).text
    (x, y) = rows(mapped / "photos.db", "select x, y from imgsim_atlas where image_id = 1")[0]
    assert f"at x {x:.1f}, y {y:.1f}" in html and f"{MAP}?id=1" in html
    query = (await get_json(ds, f"{GALLERY}/similar/1.json"))["query"]
    assert (query["x"], query["y"]) == (x, y)


async def test_rows_deleted_by_hand_vanish_from_the_map(mapped):
    change(mapped / "photos.db", "delete from images where id = 5")
    ds = serve(mapped / "photos.db")
    assert 5 not in [row["id"] for row in await all_pages(ds, f"{MAP}.json")]


async def test_a_tile_leaves_them_out(mapped):
    ds = serve(mapped / "photos.db")
    ((id, x, y),) = rows(mapped / "photos.db", "select image_id, x, y from imgsim_atlas limit 1")
    deepest = int((await ds.client.get(MAP)).text.split('data-deepest="')[1].split('"')[0])
    side = 256 / 2**deepest
    path = f"{GALLERY}/tiles/{deepest}/{int(x / side)}/{int(y / side)}.jpg"
    before = (await ds.client.get(path)).content
    assert (await ds.client.get(path)).content == before
    change(mapped / "photos.db", "delete from images where id = ?", id)
    after = (await ds.client.get(path)).content
    assert len(after) < len(before)


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_frames_follow_what_is_edited_by_hand(mapped, journal, monkeypatch):
    monkeypatch.setattr(LIMITS, "share_of_reloads", 1e9)
    database = mapped / "photos.db"
    change(database, f"pragma journal_mode = {journal}")
    change(database, "alter table images add column shape text")
    change(database, "update images set shape = 'round' where path like '%circles%'")
    ds = serve(database)
    tile = f"{GALLERY}/tiles/0/0/0.jpg?color=shape"
    contents = [(await ds.client.get(tile)).content]
    for shape in (None, "round", "odd"):
        change(database, "update images set shape = ? where path like '%circles%'", shape)
        contents.append((await ds.client.get(tile)).content)
    assert (
        contents[0] == contents[2]
        and contents[1] == (await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")).content
    )
    legend = (await get_json(ds, f"{MAP}.json?color=shape&_size=1"))["legend"]
    assert [entry["label"] for entry in legend["entries"]] == ["odd"]


async def test_a_map_that_has_not_changed_is_kept_when_the_space_grows(mapped, monkeypatch):
    reload_at_once(monkeypatch)
    ds = serve(mapped / "photos.db")
    await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
    cache = state_of(ds.databases["photos"]).atlases
    (before,) = cache.cache.entries.values()
    generation, atlas = before.loaded
    change(mapped / "photos.db", "update imgsim_spaces set generation = generation + 1")
    for _ in range(200):
        await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
        (after,) = cache.cache.entries.values()
        if after.loaded[0] > generation:
            break
        await asyncio.sleep(0.05)
    assert after.loaded == (generation + 1, atlas)


async def test_a_tile_of_another_version_is_not_to_be_kept(mapped):
    ds = serve(mapped / "photos.db")
    version = (await ds.client.get(MAP)).text.split('data-generation="')[1].split('"')[0]
    for asked, age in ((version, 600), ("0", 0)):
        response = await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?v={asked}")
        assert response.headers["cache-control"] == f"max-age={age}"


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


async def test_infinite_numbers_are_no_trouble(mapped):
    change(mapped / "photos.db", "update images set latitude = 9e999 where id <= 2")
    change(mapped / "photos.db", "update images set latitude = id where id > 2")
    ds = serve(mapped / "photos.db")
    (row,) = (await get_json(ds, f"{MAP}.json?id=1"))["rows"]
    assert row["columns"]["latitude"] == "inf"
    legend = (await get_json(ds, f"{MAP}.json?color=latitude&_size=1"))["legend"]
    assert legend["high"] <= 1e300
    opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?color=latitude"))


async def test_few_numbers_are_categories(mapped):
    change(mapped / "photos.db", "alter table images add column part real")
    change(mapped / "photos.db", "update images set part = id % 3 / 3.0")
    ds = serve(mapped / "photos.db")
    legend = (await get_json(ds, f"{MAP}.json?color=part&_size=1"))["legend"]
    assert [entry["count"] for entry in legend["entries"]] == [8, 8, 8]
    await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?color=part")
    categories = state_of(ds.databases["photos"]).legends.newest("part")
    assert {categories.of(entry["label"]) for entry in legend["entries"]} == {
        entry["color"] for entry in legend["entries"]
    }


async def test_an_empty_area_says_so(mapped):
    html = (await serve(mapped / "photos.db").client.get(f"{GALLERY}?bbox=0,0,1,1")).text
    assert "There are no images in this area" in html and "command line" not in html


async def test_an_unknown_one_among_several_is_passed_over(mapped):
    answer = await get_json(serve(mapped / "photos.db"), f"{MAP}.json?id=2&id=999")
    assert [row["key"] for row in answer["rows"]] == ["2"]


async def test_the_command_names_the_space_where_another_is_the_usual_one(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "create table paintings (id integer primary key, title text)")
    change(
        database,
        """
        insert into imgsim_spaces select 9, 'my paintings', 'paintings', 1, model, weights_sha256,
        levels, pooling, preprocess, dtype, precision, dimensions, 0, null, 0, level_weights,
        null, versions, created_at from imgsim_spaces
        """,
    )
    answer = await get_json(serve(database), "/photos/paintings/-/imgsim/map.json", 404)
    assert "run 'datasette imgsim map photos.db --space 'my paintings'" in answer["error"]


async def test_a_newer_map_takes_the_place_of_the_older_one(mapped):
    ds = serve(mapped / "photos.db")
    (before,) = (await get_json(ds, f"{MAP}.json?id=1"))["rows"]
    lay_out(mapped / "photos.db", {1: (128.5, 128.5)})
    for _ in range(200):
        (row, *_) = (await get_json(ds, f"{MAP}.json?bbox=128,128,129,129"))["rows"] or [None]
        if row:
            break
        await asyncio.sleep(0.05)
    assert row["id"] == 1 and (before["x"], before["y"]) != (row["x"], row["y"])


async def test_text_keys_work_as_numbers_do(mapped):
    keys = renamed(mapped / "photos.db", "our pictures", lambda id: f"no. {id}/ä")
    change(
        mapped / "photos.db",
        "update imgsim_atlas set image_id = 'no. ' || image_id || '/ä'",
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


async def test_an_immutable_database_has_a_map(mapped):
    ds = serve(mapped / "photos.db", immutable=True)
    opened(await ds.client.get(f"{GALLERY}/tiles/1/0/0.jpg"))
