"""Finding images of the map by id, by text in any column, and with a full-text index."""

import pytest
import sqlite_utils
from helpers.databases import change
from helpers.maps import MAP
from helpers.serving import get_json, serve

from datasette_imgsim.web.pages import finding
from datasette_imgsim.web.pages.finding import _excerpt, shortest_ends

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]


@pytest.fixture
def described(mapped):
    """A map whose images have a camera and a story."""
    database = mapped / "photos.db"
    change(database, "alter table images add column story text")
    change(database, "update images set story = 'A boat near the old harbour' where id <= 12")
    change(database, "update images set camera = 'Harbour X1' where id = 13")
    return database


async def found(database, text, **config):
    """(id, name, detail) of what is found."""
    answer = await get_json(serve(database, **config), f"{MAP}.json?find={text}")
    return [(row["id"], row["name"], row["detail"]) for row in answer["rows"]]


async def test_all_columns_of_text_are_searched(described):
    hits = await found(described, "harbour")
    assert len(hits) == 13
    assert hits[0][2].startswith("camera: Harbour X1") or hits[0][2].startswith("story: ")
    assert {detail.split(":")[0] for _, _, detail in hits} == {"camera", "story"}
    assert len({(name, detail) for _, name, detail in hits}) == 13
    assert await found(described, "old+boat") == []  # without an index, a text as it stands


async def test_the_id_comes_first_then_the_names(described):
    change(described, "update images set story = 'circles' where path like '%dots%'")
    hits = await found(described, "7")
    assert hits[0][0] == 7 and hits[0][2] is None
    hits = await found(described, "circles")
    assert [bool(detail and "story" in detail) for _, _, detail in hits] == 6 * [False] + 6 * [True]


async def test_images_within_the_filter_come_first(described, monkeypatch):
    ds = serve(described)
    query = f"{MAP}.json?find=jpg&path__contains=stripes"
    stripes = [True] * 6 + [False] * 18
    assert [row["selected"] for row in (await get_json(ds, query))["rows"]] == stripes
    assert "selected" not in (await get_json(ds, f"{MAP}.json?find=jpg"))["rows"][0]
    # Also of more than are shown, and of those that a full-text index finds
    monkeypatch.setattr(finding.find, "__defaults__", (None, 5))
    assert [row["selected"] for row in (await get_json(ds, query))["rows"]] == [True] * 5
    with sqlite_utils.Database(described) as db:
        db["images"].enable_fts(["story"])
    rows = (await get_json(serve(described), f"{MAP}.json?find=harbour&id__gt=9"))["rows"]
    assert [row["selected"] for row in rows] == [True] * 3 + [False] * 2


async def test_an_image_is_opened_whatever_the_filter(described, gate):
    ds = serve(described)
    for name in ("find=jpg", "z=0"):
        await get_json(ds, f"{MAP}.json?{name}&_similar_to=3", 503)
    (row,) = (await get_json(ds, f"{MAP}.json?id=5&_similar_to=3"))["rows"]
    assert row["id"] == 5 and "selected" not in row


async def test_checksums_are_only_searched_for_what_may_be_one(described):
    (sum,) = (
        sqlite_utils.Database(described)
        .execute("select sha256 from images where id = 3")
        .fetchone()
    )
    assert await found(described, sum[:4] + "zz") == []
    assert [id for id, _, _ in await found(described, sum[:12])] == [3]
    short = {detail for _, _, detail in await found(described, sum[0]) if detail}
    assert not any(detail.startswith("sha256") for detail in short)


@pytest.mark.parametrize("version", ["FTS4", "FTS5"])
async def test_a_full_text_index_finds_words_and_their_beginnings(described, version):
    with sqlite_utils.Database(described) as db:
        db["images"].enable_fts(["story"], fts_version=version)
    for text in ("harbour+boat", "boat+harb", '"old+harbour"'):
        assert len(await found(described, text)) == 12, text
    # What the index lacks is found all the same.
    assert [id for id, _, _ in await found(described, "X1")] == [13]
    assert await found(described, '"') == []


async def test_the_index_that_datasette_is_told_of_is_used(described):
    with sqlite_utils.Database(described) as db:
        db["words"].insert_all(
            ({"row": row["id"], "word": "zebra"} for row in list(db["images"].rows)[:2]),
        )
        db["words"].enable_fts(["word"])
    tables = {"photos": {"tables": {"images": {"fts_table": "words_fts", "fts_pk": "id"}}}}
    assert [id for id, _, _ in await found(described, "zebra", databases=tables)] == [1, 2]
    missing = {"photos": {"tables": {"images": {"fts_table": "gone"}}}}
    assert len(await found(described, "harbour", databases=missing)) == 13


async def test_equal_names_of_a_table_without_paths_are_told_apart_by_id(mapped):
    database = mapped / "photos.db"
    change(database, "alter table images add column title text")
    change(database, "update images set title = 'Untitled'")
    tables = {"photos": {"tables": {"images": {"label_column": "title"}}}}
    hits = await found(database, "untitled", databases=tables)
    assert {name for _, name, _ in hits} == {"Untitled"}
    assert len({detail for _, _, detail in hits}) == 24
    assert hits[0][2].endswith("circles/0.jpg")


async def test_a_search_that_takes_too_long_says_what_helps(mapped):
    ds = serve(mapped / "photos.db", settings={"sql_time_limit_ms": 50})
    change(mapped / "photos.db", "update images set camera = hex(zeroblob(20000000))")
    answer = await get_json(ds, f"{MAP}.json?find=nowhere", 400)
    assert "sqlite-utils enable-fts photos.db images" in answer["error"]


@pytest.mark.parametrize(
    "paths, ends",
    [
        (["a/b/3.jpg", "a/c/3.jpg"], ["b/3.jpg", "c/3.jpg"]),
        (["x/a/3.jpg", "y/a/3.jpg", "y/b/3.jpg"], ["x/a/3.jpg", "y/a/3.jpg", "b/3.jpg"]),
        (["a/3.jpg", "a/4.jpg"], ["3.jpg", "4.jpg"]),
        (["3.jpg", "a/3.jpg"], ["3.jpg", "a/3.jpg"]),
        (["", ""], [None, None]),
        ([], []),
    ],
)
async def test_the_shortest_ends_that_tell_paths_apart(paths, ends):
    assert shortest_ends(paths) == ends


@pytest.mark.parametrize(
    "value, text, excerpt",
    [
        ("short", "or", "short"),
        ("a " * 100 + "needle" + " b" * 100, "NEEDLE", "…"),
        ("line\nbreak", "break", "line break"),
        ("x" * 500, "nothing", "x" * 70 + "…"),
    ],
)
async def test_a_long_value_is_shown_in_part(value, text, excerpt):
    part = _excerpt(value, text)
    assert part.startswith(excerpt) and len(part) <= 72
    assert text.lower() in part.lower() or text == "nothing"
