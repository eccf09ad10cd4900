"""Who may see what, in special cases; test_permission_matrix.py has the ordinary ones."""

import sqlite3
from contextlib import closing

import pytest
from datasette.app import Datasette
from helpers.commands import imgsim
from helpers.databases import change, copy_space, make_space, our_tables, random_vectors, rows
from helpers.serving import GALLERY, IS_1, cookies, serve

from datasette_imgsim.web import permissions

pytestmark = pytest.mark.datasette

ANN = {"id": "ann"}
PRIVATE = {"databases": {"photos": {"tables": {"images": {"allow": ANN}}}}}


def private(folder):
    return serve(folder / "photos.db", **PRIVATE)


async def statuses(ds, path, **options):
    """(anonymous, ann)"""
    found = []
    for jar in ({}, cookies(ds, "ann")):
        found.append((await ds.client.get(path, cookies=jar, **options)).status_code)
    return tuple(found)


@pytest.mark.asyncio
async def test_our_tables_are_private_in_capitals_too(photos):
    ds = private(photos)
    for table in our_tables(photos / "photos.db"):
        assert await statuses(ds, f"/photos/{table.upper()}") in (
            (403, 200),
            (404, 404),
            (403, 404),
        )


@pytest.mark.asyncio
async def test_allowing_our_tables_does_not_open_them(photos):
    tables = {"images": {"allow": ANN}, "imgsim_vectors": {"allow": True}}
    ds = serve(photos / "photos.db", databases={"photos": {"tables": tables}})
    assert await statuses(ds, "/photos/imgsim_vectors") == (403, 200)


@pytest.mark.asyncio
async def test_a_denied_table_of_ours_stays_denied(photos):
    tables = {"imgsim_vectors": {"allow": False}}
    ds = serve(photos / "photos.db", databases={"photos": {"tables": tables}})
    assert await statuses(ds, "/photos/imgsim_vectors") == (403, 403)
    assert await statuses(ds, "/photos/imgsim_spaces") == (200, 200)


def second_table(database, name="drawings"):
    """Another source table, with a space of its own."""
    change(database, f"create table {name} (id integer primary key, path text)")
    change(database, f"insert into {name} select id, path from images")
    copy_space(database, "second", name)


@pytest.mark.asyncio
@pytest.mark.parametrize("hidden", ["images", "drawings"])
async def test_one_private_source_table_closes_our_tables(copy_photos, hidden):
    second_table(copy_photos / "photos.db")
    config = {"photos": {"tables": {hidden: {"allow": ANN}}}}
    ds = serve(copy_photos / "photos.db", databases=config)
    seen = "drawings" if hidden == "images" else "images"
    assert await statuses(ds, f"/photos/{hidden}/-/imgsim") == (403, 200)
    assert await statuses(ds, f"/photos/{seen}/-/imgsim") == (200, 200)
    for table in our_tables(copy_photos / "photos.db"):
        assert await statuses(ds, f"/photos/{table}") == (403, 200)


@pytest.mark.asyncio
async def test_errors_do_not_name_spaces_of_other_tables(copy_photos):
    second_table(copy_photos / "photos.db")
    ds = serve(copy_photos / "photos.db")
    response = await ds.client.get(f"{GALLERY}.json?space=second")
    assert response.status_code == 400 and "there is vgg16-oxford" in response.json()["error"]


@pytest.mark.asyncio
async def test_thumbnails_stay_private_when_the_last_space_was_dropped(copy_photos):
    imgsim("drop", copy_photos / "photos.db", "vgg16-oxford")
    assert rows(copy_photos / "photos.db", "select count(*) from imgsim_thumbnails") == [24]
    ds = private(copy_photos)
    assert await statuses(ds, "/photos/imgsim_thumbnails") == (403, 200)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql",
    [
        "alter table images rename to goods",
        "drop table images",
        "drop table images; create view images as select 1 as id",
    ],
)
async def test_our_tables_are_closed_when_a_source_table_is_gone(copy_photos, sql):
    with closing(sqlite3.connect(copy_photos / "photos.db")) as conn:
        conn.executescript(sql)
    tables = {"goods": {"allow": ANN}}
    ds = serve(copy_photos / "photos.db", databases={"photos": {"tables": tables}})
    for table in our_tables(copy_photos / "photos.db"):
        assert await statuses(ds, f"/photos/{table}") == (403, 403)


@pytest.mark.asyncio
@pytest.mark.parametrize("denied", ["images", "Images"])
async def test_of_a_table_renamed_in_case_both_names_must_be_allowed(copy_photos, denied):
    with closing(sqlite3.connect(copy_photos / "photos.db")) as conn:
        conn.executescript("alter table images rename to x; alter table x rename to Images")
    tables = {denied: {"allow": ANN}}
    ds = serve(copy_photos / "photos.db", databases={"photos": {"tables": tables}})
    for table in our_tables(copy_photos / "photos.db"):
        assert await statuses(ds, f"/photos/{table}") == (403, 200)


@pytest.mark.asyncio
async def test_other_databases_are_left_alone(photos, tmp_path):
    sqlite3.connect(tmp_path / "other.db").execute("create table imgsim_spaces (name text)")
    name = "config" if IS_1 else "metadata"
    files = [str(photos / "photos.db"), str(tmp_path / "other.db")]
    ds = Datasette(files, **{name: PRIVATE})
    assert await statuses(ds, "/photos/images") == (403, 200)
    assert await statuses(ds, GALLERY) == (403, 200)


@pytest.mark.asyncio
async def test_a_crumb_does_not_tell_of_a_table_that_may_not_be_seen(photos):
    response = await private(photos).client.get(GALLERY)
    assert "/photos/images" not in response.text


@pytest.mark.asyncio
async def test_databases_are_not_visited_at_every_check(photos, monkeypatch):
    ds = serve(photos / "photos.db")
    visits, ours = [], permissions._ours
    monkeypatch.setattr(permissions, "_ours", lambda conn: visits.append(conn) or ours(conn))
    for id in range(1, 6):
        assert (await ds.client.get(f"{GALLERY}/thumbnail/{id}.jpg")).status_code == 200
        assert (await ds.client.get("/photos/imgsim_spaces")).status_code == 200
    assert len(visits) < 5


@pytest.mark.asyncio
async def test_many_databases_are_not_asked_about_at_every_check(photos, tmp_path, monkeypatch):
    others = [make_space(tmp_path / f"other{n}.db", random_vectors(3)) for n in range(8)]
    ds = Datasette([str(path) for path in (photos / "photos.db", *others)])
    asked, denied_tables = [], permissions._denied_tables

    def counted(datasette, actor, database):
        asked.append(database)
        return denied_tables(datasette, actor, database)

    monkeypatch.setattr(permissions, "_denied_tables", counted)
    for id in range(1, 13):
        assert (await ds.client.get(f"{GALLERY}/thumbnail/{id}.jpg")).status_code == 200
    assert len(asked) < 6 * len(others)
