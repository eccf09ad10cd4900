"""Frames on the map in the colours of a column, and their legend."""

import re
import urllib.parse

import numpy as np
import pytest
from helpers.databases import change, rows, set_source
from helpers.maps import MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, get_json, serve

from datasette_imgsim.atlas.tiles import BACKGROUND
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.pages import colours
from datasette_imgsim.web.pages.colours import OTHER, PALETTE, SCALE
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


async def test_more_values_than_colours_have_dashed_frames_and_are_all_listed(mapped):
    change(mapped / "photos.db", "alter table images add column part text")
    change(mapped / "photos.db", "update images set part = 'part ' || id")
    ds = serve(mapped / "photos.db")
    entries = (await get_json(ds, f"{MAP}.json?color=part&_size=1"))["legend"]["entries"]
    assert len({(entry["color"], entry["dashed"]) for entry in entries}) == len(entries) == 24
    solid, dashed = [
        opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?color=part{more}"))
        for more in ("", "&value=part+24")
    ]
    assert solid.tobytes() != dashed.tobytes()


async def test_a_value_stands_out(mapped):
    ds = serve(mapped / "photos.db")
    paths = dict(rows(mapped / "photos.db", "select id, path from images"))
    legend = (await get_json(ds, f"{MAP}.json?color=path&_size=1"))["legend"]
    dots = next(entry["value"] for entry in legend["entries"] if entry["label"] == "dots")
    query = f"color=path&value={dots}"
    shown = (await get_json(ds, f"{MAP}.json?z=0&{query}"))["rows"]
    assert [row["wanted"] for row in shown] == [6 * ("dots" in paths[row["id"]]) for row in shown]
    plain, chosen = [
        opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?{each}"))
        for each in ("color=path", query)
    ]
    # The dots lie around the second corner and stay bright; the circles are dimmed.
    for corner, shares in (((192, 0, 256, 64), (0.9, 1.1)), ((0, 0, 64, 64), (0.2, 0.8))):
        before, after = [sum(each.crop(corner).convert("L").tobytes()) for each in (plain, chosen)]
        assert shares[0] < after / before < shares[1]


@pytest.mark.parametrize("column", ["bytes", "taken_at", "height"])
async def test_a_step_of_a_scale_stands_out(mapped, column):
    change(mapped / "photos.db", "update images set taken_at = date('2020-01-01', id || ' days')")
    change(mapped / "photos.db", "update images set height = id * id")
    ds = serve(mapped / "photos.db")
    entries = (await get_json(ds, f"{MAP}.json?color={column}&_size=1"))["legend"]["entries"]
    assert 2 <= len(entries) <= 9 and sum(entry["count"] for entry in entries) == 24
    for entry in entries:
        query = {"z": "2", "color": column, "value": entry["value"], "_size": "1000"}
        answer = (await ds.client.get(f"{MAP}.json", params=query)).json()
        assert sum(row["wanted"] for row in answer["rows"]) == entry["count"]


@pytest.mark.parametrize("column", ["path", "bytes", "own"])
@pytest.mark.parametrize(
    "query, passing",
    [("id__lte=8", 8), ("_similar_to=3&_similar_min=0", 23), ("id__exact=99", 0)],
)
async def test_a_legend_counts_what_passes_the_filter(mapped, column, query, passing, monkeypatch):
    monkeypatch.setattr(colours, "MOST_LISTED", 20)  # of 24 values, so that there are others
    change(mapped / "photos.db", "alter table images add column own text")
    change(mapped / "photos.db", "update images set own = 'text ' || id")
    ds = serve(mapped / "photos.db")
    base = f"{MAP}.json?color={column}"
    entries = (await get_json(ds, f"{base}&{query}"))["legend"]["entries"]
    assert sum(entry["wanted"] for entry in entries) == passing
    for entry in entries[:3]:
        value = urllib.parse.quote(entry["value"])
        shown = (await get_json(ds, f"{base}&{query}&value={value}&z=2&_size=1000"))["rows"]
        assert sum(row["wanted"] for row in shown) == entry["wanted"]
    assert "wanted" not in (await get_json(ds, base))["legend"]["entries"][0]


async def test_a_value_that_is_not_there_dims_all(mapped):
    ds = serve(mapped / "photos.db")
    for column in ("bytes", "path"):
        shown = (await get_json(ds, f"{MAP}.json?z=0&color={column}&value=nothing"))["rows"]
        assert {row["wanted"] for row in shown} == {0}


async def test_only_columns_that_say_something_are_offered(mapped):
    database = mapped / "photos.db"
    for column, value in {
        "same": "'always'",
        "own": "'text ' || id",
        "blank": "''",
        "some": "case when id < 5 then 'yes' end",
        "three": "'v' || (id % 3)",
        "number": "id * 1.5",
        "day": "date('2020-01-01', id || ' days')",
    }.items():
        change(database, f"alter table images add column {column}")
        change(database, f"update images set {column} = {value}")
    html = (await serve(database).client.get(MAP)).text
    offered = re.findall(r'<option value="([^"]*)">', html)
    assert sorted(offered) == sorted(
        ["", "path", "folder", "bytes", "some", "three", "number", "day"]
    )
    asked = (await serve(database).client.get(f"{MAP}?color=own")).text
    assert '<option value="own">' in asked


async def test_a_table_without_such_a_column_has_no_choice(mapped):
    database = mapped / "photos.db"
    change(database, "create table shop (id integer primary key, photo blob)")
    change(database, "insert into shop select id, zeroblob(9) from images")
    set_source(database, "shop")
    html = (await serve(database).client.get("/photos/shop/-/imgsim/map")).text
    assert '<label class="imgsim-colour" hidden>' in html


# How people without one kind of cone see linear RGB (Machado, Oliveira and Fernandes 2009)
BLIND = {
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
             [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3),
}  # fmt: skip
# Ottosson (2020)
TO_CONES = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                     [0.2119034982, 0.6806995451, 0.1073969566],
                     [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
TO_OKLAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                     [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def linear(colours):
    """Linear RGB (n, 3) of colours such as '#1f77b4'."""
    rgb = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("cone", BLIND)
async def test_the_colours_can_be_told_apart_by_the_colour_blind(cone):
    seen = np.clip(linear([*PALETTE, OTHER]) @ np.array(BLIND[cone]).T, 0, 1)
    places = np.cbrt(seen @ TO_CONES.T) @ TO_OKLAB.T
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    assert distances[~np.eye(len(places), dtype=bool)].min() > 0.09


async def test_the_colours_stand_out_from_the_map():
    light = linear([BACKGROUND, *PALETTE, *SCALE, OTHER]) @ [0.2126, 0.7152, 0.0722] + 0.05
    assert (light[1:] / light[0]).min() >= 3


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
