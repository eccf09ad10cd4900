"""The tiles of the map page."""

import asyncio

import pytest
from helpers.databases import change, rows
from helpers.loading import reload_at_once
from helpers.maps import CORNERS, MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, serve
from helpers.waiting import eventually

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.pages import tiles as map_tiles
from datasette_imgsim.web.state import TILE_OVERHEAD_BYTES, get_state

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]


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
    kept = get_state(ds.databases["photos"]).tiles
    assert 1 <= len(kept) < 4
    assert kept.currsize == sum(len(jpeg) + TILE_OVERHEAD_BYTES for _, jpeg in kept.values())


async def test_a_tile_leaves_them_out(mapped):
    ds = serve(mapped / "photos.db")
    ((id, x, y),) = rows(mapped / "photos.db", "select image_key, x, y from imgsim_atlas limit 1")
    deepest = int((await ds.client.get(MAP)).text.split('data-deepest="')[1].split('"')[0])
    side = 256 / 2**deepest
    path = f"{GALLERY}/tiles/{deepest}/{int(x / side)}/{int(y / side)}.jpg"
    before = (await ds.client.get(path)).content
    assert (await ds.client.get(path)).content == before
    change(mapped / "photos.db", "delete from images where id = ?", id)
    after = (await ds.client.get(path)).content
    assert len(after) < len(before)


async def test_a_map_that_has_not_changed_is_kept_when_the_space_grows(mapped, monkeypatch):
    reload_at_once(monkeypatch)
    ds = serve(mapped / "photos.db")
    await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
    cache = get_state(ds.databases["photos"]).atlases
    (before,) = cache.cache.entries.values()
    generation, atlas = before.loaded
    change(mapped / "photos.db", "update imgsim_spaces set generation = generation + 1")

    async def newer():
        await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg")
        (after,) = cache.cache.entries.values()
        return after.loaded[0] > generation and after

    after = await eventually(newer)
    assert after.loaded == (generation + 1, atlas)


async def test_a_tile_of_another_version_is_not_to_be_kept(mapped):
    ds = serve(mapped / "photos.db")
    version = (await ds.client.get(MAP)).text.split('data-generation="')[1].split('"')[0]
    for asked, age in ((version, 600), ("0", 0)):
        response = await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?v={asked}")
        assert response.headers["cache-control"] == f"max-age={age}"


async def test_an_immutable_database_has_a_map(mapped):
    ds = serve(mapped / "photos.db", immutable=True)
    opened(await ds.client.get(f"{GALLERY}/tiles/1/0/0.jpg"))
