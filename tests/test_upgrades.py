"""Databases as earlier versions of the tables wrote them: they open, migrate and answer as before.

The statements are copies, kept as they were: they must not follow the package.
"""

import json
import sqlite3
from contextlib import closing
from html import unescape

import pytest
from helpers.commands import imgsim
from helpers.databases import answer, change, copy_space, make_defensive, random_vectors, rows
from helpers.pictures import draw_groups
from helpers.serving import ask_one, get_json, serve

VERSION_1 = """
create table images (
    id integer primary key autoincrement, path text not null unique, sha256 text, bytes integer,
    mtime_ns integer, width integer, height integer, format text, taken_at text, camera text,
    latitude real, longitude real
);
create table imgsim_spaces (
    id integer primary key autoincrement, name text not null unique, source_table text not null,
    is_default integer not null, model text not null, weights_sha256 text not null,
    levels text not null, pooling text not null, preprocess text not null, dtype text not null,
    precision text not null, dimensions integer not null, generation integer not null default 0,
    centre blob, centred_on integer not null default 0, level_weights text not null,
    calibration text, versions text not null, created_at text not null
);
create table imgsim_vectors (
    space_id integer not null references imgsim_spaces(id), image_id not null,
    vector blob not null, norms blob not null, primary key (space_id, image_id)
);
create table imgsim_thumbnails (
    source_table text not null, image_id not null, jpeg blob not null,
    primary key (source_table, image_id)
);
create table imgsim_failures (
    source_table text not null, source text not null, error text not null, bytes integer,
    mtime_ns integer, tried_at text not null, primary key (source_table, source)
);
create table imgsim_atlas (
    space_id integer not null references imgsim_spaces(id), image_id not null,
    x real not null check (x >= 0 and x < 256), y real not null check (y >= 0 and y < 256),
    placed text not null check (placed in ('fitted', 'interpolated')),
    primary key (space_id, image_id)
);
create table _sqlite_migrations (
    id integer primary key, migration_set text, name text, applied_at text
);
insert into _sqlite_migrations (migration_set, name, applied_at)
    values ('datasette-imgsim', 'm001_spaces_vectors_thumbnails_failures', '2026-01-01');
"""
VERSION_2 = (
    VERSION_1
    + """
create table imgsim_contents (
    source_table text not null, image_id not null, sha256 text not null, bytes integer,
    mtime_ns integer, primary key (source_table, image_id)
);
insert into _sqlite_migrations (migration_set, name, applied_at)
    values ('datasette-imgsim', 'm002_contents', '2026-02-01');
"""
)
VERSION_4 = (
    VERSION_2
    + """
create table imgsim_readings (
    source_table text not null, image_id not null, thumbnail_size integer,
    gps integer not null default 0, primary key (source_table, image_id)
);
alter table imgsim_contents add column path text;
alter table imgsim_failures add column path text;
insert into _sqlite_migrations (migration_set, name, applied_at)
    values ('datasette-imgsim', 'm003_readings', '2026-03-01'),
    ('datasette-imgsim', 'm004_paths_of_pictures', '2026-04-01');
"""
)
PREPROCESS = {"normalise": "torchvision", "resize": "squash", "size": 8}


def write(path, script):
    """A database with ten images, as a version wrote it."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.executescript(script)
        conn.execute(
            "insert into imgsim_spaces (name, source_table, is_default, model, weights_sha256, "
            "levels, pooling, preprocess, dtype, precision, dimensions, generation, level_weights, "
            "versions, created_at) values ('toy', 'images', 1, 'toy', '0', ?, 'avg', ?, "
            "'float32', 'float32', 10, 3, ?, '{}', '2026-01-01T00:00:00+00:00')",
            ['{"pool4": 6, "pool5": 4}', json.dumps(PREPROCESS), '{"pool4": 1, "pool5": 1}'],
        )
        for id, vector in enumerate(random_vectors(10).astype("<f4"), 1):
            conn.execute("insert into images (path) values (?)", [f"images/{id}.jpg"])
            conn.execute(
                "insert into imgsim_vectors values (1, ?, ?, zeroblob(8))", [id, vector.tobytes()]
            )
            conn.execute("insert into imgsim_atlas values (1, ?, ?, 5, 'fitted')", [id, 20 * id])


VERSIONS = {"version 1": VERSION_1, "version 2": VERSION_2, "version 4": VERSION_4}


@pytest.fixture(params=VERSIONS)
def old(request, tmp_path):
    path = tmp_path / "photos.db"
    write(path, VERSIONS[request.param])
    return path


@pytest.fixture
def newest(tmp_path):
    """The newest of the older ones."""
    path = tmp_path / "photos.db"
    write(path, VERSION_4)
    return path


@pytest.fixture(params=["as usual", "defensive"])
def mode(request, monkeypatch):
    """SQLite also in its defensive mode, in which nobody may write to its schema."""
    if request.param == "as usual":
        return
    connect = sqlite3.connect

    def connect_defensively(*args, **options):
        conn = connect(*args, **options)
        make_defensive(conn)
        return conn

    monkeypatch.setattr(sqlite3, "connect", connect_defensively)
    with closing(connect_defensively(":memory:")) as conn:
        conn.execute("pragma writable_schema = on")
        with pytest.raises(sqlite3.OperationalError):
            conn.execute("delete from sqlite_master")


def contents(path, table, columns):
    return rows(path, f"select {', '.join(columns)} from {table} order by 1, 2")


def test_a_command_upgrades_it_and_nothing_is_lost(old, mode):
    before = {}
    for table in ("images", "imgsim_spaces", "imgsim_vectors", "imgsim_atlas"):
        columns = rows(old, "select name from pragma_table_info(?)", table)
        before[table] = columns, contents(old, table, columns)
    assert "toy (the default): 10 images" in imgsim("spaces", old)
    for table, (columns, held) in before.items():
        kept = ["image_key" if name == "image_id" else name for name in columns]
        assert contents(old, table, kept) == held
    assert rows(old, "pragma integrity_check") == ["ok"]
    assert rows(old, "select source_key from imgsim_spaces") == ["id"]


def test_it_is_as_a_new_one_is(old, tmp_path, toy, mode):
    imgsim("spaces", old)
    draw_groups(tmp_path / "images", 1)
    imgsim("embed", tmp_path / "new.db", tmp_path / "images", "--model", "toy")
    sql = "select name, sql from sqlite_master where tbl_name like 'imgsim%' order by 1"
    assert rows(old, sql) == rows(tmp_path / "new.db", sql)


def test_views_indexes_and_triggers_of_the_users_own_go_on(newest, mode):
    for statement in (
        "create index mine on imgsim_atlas (image_id, x)",
        "create view places as select path, x from images join imgsim_atlas on image_id = id",
        "create view broken as select * from nowhere",
        "create table log (id)",
        "create trigger noted after insert on imgsim_atlas begin insert into log values "
        "(new.image_id); end",
    ):
        change(newest, statement)
    before = rows(newest, "select * from places order by 1")
    imgsim("spaces", newest)
    assert rows(newest, "select * from places order by 1") == before
    assert rows(newest, "select x from imgsim_atlas where image_id = '3'") == [60.0]
    change(newest, "insert into imgsim_atlas values (1, 11, 5, 5, 'fitted')")
    assert rows(newest, "select * from log") == ["11"]
    assert rows(newest, "pragma integrity_check") == ["ok"]


def test_a_table_that_was_renamed_in_case_has_its_images_once(newest, mode):
    for source, id in (("Images", 1), ("images", 1), ("IMAGES", 2), ("zoo", 1), ("Über", 1)):
        change(newest, f"insert into imgsim_thumbnails values ('{source}', {id}, x'ff')")
    copy_space(newest, "second", "Images")
    imgsim("spaces", newest)
    sql = "select image_key from imgsim_thumbnails where source_table = 'images' order by 1"
    assert rows(newest, sql) == [1, 2]
    assert rows(newest, "select count(*) from imgsim_thumbnails") == [4]
    assert rows(newest, "select is_default from imgsim_spaces order by id") == [1, 0]
    assert rows(newest, "pragma integrity_check") == ["ok"]


@pytest.mark.datasette
@pytest.mark.asyncio
@pytest.mark.parametrize("immutable", [False, True])
async def test_a_server_says_which_command_upgrades_it(old, immutable):
    ds = serve(old, immutable=immutable)
    for path in ("", "/map", "/similar/1", "/tiles/0/0/0.jpg"):
        response = await ds.client.get(f"/photos/images/-/imgsim{path}")
        assert response.status_code == 503
        assert "run 'datasette imgsim spaces" in unescape(response.text)
    assert "upgrades its tables" in await ask_one(ds, "select imgsim_status()")
    assert (await ds.client.get("/photos/images")).status_code == 200
    assert (await ds.client.get("/photos/imgsim_atlas")).status_code == 200


def test_it_answers_as_a_new_one_does(old, tmp_path):
    new = tmp_path / "new.db"
    write(new, VERSION_2)
    for path in (old, new):
        imgsim("spaces", path)
    for sql in ("select similar_to(3, 9)", "select imgsim_score(1, 2)", "select imgsim_vector(4)"):
        assert answer(old, sql) == answer(new, sql)
    printed = json.loads(imgsim("similar", old, 3, "-k", 9, "--json"))
    ranked = json.loads(answer(old, "select similar_to(3, 9)"))
    assert [row["id"] for row in printed] == [row["id"] for row in ranked]


def test_embed_goes_on_in_it(old, toy):
    draw_groups(old.parent / "images", 1)
    printed = imgsim("embed", old, old.parent / "images", "--model", "toy")
    assert "4 embedded" in printed
    assert rows(old, "select count(*) from images") == [14]


def test_it_gets_the_folder_of_each_picture(old):
    imgsim("spaces", old)
    assert rows(old, "select distinct folder from images") == ["images"]


@pytest.mark.parametrize(
    "sql",
    [
        "alter table images add column Folder text default 'mine'",
        "alter table images rename column path to file",
    ],
)
def test_a_column_or_a_table_of_the_users_own_stays_as_it_is(old, sql):
    change(old, sql)
    before = rows(old, "select * from images")
    imgsim("spaces", old)
    assert rows(old, "select * from images") == before


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_server_shows_it_once_it_is_upgraded(old):
    imgsim("spaces", old)
    ds = serve(old)
    found = await get_json(ds, "/photos/images/-/imgsim.json")
    assert found["counts"] == {"images": 10, "vectors": 10, "failures": 0}
    assert (await ds.client.get("/photos/images/-/imgsim/map")).status_code == 200
