"""The wall on the map's page: its tiles, its JSON, and what is selected on it."""

import pytest
from helpers.databases import change, lay_out, rows
from helpers.loading import reload_at_once
from helpers.maps import MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, all_pages, get_json, serve
from helpers.waiting import eventually

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

WALL = f"{MAP}.json?view=wall"
# 24 images on 5 x 5 cells of 32 units, of which the last is empty.
CELL, COLUMNS = 32, 5


def cell(row):
    return (row["x"] / CELL - 0.5, row["y"] / CELL - 0.5)


async def test_every_image_has_a_cell_of_its_own(mapped):
    found = await all_pages(serve(mapped / "photos.db"), f"{WALL}&_size=7")
    wanted = {(x, y) for y in range(COLUMNS) for x in range(COLUMNS)} - {(4, 4)}
    assert {cell(row) for row in found} == wanted and len(found) == 24


async def test_groups_of_the_map_are_groups_of_the_wall(mapped):
    found = await all_pages(serve(mapped / "photos.db"), WALL)
    groups = dict(rows(mapped / "photos.db", "select id, path from images"))
    at = {cell(row): groups[row["id"]].split("/")[1] for row in found}
    alike = [
        at[x, y] == at[x + dx, y + dy]
        for x, y in at
        for dx, dy in ((1, 0), (0, 1))
        if (x + dx, y + dy) in at
    ]
    assert sum(alike) / len(alike) > 0.6  # a group has six images, so many are at its edge


async def test_the_page_switches_between_map_and_wall(mapped):
    ds = serve(mapped / "photos.db")
    for query, view in (("", "map"), ("?view=wall", "wall")):
        html = (await ds.client.get(MAP + query)).text
        assert f'data-view="{view}" aria-current="page"' in html
        assert html.count("data-view=") == 3 and html.count('aria-current="page"') == 2
        assert f"<h1>{view.capitalize()} of images</h1>" in html
        assert f"tiles/0/0/0.jpg{query}" in html  # without JavaScript
    assert f'href="{MAP}?view=wall"' in html and f'href="{MAP}"' in html
    assert 'data-width="160.0" data-height="160.0" data-finest="1"' in html
    assert 'data-deepest="3"' in html and "Whole wall" in html


async def test_tiles_of_the_wall_are_full(mapped):
    ds = serve(mapped / "photos.db")
    dark = (34, 39, 46)
    tile = opened(await ds.client.get(f"{GALLERY}/tiles/1/0/0.jpg?view=wall"))
    pixels = [tile.getpixel((x, y)) for x in range(0, 256, 5) for y in range(0, 256, 5)]
    assert not any(sum(abs(a - b) for a, b in zip(pixel, dark)) < 30 for pixel in pixels)
    sizes = [
        opened(await ds.client.get(f"{GALLERY}/tiles/3/0/0{retina}.jpg?view=wall")).size
        for retina in ("", "@2x")
    ]
    assert sizes == [(256, 256), (512, 512)]


async def test_a_picture_fills_its_tile_at_the_last_zoom(mapped):
    ds = serve(mapped / "photos.db")
    (row,) = (await get_json(ds, f"{WALL}&bbox=0,0,{CELL},{CELL}"))["rows"]
    tile = opened(await ds.client.get(f"{GALLERY}/tiles/3/0/0.jpg?view=wall"))
    thumbnail = opened(await ds.client.get(row["thumbnail"]))
    middle = [image.getpixel((image.width // 2, image.height // 2)) for image in (tile, thumbnail)]
    assert sum(abs(a - b) for a, b in zip(*middle)) < 40


async def test_tiles_of_map_and_wall_are_kept_apart(mapped):
    ds = serve(mapped / "photos.db")
    paths = [f"{GALLERY}/tiles/1/0/0.jpg{query}" for query in ("", "?view=wall", "?view=map")]
    first = [await ds.client.get(path) for path in paths]
    assert first[0].content == first[2].content != first[1].content
    headers = {"if-none-match": first[1].headers["etag"]}
    assert (await ds.client.get(paths[1], headers=headers)).status_code == 304
    assert (await ds.client.get(paths[0], headers=headers)).status_code == 200


async def test_frames_are_coloured_by_a_column(mapped):
    ds = serve(mapped / "photos.db")
    path = f"{GALLERY}/tiles/1/0/0.jpg?view=wall"
    plain, framed = [(await ds.client.get(path + more)).content for more in ("", "&color=path")]
    assert plain != framed


async def test_a_rectangle_of_the_wall_is_a_gallery(mapped):
    ds = serve(mapped / "photos.db")
    bbox = f"0,{CELL},{2 * CELL},{3 * CELL}"
    wanted = {row["id"] for row in await all_pages(ds, f"{WALL}&_size=3&bbox={bbox}")}
    found = await all_pages(ds, f"{GALLERY}.json?_size=3&_in_wall={bbox}")
    assert len(wanted) == 4 and {row["id"] for row in found} == wanted
    html = (await ds.client.get(f"{GALLERY}?_in_wall={bbox}&_size=3")).text
    assert "on the wall between x 0 and" in html and html.count("imgsim-link") == 3
    table = await get_json(ds, f"/photos/images.json?_shape=array&_in_wall={bbox}")
    assert {row["id"] for row in table} == wanted


async def test_at_each_zoom_the_json_says_what_a_cell_shows(mapped):
    ds = serve(mapped / "photos.db")
    for zoom, count in ((0, 8), (1, 24), (2, 24), (3, 24)):
        shown = await all_pages(ds, f"{WALL}&z={zoom}&_size=10")
        assert len(shown) == count and sum(row["count"] for row in shown) == 24
    (first,) = (await get_json(ds, f"{WALL}&id={shown[0]['id']}"))["rows"]
    assert first["zoom"] <= 1 and first["x"] == shown[0]["x"]
    found = (await get_json(ds, f"{WALL}&find=circles"))["rows"]
    assert len(found) == 6


@pytest.mark.parametrize(
    "path, status, error",
    [
        ("/map.json?view=ceiling", 400, "view is map or wall, not 'ceiling'"),
        ("/tiles/0/0/0.jpg?view=ceiling", 400, "view is map or wall"),
        ("/map.json?view=wall&z=4", 404, "The wall has zooms 0 to 3, not 4"),
        ("/tiles/4/0/0.jpg?view=wall", 404, "The wall has zooms 0 to 3, and no tile 4/0/0"),
        ("/tiles/3/8/0.jpg?view=wall", 404, "no tile 3/8/0"),
        (".json?_in_wall=9", 400, "_in_wall is x0,y0,x1,y1"),
    ],
)
async def test_what_makes_no_sense_is_refused(mapped, path, status, error):
    answer = await get_json(serve(mapped / "photos.db"), GALLERY + path, status)
    assert error in answer["error"]


async def test_without_a_map_there_is_no_wall(photos):
    ds = serve(photos / "photos.db")
    for path in (WALL, f"{GALLERY}.json?_in_wall=0,0,9,9"):
        assert "There is no map of the space" in (await get_json(ds, path, 404))["error"]
    assert "datasette imgsim map photos.db" in (await ds.client.get(f"{MAP}?view=wall")).text


async def test_images_that_come_later_get_a_cell(mapped, monkeypatch):
    reload_at_once(monkeypatch)
    database = mapped / "photos.db"
    places = {
        id: place for id, *place in rows(database, "select image_key, x, y from imgsim_atlas")
    }
    change(database, "delete from imgsim_atlas where image_key in (3, 4)")
    ds = serve(database)
    assert (await get_json(ds, WALL))["count"] == 22
    lay_out(database, {id: places[id] for id in (3, 4)}, "interpolated")

    async def all_there():
        answer = await get_json(ds, f"{WALL}&_size=100")
        return answer["count"] == 24 and answer

    answer = await eventually(all_there)
    assert len({cell(row) for row in answer["rows"]}) == 24
