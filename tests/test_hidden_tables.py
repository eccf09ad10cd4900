"""Which tables Datasette's own lists of tables leave out."""

import re

import pytest
from datasette.database import Database
from helpers.commands import embed
from helpers.databases import change, set_source
from helpers.pictures import draw_groups
from helpers.serving import serve

from datasette_imgsim.web.state import get_state

pytestmark = pytest.mark.datasette


async def listed(ds, database="photos"):
    """The tables that the page of a database lists."""
    html = (await ds.client.get(f"/{database}")).text
    return re.findall(rf'<h3><a href="/{database}/([^"]+)', html)


def databases_at_home(html):
    """What the page of the instance lists below each database."""
    return re.findall(r'<p><a href="(/[^"]+)"', html.split("<h1>")[1])


@pytest.mark.asyncio
async def test_only_tables_for_people_are_listed(photos):
    ds = serve(photos / "photos.db")
    assert await listed(ds) == ["images"]
    html = (await ds.client.get("/")).text
    assert databases_at_home(html) == ["/photos/images"] and "/photos/imgsim_" not in html
    # They are hidden, not gone.
    shown = (await ds.client.get("/photos?_show_hidden=1")).text
    for table in ("imgsim_vectors", "_sqlite_migrations", "sqlite_sequence"):
        assert f'<h3><a href="/photos/{table}">' in shown
    assert (await ds.client.get("/photos/imgsim_spaces")).status_code == 200


@pytest.mark.asyncio
async def test_what_the_users_configuration_says_comes_first(copy_photos):
    change(copy_photos / "photos.db", "create table other (id integer primary key)")
    tables = {"imgsim_spaces": {"hidden": False}, "other": {"hidden": True}}
    ds = serve(copy_photos / "photos.db", databases={"photos": {"tables": tables}})
    assert await listed(ds) == ["images", "imgsim_spaces"]


@pytest.mark.asyncio
async def test_tables_of_other_people_stay(tmp_path):
    database = tmp_path / "plain.db"
    columns = "(id integer primary key autoincrement, source_table text)"
    change(database, f"create table imgsim_spaces {columns}")
    change(database, "create table _sqlite_migrations (migration_set, name)")
    change(database, "create table imgsim_mine (id integer primary key)")
    assert {"imgsim_mine", "imgsim_spaces", "sqlite_sequence"} <= set(
        await listed(serve(database), "plain")
    )


@pytest.mark.asyncio
async def test_a_source_table_stays_whatever_its_name_is(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "alter table images rename to imgsim_of_me")
    set_source(database, "imgsim_of_me")
    change(database, "delete from imgsim_readings")
    assert "imgsim_of_me" in await listed(serve(database))


@pytest.mark.asyncio
async def test_a_database_may_come_or_get_images_later(tmp_path, photos):
    change(tmp_path / "photos.db", "create table plain (id integer primary key)")
    ds = serve(tmp_path / "photos.db")
    assert await listed(ds) == ["plain"]
    draw_groups(tmp_path / "images", 1)
    embed(tmp_path)
    ds.add_database(Database(ds, path=str(photos / "photos.db"), is_mutable=True), name="more")
    for name, expected in (("photos", {"images", "plain"}), ("more", {"images"})):
        get_state(ds.get_database(name)).remembered.clear()  # a moment later
        ds._last_schema_refresh = 0  # Datasette 1.0 looks for tables once a second
        assert set(await listed(ds, name)) == expected
