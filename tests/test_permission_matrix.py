"""Every route and every imgsim_* table, where nothing is denied, a table, a database, or all.

The routes come from the lists of routes, ours and Datasette's, and the tables from the database.
"""

import re
import shutil

import pytest
from datasette.utils import path_from_row_pks
from helpers.databases import change, lay_out, our_tables, rows
from helpers.maps import places_of
from helpers.pictures import as_jpeg
from helpers.routes import PATTERNS, hold, is_upload, paths_of
from helpers.serving import cookies, serve
from PIL import Image

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

ANN = {"id": "ann"}
DENIED = {
    "nothing": {},
    # Whoever may run SQL may read every table, so who hides a table denies that, too.
    "table": {"databases": {"photos": {"allow_sql": ANN, "tables": {"images": {"allow": ANN}}}}},
    "database": {"databases": {"photos": {"allow": ANN}}},
    "instance": {"allow": ANN},
}
SQL = (
    "select similar_to(3)",
    "select imgsim_score(3, 4)",
    "select imgsim_status()",
    "select * from imgsim_vectors",
)
everywhere = pytest.mark.parametrize("denied", DENIED)


@pytest.fixture(scope="module")
def complete(photos, tmp_path_factory):
    """photos.db with a map and with rows in every table of ours; beside it, its pictures."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("complete") / "photos")
    database = folder / "photos.db"
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    for table in our_tables(database):
        if rows(database, f"select count(*) from {table}") == [0]:
            fill(database, table)
    return folder


def fill(database, table):
    """Adds a row about the image 3."""
    known = {"source_table": "images", "image_key": 3, "space_id": 1, "kind": "near"}
    columns = rows(database, f"select name, type from pragma_table_info('{table}')")
    values = [known.get(name, 1 if kind == "INTEGER" else "x") for name, kind in columns]
    names = ", ".join(name for name, _ in columns)
    places = ", ".join("?" * len(values))
    change(database, f"insert into {table} ({names}) values ({places})", *values)


def first_row(database, table):
    """The part of an address that names the first row of a table."""
    columns = rows(database, f"select name, pk from pragma_table_info('{table}')")
    keys = [name for name, place in sorted(columns, key=lambda column: column[1]) if place]
    keys = keys or ["rowid"]
    values = rows(database, f"select {', '.join(keys)} from {table} limit 1")[0]
    values = values if isinstance(values, tuple) else (values,)
    return path_from_row_pks(dict(zip(keys, values)), keys, keys == ["rowid"])


def addresses(ds, table, row):
    """Where Datasette's own routes show something of a table or of a row of it."""
    for pattern, _view in ds._routes():
        pattern = getattr(pattern, "pattern", pattern).removesuffix("$")
        if "P<table>" not in pattern or "imgsim" in pattern:
            continue
        for group, value in (("database", "photos"), ("table", table), ("pks", row)):
            pattern = re.sub(rf"\(\?P<{group}>[^)]+\)", lambda _match, value=value: value, pattern)
        path, formats, _rest = pattern.partition(r"(\.(?P<format>")
        yield path
        if formats:
            yield from (path + suffix for suffix in (".json", ".blob"))


def server(folder, denied):
    ds = serve(folder / "photos.db", {"images_root": str(folder)}, **DENIED[denied])
    hold(ds, folder / "photos.db")
    return ds


def all_paths():
    return [path for pattern in PATTERNS for path in paths_of(pattern)]


async def statuses(ds, method, path, **options):
    """(anybody's, Ann's)"""
    jars = ({}, cookies(ds, "ann"))
    options["follow_redirects"] = True  # Datasette 1.0 has moved queries
    answers = [await ds.client.request(method, path, cookies=jar, **options) for jar in jars]
    return tuple(answer.status_code for answer in answers)


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_every_route_has_an_example(pattern):
    assert paths_of(pattern), "Add an example of this route to helpers/routes.py"


@everywhere
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_our_routes(complete, denied, method):
    ds, wrong = server(complete, denied), {}
    for path in all_paths():
        allowed = 405 if is_upload(path) else 200
        found = await statuses(ds, method, path)
        if found != (allowed if denied == "nothing" else 403, allowed):
            wrong[path] = found
    assert wrong == {}


@everywhere
async def test_what_is_sent_to_our_routes(complete, denied):
    ds, picture = server(complete, denied), as_jpeg(Image.new("RGB", (50, 50), "red"))
    for path in all_paths():
        response = await ds.client.post(path, content=picture)
        assert response.status_code == (200 if denied == "nothing" else 403), path
        if denied != "nothing":
            assert "imgsim-tile" not in response.text and b"JFIF" not in response.content
            if "<html" not in response.text:
                assert set(response.json()) == {"ok", "error"}


@everywhere
async def test_our_functions_and_tables_in_sql(complete, denied):
    ds = server(complete, denied)
    for sql in SQL:
        for suffix in ("", ".json", ".csv"):
            found = await statuses(ds, "GET", f"/photos{suffix}", params={"sql": sql})
            assert found == (200 if denied == "nothing" else 403, 200), (sql, suffix)


@everywhere
@pytest.mark.parametrize("path", ["/photos/images", "/photos/images/3", "/photos/images.csv"])
async def test_pages_of_the_source_table(complete, denied, path):
    found = await statuses(server(complete, denied), "GET", f"{path}?_similar_to=3")
    assert found == (200 if denied == "nothing" else 403, 200)


@everywhere
async def test_lists_of_tables(complete, denied):
    ds = server(complete, denied)
    for path in ("/", "/.json", "/photos", "/photos.json"):
        for jar, is_allowed in (({}, denied == "nothing"), (cookies(ds, "ann"), True)):
            text = (await ds.client.get(path, cookies=jar)).text
            names = re.findall("imgsim_[vtfacr][a-z]+|images", text)
            # The pages of all databases list only some of the tables.
            assert is_allowed or not names, (path, names)
            assert names or not is_allowed or "photos" not in path, path


@everywhere
async def test_our_tables(complete, denied):
    ds, wrong = server(complete, denied), {}
    for table in our_tables(complete / "photos.db"):
        for suffix in ("", ".json", ".csv"):
            found = await statuses(ds, "GET", f"/photos/{table}{suffix}")
            if found != (200 if denied == "nothing" else 403, 200):
                wrong[table + suffix] = found
    assert wrong == {}


@pytest.mark.parametrize("denied", [name for name in DENIED if name != "nothing"])
async def test_all_that_datasette_makes_of_our_tables(complete, denied):
    ds, wrong = server(complete, denied), {}
    database = complete / "photos.db"
    for table in our_tables(database):
        paths = list(addresses(ds, table, first_row(database, table)))
        assert f"/photos/{table}" in paths
        for path in paths:
            response = await ds.client.get(path)
            # Some are only for writing (405), and some formats not for tables (404).
            if response.status_code not in (403, 404, 405):
                wrong[path] = response.status_code
    assert wrong == {}
