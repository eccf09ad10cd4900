"""Frames on the map in the colours of a column, and their legend."""

import pytest
from helpers.databases import change, rows
from helpers.maps import MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, get_json, serve

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.state import get_state

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]


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
    categories = get_state(ds.databases["photos"]).legends.newest("part")
    assert {categories.frame(entry["label"]).color for entry in legend["entries"]} == {
        entry["color"] for entry in legend["entries"]
    }
