"""`embed --table T --column C`: pictures that are in somebody's own table, or whose paths are."""

import json
import re
import sqlite3
from contextlib import closing

import pytest
from helpers.commands import TOY, imgsim
from helpers.databases import change, rows
from helpers.pictures import draw
from helpers.serving import get_json, serve

KINDS = {"integer": lambda n: n, "text": lambda n: f"no {n}"}
MADE = ("imgsim_vectors", "imgsim_thumbnails", "imgsim_contents", "imgsim_readings")
COLOURS = ["red", "salmon", "blue", "skyblue", "green", "black"]


def jpeg(folder, number, colour=None):
    colour = colour or COLOURS[number % len(COLOURS)]
    return draw(folder / f"{number}.jpg", "square", colour, seed=number).read_bytes()


def make_table(folder, how, kind="integer", name="items"):
    """Six pictures as BLOBs or as paths, in a table that has more columns."""
    folder.mkdir(exist_ok=True)
    database = folder / "shop.db"
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute(f'create table "{name}" (sku {kind} primary key, title text, "the picture")')
        for number in range(6):
            data = jpeg(folder / "files", number)
            value = data if how == "blob" else f"files/{number}.jpg"
            conn.execute(
                f'insert into "{name}" values (?, ?, ?)',
                [KINDS[kind](number), f"item {number}", value],
            )
    return database


def embed(database, *options, name="items", exit_code=0):
    return imgsim(
        "embed", database, "--table", name, "--column", "the picture", *options,
        exit_code=exit_code,
    )  # fmt: skip


@pytest.fixture(params=["blob", "path"])
def how(request):
    return request.param


@pytest.fixture
def shop(tmp_path, toy, how):
    database = make_table(tmp_path, how)
    embed(database, *TOY)
    return database


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_a_table_are_images(tmp_path, toy, how, kind):
    database = make_table(tmp_path, how, kind, name="my items")
    printed = embed(database, *TOY, name="my items")
    assert "6 embedded, 0 unchanged" in printed
    keys = [KINDS[kind](number) for number in range(6)]
    for table in ("imgsim_vectors", "imgsim_thumbnails"):
        assert sorted(rows(database, f"select image_key from {table}")) == keys
    best = json.loads(imgsim("similar", database, keys[0], "--json"))
    assert best[0]["id"] == keys[1]
    assert "images" not in rows(database, "select name from sqlite_master where type = 'table'")


def test_the_table_itself_is_not_touched(tmp_path, toy, how):
    database = make_table(tmp_path, how)
    before = (
        rows(database, "select * from items"),
        rows(database, "select sql from sqlite_master where name = 'items'"),
    )
    embed(database, *TOY)
    assert before == (
        rows(database, "select * from items"),
        rows(database, "select sql from sqlite_master where name = 'items'"),
    )


def test_a_second_run_does_nothing(shop):
    generation = rows(shop, "select generation from imgsim_spaces")
    assert "0 embedded, 6 unchanged" in embed(shop)
    assert rows(shop, "select generation from imgsim_spaces") == generation


def test_a_changed_row_is_embedded_again(shop, tmp_path, how):
    (before,) = rows(shop, "select vector from imgsim_vectors where image_key = 2")
    data = jpeg(tmp_path / "files", 2, "yellow")
    if how == "blob":
        change(shop, 'update items set "the picture" = ? where sku = 2', data)
    assert "1 embedded, 5 unchanged" in embed(shop)
    (after,) = rows(shop, "select vector from imgsim_vectors where image_key = 2")
    assert before != after
    assert len(rows(shop, "select 1 from imgsim_thumbnails")) == 6


@pytest.mark.parametrize("nothing", [None, "", b""])
def test_a_deleted_row_and_an_emptied_one_are_forgotten(shop, nothing):
    change(shop, "delete from items where sku = 1")
    change(shop, 'update items set "the picture" = ? where sku = 4', nothing)
    assert "0 embedded, 4 unchanged" in embed(shop)
    for table in MADE:
        assert sorted(rows(shop, f"select image_key from {table}")) == [0, 2, 3, 5]
    assert rows(shop, "select source from imgsim_failures") == []


def test_of_a_row_with_other_bytes_the_old_picture_is_forgotten(tmp_path, toy):
    database = make_table(tmp_path, "blob")
    embed(database, *TOY)
    change(database, """update items set "the picture" = 'files/away.jpg' where sku = 1""")
    change(database, 'update items set "the picture" = ? where sku = 4', b"no picture")
    assert "2 failed" in embed(database, exit_code=1)
    for table in MADE:
        # A file may come back.
        assert sorted(rows(database, f"select image_key from {table}")) == [0, 1, 2, 3, 5]


def test_a_picture_that_only_later_options_refuse_is_kept(tmp_path, toy):
    database = make_table(tmp_path, "blob")
    embed(database, *TOY)
    embed(database, "--model", "toy", "--space", "other", "--max-pixels", 10, exit_code=1)
    assert len(rows(database, "select 1 from imgsim_vectors")) == 6


@pytest.mark.parametrize("key,other", [("image_key", "source_table"), ("image_id", "image_key")])
def test_columns_may_have_the_names_of_ours(shop, key, other):
    change(shop, f'alter table items rename column sku to "{key}"')
    change(shop, f'alter table items rename column title to "{other}"')
    change(shop, "update imgsim_spaces set source_key = ?", key)
    change(shop, f'delete from items where "{key}" = 1')
    change(shop, f'update items set "the picture" = null where "{key}" = 4')
    assert "0 embedded, 4 unchanged" in embed(shop)
    for table in MADE:
        assert sorted(rows(shop, f"select image_key from {table}")) == [0, 2, 3, 5]
    assert len(json.loads(imgsim("similar", shop, 0, "--json"))) == 3
    imgsim("map", shop)
    assert len(rows(shop, "select 1 from imgsim_atlas")) == 4


def test_a_new_row_is_added(shop, tmp_path, how):
    data = jpeg(tmp_path / "files", 9, "orange")
    change(shop, "insert into items values (9, 'new', ?)", data if how == "blob" else "files/9.jpg")
    assert "1 embedded, 6 unchanged" in embed(shop)


def test_two_rows_with_one_picture_have_one_vector_each(shop, tmp_path, how):
    value = jpeg(tmp_path / "files", 0) if how == "blob" else "files/0.jpg"
    change(shop, "insert into items values (7, 'copy', ?)", value)
    embed(shop)
    first, copy = rows(
        shop, "select vector from imgsim_vectors where image_key in (0, 7) order by image_key"
    )
    assert first == copy


def test_what_is_no_picture_becomes_a_failure(shop, tmp_path):
    for id, value in (
        (20, b"no picture"),
        (21, "files/nowhere.jpg"),
        (22, 5),
        (23, "https://example.com/a.jpg"),
        (24, b"\0"),
        (25, "files/\0.jpg"),
        (26, "files"),
        (27, str(tmp_path / ("x" * 300))),
    ):
        change(shop, "insert into items values (?, 'bad', ?)", id, value)
    change(shop, "insert into items values (28, 'bad', cast(x'ffd8ffe0' as text))")
    printed = embed(shop, exit_code=1)
    assert "0 embedded, 6 unchanged" in printed and "9 failed" in printed
    found = dict(rows(shop, "select source, error from imgsim_failures"))
    assert found.keys() == {str(id) for id in range(20, 29)}
    assert "not a picture" in found["20"] and "gone" in found["21"]
    assert "neither a picture nor a path" in found["22"] and "is an address" in found["23"]
    assert "not a picture" in found["24"] and "NUL" in found["25"] and "a folder" in found["26"]
    assert "cannot be read" in found["27"] and "store a picture as a BLOB" in found["28"]
    assert "9 failed before" in embed(shop)
    change(shop, "delete from items where sku > 6")
    embed(shop)
    assert rows(shop, "select source from imgsim_failures") == []


def test_rows_that_cannot_be_named_stop_nothing(tmp_path, toy, how):
    database = make_table(tmp_path, how, "text")
    for key in ("null", "null", "cast(x'e9' as text)"):
        change(
            database,
            f'insert into items select {key}, title, "the picture" from items where rowid = 1',
        )
    printed = embed(database, *TOY)
    assert "6 embedded" in printed and "1 failed" in printed
    assert "2 images passed over: the row's key is null." in printed
    assert rows(database, "select source, error from imgsim_failures") == [
        (r"\xe9", "the row's key is not valid UTF-8: give it another")
    ]
    assert "passed over" not in embed(make_table(tmp_path / "other", how), *TOY)


def test_retry_failed_tries_again(shop):
    change(shop, "insert into items values (20, 'bad', ?)", b"no picture")
    embed(shop, exit_code=1)
    assert "1 failed" in embed(shop, "--retry-failed", exit_code=1)


def test_a_second_space_of_the_same_table(shop):
    embed(shop, "--model", "toy", "--levels", "pool2", "--space", "coarse")
    assert rows(shop, "select name, is_default from imgsim_spaces") == [
        ("items toy pool1 flatten", 1),
        ("coarse", 0),
    ]
    assert len(rows(shop, "select 1 from imgsim_vectors")) == 12


def test_files_and_a_table_live_side_by_side(shop, tmp_path):
    draw(tmp_path / "images" / "a.jpg")
    imgsim("embed", shop, tmp_path / "images", *TOY)
    assert sorted(rows(shop, "select source_table from imgsim_spaces")) == ["images", "items"]
    assert "0 embedded, 6 unchanged" in embed(shop)


def test_a_table_of_ones_own_may_be_called_images(tmp_path, toy, how):
    database = make_table(tmp_path, how, name="images")
    assert "6 embedded" in embed(database, *TOY, name="images")


def test_a_path_may_be_absolute(tmp_path, toy):
    database = make_table(tmp_path, "path")
    change(database, """update items set "the picture" = ? || "the picture" """, f"{tmp_path}/")
    assert "6 embedded" in embed(database, *TOY)


@pytest.mark.asyncio
@pytest.mark.datasette
async def test_pages_of_the_table(tmp_path, how):
    database = make_table(tmp_path, how)
    embed(database)
    ds = serve(database)
    gallery = await get_json(ds, "/shop/items/-/imgsim.json")
    assert gallery["counts"] == {"images": 6, "vectors": 6, "failures": 0}
    similar = await get_json(ds, "/shop/items/-/imgsim/similar/0.json")
    assert similar["rows"][0]["id"] == 1
    html = (await ds.client.get("/shop/items/-/imgsim/similar/0")).text
    assert "Similar to item 0" in html
    picture = await ds.client.get("/shop/items/-/imgsim/thumbnail/0.jpg")
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/jpeg"
    filtered = await get_json(
        ds, "/shop/items.json?_similar_to=0&_similar_min=50&_shape=array&_col=sku"
    )
    assert 1 in [row["sku"] for row in filtered] and 0 not in [row["sku"] for row in filtered]


@pytest.mark.asyncio
@pytest.mark.datasette
@pytest.mark.parametrize("page", ["", "/similar/0", "/map"])
async def test_pages_name_a_damaged_space(tmp_path, page):
    database = make_table(tmp_path, "blob")
    embed(database)
    change(database, "update imgsim_spaces set levels = '{'")
    ds = serve(database)
    for suffix in ("", ".json"):
        response = await ds.client.get(f"/shop/items/-/imgsim{page}{suffix}")
        assert response.status_code in (400, 503)
        assert "is damaged (what imgsim_spaces has as levels is no JSON object)" in response.text
    assert (await ds.client.get("/shop/items")).status_code == 200


@pytest.mark.parametrize(
    "command",
    [["similar", 0], ["map"], ["eval", "--label", "title"], ["eval", "--label-from-folder"]],
)
def test_a_table_that_was_dropped_is_named_with_its_space(shop, command):
    change(shop, "drop table items")
    said = imgsim(command[0], shop, *command[1:], exit_code=1)
    assert (
        "The table 'items' is gone, whose images are in the space 'items toy pool1 flatten'" in said
    )
    assert "'datasette imgsim drop DB SPACE'" in said
    assert "items toy pool1 flatten" in imgsim("spaces", shop)
    imgsim("drop", shop, "items toy pool1 flatten")
    assert rows(shop, "select 1 from imgsim_vectors") == []


def test_the_last_space_of_a_table_that_was_dropped_takes_all_with_it(shop):
    change(shop, "drop table items")
    imgsim("drop", shop, "items toy pool1 flatten")
    for table in ("spaces", "vectors", "thumbnails", "contents", "failures"):
        assert rows(shop, f"select count(*) from imgsim_{table}") == [0]


@pytest.mark.parametrize(
    "options,code,sentence",
    [
        (["--table", "nope", "--column", "x"], 1, "There is no table 'nope' in this database"),
        (
            ["--table", "items", "--column", "x"],
            1,
            "'items' has no column 'x': there is sku, title",
        ),
        (["--table", "some", "--column", "sku"], 1, "'some' is a view"),
        (["--table", "pairs", "--column", "c"], 1, "has a compound primary key (a and b)"),
        (["--table", "imgsim_vectors", "--column", "vector"], 1, "this program's own"),
        (["--table", "items"], 2, "--table and --column go together"),
        (["--column", "sku"], 2, "Say which pictures"),
        ([], 2, "Say which pictures"),
        ([__file__, "--table", "items", "--column", "sku"], 2, "Say which pictures"),
        (["--table", "items", "--column", "sku", "--prune"], 2, "are for files"),
        (["--table", "items", "--column", "sku", "--prune-missing-folders"], 2, "are for files"),
        (["--table", "items", "--column", "sku", "--gps"], 2, "are for files"),
    ],
)
def test_what_cannot_be_embedded_is_a_sentence(shop, options, code, sentence):
    change(shop, "create view some as select * from items")
    change(shop, "create table pairs (a, b, c, primary key (a, b))")
    before = shop.read_bytes()
    assert sentence in imgsim("embed", shop, *options, exit_code=code)
    assert shop.read_bytes() == before


@pytest.mark.parametrize("column", ["title", "rowid"])
def test_a_table_without_a_key_is_refused(shop, column):
    """Deleting rows and `vacuum` would give its rows other numbers."""
    change(shop, f'create table loose as select title as {column}, "the picture" from items')
    before = shop.read_bytes()
    said = embed(shop, *TOY, name="loose", exit_code=1)
    assert "The table 'loose' has no primary key" in said and "--pk id" in said
    assert shop.read_bytes() == before


@pytest.mark.asyncio
@pytest.mark.datasette
async def test_pages_name_a_table_that_has_lost_its_key(tmp_path, toy):
    database = make_table(tmp_path, "blob")
    embed(database, *TOY)
    change(database, "alter table items rename to old")
    change(database, "create table items as select * from old")
    ds = serve(database)
    answer = await get_json(ds, "/shop/items/-/imgsim.json", 503)
    assert "'items' has no primary key" in answer["error"]
    assert (await ds.client.get("/shop/items")).status_code == 200
    assert "has no primary key" in imgsim("similar", database, 1, exit_code=1)
    change(database, "drop table items")
    change(database, "alter table old rename to items")
    assert "6 unchanged" in embed(database)


@pytest.mark.parametrize(
    "kind, key, sentence",
    [
        ("real", 1, "(key) is a number with a fraction"),
        ("numeric", 1.5, "(key) is a number with a fraction"),
        ("", float("inf"), "(key) is a number with a fraction"),
        ("blob", b"\x01\xff", "(key) is a BLOB"),
        ("text", b"a", "(key) is a BLOB"),
    ],
)
def test_keys_that_nothing_can_use_are_refused(shop, kind, key, sentence):
    change(shop, f"create table odd (key {kind} primary key, picture)")
    change(shop, "insert into odd values ('3', null), (?, null)", key)
    before = shop.read_bytes()
    said = imgsim("embed", shop, "--table", "odd", "--column", "picture", *TOY, exit_code=1)
    assert f"A key of the table 'odd' {sentence}: use a table whose keys are whole" in said
    assert shop.read_bytes() == before


def test_an_empty_key_costs_its_row(shop):
    change(shop, "create table odd (key text primary key, picture)")
    change(shop, 'insert into odd select sku, "the picture" from items')
    change(shop, "update odd set key = '' where key = '1'")
    said = imgsim("embed", shop, "--table", "odd", "--column", "picture", *TOY)
    assert "5 embedded" in said and "1 failed" in said
    errors = rows(shop, "select error from imgsim_failures")
    assert errors == ["the row's key is an empty text: give it another"]


def test_our_own_table_of_files_is_refused(tmp_path, toy):
    draw(tmp_path / "images" / "a.jpg")
    imgsim("embed", tmp_path / "a.db", tmp_path / "images", *TOY)
    assert "goes on with them" in imgsim(
        "embed", tmp_path / "a.db", "--table", "images", "--column", "path", exit_code=1
    )


def test_a_database_that_does_not_exist(tmp_path):
    assert "does not exist" in imgsim(
        "embed", tmp_path / "no.db", "--table", "t", "--column", "c", exit_code=1
    )
    assert not (tmp_path / "no.db").exists()


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_thumbnail_stands_in_the_column_of_the_pictures(shop):
    # The first of the rows that were embedded may be changed since.
    change(shop, "update items set \"the picture\" = 'gone' where sku = 0")
    html = (await serve(shop).client.get("/shop/items")).text
    cells = re.findall(r'<td class="col-([^"]*)"[^>]*>(?:(?!</td>).)*imgsim-cell"', html, re.DOTALL)
    assert len(cells) == 6 and all("picture" in name for name in cells)
    assert "Similar to item 3" in html
    hidden = (await serve(shop).client.get("/shop/items?_nocol=the+picture")).text
    assert 'class="imgsim-cell"' not in hidden
