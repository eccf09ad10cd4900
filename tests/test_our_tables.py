"""Our tables in Datasette's own pages, and in SQL as people write it, for keys of every kind."""

import csv
import io
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers.databases import KEYS, change, make_space, mapped_space, random_vectors, rows
from helpers.serving import ask, below, get_json, started

from datasette_imgsim.db.schema import OF_IMAGES, OF_SPACES

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

TABLES = [*OF_SPACES, *OF_IMAGES]
FILLED = {
    "imgsim_neighbours": "(space_id, image_key, rank, neighbour_key, score) "
    "select 1, id, 1, id, 0.5 from images",
    "imgsim_duplicates": "(space_id, group_id, kind, image_key, keep, note) "
    "select 1, 1, 'near', id, 0, '' from images",
    "imgsim_group_members": "(space_id, group_id, image_key) select 1, 1, id from images",
    "imgsim_verdicts": "(source_table, image_key, other_key, verdict, decided_at) "
    "select 'images', id, id, 'settled', '' from images",
    "imgsim_thumbnails": "(source_table, image_key, jpeg) select 'images', id, x'ffd8' from images",
    "imgsim_contents": "(source_table, image_key, sha256) select 'images', id, 'a' from images",
    "imgsim_readings": "(source_table, image_key) select 'images', id from images",
}


THE_MAP_IN_SQL = (
    (Path(__file__).parent.parent / "docs/sql.md")
    .read_text(encoding="utf-8")
    .split("## The map in SQL")[1]
    .split("\n## ")[0]
)


def fill(path):
    """Rows for all images in the tables that a run would have filled."""
    for table, values in FILLED.items():
        change(path, f"insert into {table} {values}")


@pytest.fixture(params=KEYS)
def filled(request, tmp_path):
    """(path of a database whose key is of this kind, its keys)"""
    path, keys = mapped_space(tmp_path / "photos.db", request.param)
    fill(path)
    return path, keys


async def pages(ds, path):
    """The ids in all pages of a table."""
    found = []
    while path:
        page = await get_json(ds, path)
        found += [row["image_id"] for row in page["rows"]]
        path = page["next_url"] and below(page["next_url"])
    return found


async def test_all_rows_are_shown_page_by_page(filled):
    path, keys = filled
    ds = await started(path)
    for table in TABLES:
        for query in ("", "&_sort=image_id", "&_sort_desc=image_id"):
            path = f"/photos/{table}.json?_shape=objects&_size=7{query}"
            assert sorted(await pages(ds, path)) == sorted(map(str, keys)), (table, query)


async def test_a_csv_stream_has_all_rows(filled):
    path, keys = filled
    ds = await started(path, settings={"max_returned_rows": 7})
    for table in TABLES:
        text = (await ds.client.get(f"/photos/{table}.csv?_stream=1&_size=max")).text
        ids = [row["image_id"] for row in csv.DictReader(io.StringIO(text))]
        assert sorted(ids) == sorted(map(str, keys)), table


async def test_each_row_has_its_page(filled):
    path, keys = filled
    ds = await started(path)
    for table in TABLES:
        html = (await ds.client.get(f"/photos/{table}?_size=max")).text
        links = set(re.findall(rf'href="(/photos/{table}/[^"?]+)"', html))
        assert len(links) == len(keys)
        for link in sorted(links)[:3]:
            response = await ds.client.get(f"{unescape(link)}.json?_shape=objects")
            assert response.status_code == 200
            assert response.json()["rows"][0]["image_id"] in map(str, keys)


async def test_filters_and_facets_find_an_image(filled):
    path, keys = filled
    ds = await started(path)
    for table in TABLES:
        page = f"/photos/{table}.json?_shape=objects"
        for key in keys[::13]:
            for name in ("image_id", "image_id__exact", "image_id__in"):
                if name == "image_id__in" and "," in str(key):
                    continue
                found = await get_json(ds, f"{page}&{name}={quote(str(key), safe='')}")
                assert [row["image_id"] for row in found["rows"]] == [str(key)], (table, name)
        facets = await get_json(ds, f"{page}&_facet=image_id&_facet_size=max&_extra=facet_results")
        results = facets["facet_results"]
        results = results.get("results", results)["image_id"]["results"]
        assert sorted(entry["value"] for entry in results) == sorted(map(str, keys))
        narrowed = await get_json(ds, below(results[5]["toggle_url"]) + "&_shape=objects")
        assert [row["image_id"] for row in narrowed["rows"]] == [results[5]["value"]]


@pytest.mark.parametrize(
    "sql",
    [
        "select image_key from {} where image_id = :id",
        "select images.id from images join {} on image_key = images.id where image_id = :id",
        "select images.id from {} join images on images.id = image_key where image_id = :id",
        "select images.id from images join {} on image_id = cast(images.id as text) "
        "where image_id = :id",
        "select id from images where cast(id as text) in "
        "(select image_id from {} where image_id = :id)",
    ],
)
async def test_sql_finds_an_image_by_its_id(filled, sql):
    path, keys = filled
    ds = await started(path)
    for table in TABLES:
        for key in (keys[2], keys[-1]):
            status, body = await ask(ds, sql.format(table), id=str(key))
            assert (status, body["rows"]) == (200, [[key]]), table


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.+?)```", THE_MAP_IN_SQL, re.S))
async def test_queries_of_the_docs_give_the_images_for_every_kind_of_key(filled, sql):
    path, keys = filled
    # The table of this test has no paths.
    sql = sql.replace("images.path", "images.id").replace("image_id = 1", "image_id = :id")
    status, body = await ask(await started(path), sql, id=str(keys[3]))
    assert status == 200
    if "images.id," not in sql:
        assert body["rows"]
    else:
        expected = keys if "placed" in sql else keys[: len(body["rows"])]
        found = [row[0] for row in body["rows"]]
        assert len(found) in (20, 30) and set(found) <= set(keys)
        assert "placed" in sql or found[0] == keys[3]
        assert sorted(map(str, found)) == sorted(map(str, expected)) or "limit" in sql


async def test_keys_that_look_alike_stay_different(tmp_path):
    path, keys = tmp_path / "photos.db", [7, "7", "007", 8]
    make_space(path, random_vectors(4), keys, key="primary key")
    fill(path)
    ds = await started(path)
    for table in sorted(FILLED):
        found = await get_json(ds, f"/photos/{table}.json?_shape=objects&image_id=007")
        assert [row["image_key"] for row in found["rows"]] == ["007"]
        found = await get_json(ds, f"/photos/{table}.json?_shape=objects&image_id=7")
        assert [row["image_key"] for row in found["rows"]] == [7, "7"]
        assert rows(path, f"select image_key from {table} where image_key = 7") == [7]


@pytest.mark.parametrize("table", TABLES)
async def test_an_image_is_looked_up_in_an_index(filled, table):
    path, _ = filled
    owner = "space_id = 1" if table in OF_SPACES else "source_table = 'images'"
    for condition in (
        f"image_id = '7' and {owner}",
        "image_id = '7'",
        f"image_key = 7 and {owner}",
    ):
        ((*_, plan),) = rows(path, f"explain query plan select * from {table} where {condition}")
        assert plan.count("=?") == 1 + (" and " in condition), plan


async def test_other_programs_read_and_copy_them(filled, tmp_path):
    path, keys = filled
    with closing(sqlite3.connect(path)) as conn, closing(sqlite3.connect(":memory:")) as copy:
        copy.executescript("".join(conn.iterdump()).replace('DELETE FROM "sqlite_sequence";', ""))
        for table in TABLES:
            select = f"select * from {table} order by rowid"
            assert copy.execute(select).fetchall() == conn.execute(select).fetchall()
        conn.execute("create table mine as select * from imgsim_atlas")
        assert conn.execute("select count(image_id) from mine").fetchone() == (len(keys),)
