"""`embed --table` where the column holds paths: which picture a row has, and what is told of it."""

import os

import pytest
from helpers.commands import TOY, imgsim
from helpers.databases import change, rows
from helpers.pictures import draw


def make_table(folder):
    """Six pictures by their paths."""
    change(
        folder / "shop.db",
        "create table items (sku integer primary key, title text, picture text)",
    )
    for number in range(6):
        draw(folder / f"files/{number}.jpg", "square", seed=number)
        sql = "insert into items values (?, 'item', ?)"
        change(folder / "shop.db", sql, number, f"files/{number}.jpg")
    return folder / "shop.db"


def embed(database, *options, exit_code=0):
    table = ("--table", "items", "--column", "picture")
    return imgsim("embed", database, *table, *options, exit_code=exit_code)


def with_another(folder):
    """The table, embedded, and other.bmp, which is like files/2.jpg by size and time."""
    database = make_table(folder)
    embed(database, *TOY)
    old = folder / "files/2.jpg"
    status = old.stat()
    other = draw(folder / "other.bmp", "dots", "green", size=(40, 40))
    data = other.read_bytes()
    change(database, "update imgsim_contents set bytes = ? where image_key = 2", len(data))
    os.utime(other, ns=(0, status.st_mtime_ns))
    return database


VECTOR = "select vector from imgsim_vectors where image_key = 2"


@pytest.mark.parametrize("how_changed", ["updated", "used again"])
def test_a_path_to_a_file_of_equal_size_and_time_is_another_picture(tmp_path, toy, how_changed):
    database = with_another(tmp_path)
    before = rows(database, VECTOR)
    if how_changed == "updated":
        change(database, "update items set picture = 'other.bmp' where sku = 2")
    else:
        change(database, "delete from items where sku = 2")
        change(database, "insert into items values (2, 'new', 'other.bmp')")
    assert "1 embedded, 5 unchanged" in embed(database)
    assert rows(database, VECTOR) != before
    assert "6 unchanged" in embed(database)


def test_a_path_that_is_spelt_otherwise_is_read_once_more(tmp_path, toy):
    database = with_another(tmp_path)
    change(database, "update items set picture = 'files/../files/1.jpg' where sku = 1")
    assert "0 embedded, 6 unchanged" in embed(database, "--quiet") + embed(database)
    sql = "select path from imgsim_contents where image_key = 1"
    assert rows(database, sql) == ["files/../files/1.jpg"]


def test_of_a_path_to_another_file_that_fails_the_old_picture_is_forgotten(tmp_path, toy):
    database = with_another(tmp_path)
    change(database, "update items set picture = 'away.jpg' where sku = 2")
    assert "1 failed" in embed(database, exit_code=1)
    assert rows(database, VECTOR) == []
    # Another path is another reason.
    change(database, "update items set picture = 'gone.jpg' where sku = 2")
    assert "1 failed;" in embed(database, exit_code=1)
    (error,) = rows(database, "select error from imgsim_failures")
    assert error.startswith("gone.jpg, from the folder of the database: the file is gone")
    # The same path may come back.
    (tmp_path / "files/1.jpg").unlink()
    embed(database, exit_code=1)
    assert 1 in rows(database, "select image_key from imgsim_vectors")


@pytest.mark.parametrize(
    "path", ["files/no.jpg", "../no.jpg", "{}/no.jpg", "files/text.jpg", "files"]
)
def test_a_failure_names_the_path_looked_for(tmp_path, toy, path):
    database, path = make_table(tmp_path), path.format(tmp_path)
    (tmp_path / "files/text.jpg").write_text("no picture")
    change(database, "update items set picture = ? where sku = 2", path)
    embed(database, *TOY)
    (error,) = rows(database, "select error from imgsim_failures")
    assert error.startswith(f"{path}: " if path[0] == "/" else f"{path}, from the folder of")


def test_a_database_of_an_earlier_version_is_upgraded(tmp_path, toy):
    database = make_table(tmp_path)
    embed(database, *TOY)
    for table in ("imgsim_contents", "imgsim_failures"):
        change(database, f"alter table {table} drop column path")
    change(database, "delete from _sqlite_migrations where name like 'm004%'")
    kept = "select image_key, vector from imgsim_vectors order by 1"
    before = rows(database, kept)
    assert "0 embedded, 6 unchanged" in embed(database)
    assert rows(database, kept) == before
    assert None not in rows(database, "select path from imgsim_contents")
