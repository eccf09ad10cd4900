"""Who may see what: each route, and the imgsim_* tables."""

import sqlite3
from contextlib import closing

import pytest
from datasette.app import Datasette
from helpers.commands import imgsim
from helpers.databases import change, copy_space, rows
from helpers.serving import GALLERY, IS_1, cookies, serve

from datasette_imgsim.web import permissions

pytestmark = pytest.mark.datasette

OURS = ["spaces", "vectors", "thumbnails", "failures", "atlas", "contents", "readings"]
ROUTES = [
    ("GET", ""),
    ("GET", ".json"),
    ("GET", "/similar/3"),
    ("GET", "/similar/3.json"),
    ("GET", "/thumbnail/3.jpg"),
    ("GET", "/large/3.jpg"),
    ("POST", "/search"),
]


ANN = {"id": "ann"}
PRIVATE = {
    "instance": {"allow": ANN},
    "database": {"databases": {"photos": {"allow": ANN}}},
    "table": {"databases": {"photos": {"tables": {"images": {"allow": ANN}}}}},
}


def private(folder, where, **plugin):
    return serve(folder / "photos.db", plugin or None, **PRIVATE[where])


async def statuses(ds, path, **options):
    """(anonymous, ann)"""
    found = []
    for jar in ({}, cookies(ds, "ann")):
        found.append((await ds.client.get(path, cookies=jar, **options)).status_code)
    return tuple(found)


@pytest.mark.asyncio
@pytest.mark.parametrize("where", PRIVATE)
@pytest.mark.parametrize("method,path", ROUTES)
async def test_every_route_asks_for_view_table(photos, where, method, path):
    ds = private(photos, where, images_root=str(photos / "images"))
    response = await ds.client.request(method, GALLERY + path)
    assert response.status_code == 403
    assert "imgsim-tile" not in response.text and b"JFIF" not in response.content
    if not path or path == "/similar/3":
        assert "<html" in response.text
    else:
        assert set(response.json()) == {"ok", "error"}
    if method == "GET":
        response = await ds.client.get(GALLERY + path, cookies=cookies(ds, "ann"))
        assert response.status_code == 200, response.text


@pytest.mark.asyncio
@pytest.mark.parametrize("where", PRIVATE)
@pytest.mark.parametrize("table", OURS)
async def test_our_tables_are_as_private_as_the_source_table(photos, where, table):
    ds = private(photos, where)
    for suffix in ("", ".json", ".csv"):
        assert await statuses(ds, f"/photos/imgsim_{table}{suffix}") == (403, 200)
    assert await statuses(ds, f"/photos/IMGSIM_{table}") in ((403, 200), (404, 404), (403, 404))


@pytest.mark.asyncio
async def test_rows_and_blobs_of_our_tables_are_private_too(photos):
    ds = private(photos, "table")
    for path in ("1", "1.json", "1.blob?_blob_column=centre"):
        assert await statuses(ds, f"/photos/imgsim_spaces/{path}") == (403, 200)


@pytest.mark.asyncio
async def test_private_tables_are_not_listed(photos):
    ds = private(photos, "table")
    html = (await ds.client.get("/photos?_show_hidden=1")).text
    assert 'href="/photos/im' not in html
    html = (await ds.client.get("/photos?_show_hidden=1", cookies=cookies(ds, "ann"))).text
    assert 'href="/photos/imgsim_spaces' in html and f'href="{GALLERY}"' in html


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
    for table in OURS:
        assert await statuses(ds, f"/photos/imgsim_{table}") == (403, 200)


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
    ds = private(copy_photos, "table")
    assert await statuses(ds, "/photos/imgsim_thumbnails") == (403, 200)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql",
    [
        "alter table images rename to goods",
        "alter table images rename to other; alter table other rename to Images",
        "drop table images",
        "drop table images; create view images as select 1 as id",
    ],
)
async def test_our_tables_are_closed_when_a_source_table_is_gone(copy_photos, sql):
    with closing(sqlite3.connect(copy_photos / "photos.db")) as conn:
        conn.executescript(sql)
    tables = {"goods": {"allow": ANN}, "Images": {"allow": ANN}}
    ds = serve(copy_photos / "photos.db", databases={"photos": {"tables": tables}})
    for table in OURS:
        assert await statuses(ds, f"/photos/imgsim_{table}") == (403, 403)


@pytest.mark.asyncio
async def test_other_databases_are_left_alone(photos, tmp_path):
    sqlite3.connect(tmp_path / "other.db").execute("create table imgsim_spaces (name text)")
    name = "config" if IS_1 else "metadata"
    files = [str(photos / "photos.db"), str(tmp_path / "other.db")]
    ds = Datasette(files, **{name: PRIVATE["table"]})
    assert await statuses(ds, "/photos/images") == (403, 200)
    assert await statuses(ds, GALLERY) == (403, 200)


@pytest.mark.asyncio
async def test_a_crumb_does_not_tell_of_a_table_that_may_not_be_seen(photos):
    response = await private(photos, "table").client.get(GALLERY)
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
