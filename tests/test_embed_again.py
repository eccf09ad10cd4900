"""`embed` again: it does only what is new, and ids stay what they are."""

import os
import shutil
import stat
import time
from types import SimpleNamespace

import pytest
from helpers.commands import embed_toy, imgsim, python
from helpers.databases import change, rows
from helpers.files import place
from helpers.pictures import draw, draw_groups

from datasette_imgsim.ingest import sources


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with images/a.jpg, b.jpg and sub/c.jpg, embedded."""
    draw(tmp_path / "images/a.jpg", "circle")
    draw(tmp_path / "images/b.jpg", "square")
    draw(tmp_path / "images/sub/c.jpg", "stripes")
    embed_toy(tmp_path)
    return tmp_path


def paths(folder):
    """Path -> id of every image that has a vector."""
    sql = "select path, id from images join imgsim_vectors on image_key = id"
    return dict(rows(folder / "photos.db", sql))


def everything(folder):
    """All that is stored, the space's generation and statistics excepted."""
    tables = ("images", "imgsim_vectors", "imgsim_thumbnails", "imgsim_failures", "imgsim_atlas")
    return [rows(folder / "photos.db", f"select * from {table} order by 1, 2") for table in tables]


def generation(folder):
    return rows(folder / "photos.db", "select max(generation) from imgsim_spaces")[0]


def same_vector(folder, one, other):
    sql = "select vector from imgsim_vectors join images on image_key = id where path = ?"
    return rows(folder / "photos.db", sql, one) == rows(folder / "photos.db", sql, other) != []


def test_nothing_to_do(folder):
    before, number = everything(folder), generation(folder)
    assert "0 embedded, 3 unchanged" in embed_toy(folder)
    assert (everything(folder), generation(folder)) == (before, number)


def test_nothing_to_do_needs_no_torch(folder):
    code = """
import sys
from datasette.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
print(sorted({"torch", "torchvision", "sklearn"} & sys.modules.keys()))
"""
    printed = python(code, "imgsim", "embed", folder / "photos.db", folder / "images")
    assert "3 unchanged" in printed
    assert printed.splitlines()[-1] == "[]"


def test_a_new_file(folder):
    before = paths(folder)
    draw(folder / "images/d.jpg", "dots")
    assert "1 embedded, 3 unchanged" in embed_toy(folder)
    assert paths(folder) == before | {"images/d.jpg": 4}


def test_changed_content_loses_all_that_was_made_of_the_old(folder):
    imgsim("embed", folder / "photos.db", folder / "images", "--model", "toy", "--space", "other")
    change(
        folder / "photos.db", "insert into imgsim_atlas select 1, id, 1, 1, 'fitted' from images"
    )
    before, number = everything(folder), generation(folder)
    draw(folder / "images/a.jpg", "dots", "green", size=(50, 40))
    assert "1 embedded, 2 unchanged" in embed_toy(folder)
    images, vectors, thumbnails, _, atlas = everything(folder)
    assert [image[0] for image in images] == [1, 2, 3]
    assert images[0][-1] != before[0][0][-1] and images[0][5:7] == (50, 40)
    assert (
        len(vectors) == 5
        and vectors[0] != before[1][0]
        and vectors[1:] == before[1][1:3] + before[1][4:]
    )
    assert thumbnails[0] != before[2][0] and thumbnails[1:] == before[2][1:]
    assert atlas == before[4][1:]
    assert generation(folder) > number


def test_a_touched_file_is_not_embedded_again(folder):
    before = everything(folder)
    os.utime(folder / "images/a.jpg", ns=(1, 1))
    assert "0 embedded, 3 unchanged" in embed_toy(folder)
    assert rows(folder / "photos.db", "select mtime_ns from images where id = 1") == [1]
    assert everything(folder)[1:] == before[1:]


def test_rehash_finds_what_was_changed_without_a_trace(folder):
    file = folder / "images/a.jpg"
    before, status = everything(folder), os.stat(file)
    data = file.read_bytes()
    draw(file, "circle", "salmon")
    other = file.read_bytes()
    file.write_bytes((other + bytes(len(data)))[: max(len(data), len(other))])
    change(folder / "photos.db", "update images set bytes = ?", file.stat().st_size)
    for name in ("b.jpg", "sub/c.jpg"):
        size = (folder / "images" / name).stat().st_size
        sql = "update images set bytes = ? where path = ?"
        change(folder / "photos.db", sql, size, f"images/{name}")
    os.utime(file, ns=(0, status.st_mtime_ns))
    assert "0 embedded, 3 unchanged" in embed_toy(folder)
    assert "1 embedded, 2 unchanged" in embed_toy(folder, "--rehash")
    assert everything(folder)[1][0] != before[1][0] and everything(folder)[1][1:] == before[1][1:]
    (folder / "images/bad.jpg").touch()
    embed_toy(folder, exit_code=1)
    assert "3 unchanged" in embed_toy(folder, "--rehash", exit_code=1)


@pytest.mark.parametrize(
    "number, stored",
    [(0, 0), (-(10**18), -(10**18)), (2**63 - 1, 2**63 - 1), (2**63, None), (-(10**20), None)],
)
def test_numbers_that_sqlite_cannot_hold_are_null(monkeypatch, number, stored):
    """As a file system may say them, whether or not it is one that the tests run on."""
    status = SimpleNamespace(
        st_mode=stat.S_IFREG, st_size=number, st_mtime_ns=number, st_dev=1, st_ino=1
    )
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: status)
        item = sources.file_item("a.jpg", "a.jpg")
    assert (item.size, item.mtime_ns) == (stored, stored)


@pytest.mark.parametrize("seconds", [-11644473600, 10413792000, 15032385535])
def test_a_time_that_sqlite_cannot_hold_stops_nothing(folder, seconds):
    file = folder / "images/a.jpg"
    os.utime(file, ns=(0, 10**9 * seconds))
    if os.stat(file).st_mtime_ns != 10**9 * seconds:
        pytest.skip("this file system holds no such time")
    assert "0 embedded, 3 unchanged" in embed_toy(folder)
    assert rows(folder / "photos.db", "select mtime_ns from images where id = 1") == [None]
    before = everything(folder)
    assert "0 embedded, 3 unchanged" in embed_toy(folder)
    assert everything(folder) == before
    # It is compared by its content.
    draw(file, "dots", "green")
    os.utime(file, ns=(0, 10**9 * seconds))
    assert "1 embedded, 2 unchanged" in embed_toy(folder)


def test_a_renamed_file_keeps_its_id(folder):
    before = everything(folder)
    (folder / "images/new").mkdir()
    (folder / "images/a.jpg").rename(folder / "images/new/z.jpg")
    assert "0 embedded, 2 unchanged, 1 renamed" in embed_toy(folder)
    assert paths(folder) == {"images/new/z.jpg": 1, "images/b.jpg": 2, "images/sub/c.jpg": 3}
    assert everything(folder)[1:] == before[1:]


def draw_with_place(path):
    """A picture that was taken at 10° north, 2° east."""
    return draw(path, exif=place((10.0, 0.0, 0.0), "N", (2.0, 0.0, 0.0), "E"))


def test_a_renamed_file_keeps_its_place(tmp_path, toy):
    draw_with_place(tmp_path / "images/a.jpg")
    embed_toy(tmp_path, "--gps")
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/b.jpg")
    assert "1 renamed" in embed_toy(tmp_path)
    assert rows(tmp_path / "photos.db", "select path, latitude from images") == [
        ("images/b.jpg", 10.0)
    ]


@pytest.mark.parametrize("change", ["another space", "touched", "other content"])
def test_a_later_run_without_gps_keeps_the_place_of_the_same_content(tmp_path, toy, change):
    image = draw_with_place(tmp_path / "images/a.jpg")
    options = ["--levels", "pool2"] if change == "another space" else []
    embed_toy(tmp_path, "--gps", "--thumbnail-size", 64)
    before = rows(tmp_path / "photos.db", "select jpeg from imgsim_thumbnails")
    if change == "touched":
        os.utime(image, (1, 1))
    if change == "other content":
        draw(image, "square")
    embed_toy(tmp_path, *options)
    same = change != "other content"
    latitude = 10.0 if same else None
    assert rows(tmp_path / "photos.db", "select latitude from images") == [latitude]
    after = rows(tmp_path / "photos.db", "select jpeg from imgsim_thumbnails")
    assert (after == before) is same


def test_what_was_made_of_a_row_deleted_by_hand_goes_with_the_next_run(folder):
    change(folder / "photos.db", "delete from images where path = 'images/a.jpg'")
    (folder / "images/a.jpg").unlink()
    number = generation(folder)
    embed_toy(folder)
    for table in ("imgsim_vectors", "imgsim_thumbnails"):
        assert rows(folder / "photos.db", f"select image_key from {table} order by 1") == [2, 3]
    assert generation(folder) > number


def test_a_copy_gets_a_row_and_the_vector(folder):
    shutil.copy(folder / "images/a.jpg", folder / "images/copy.jpg")
    assert "0 embedded, 3 unchanged, 0 renamed, 1 copied" in embed_toy(folder)
    assert paths(folder)["images/copy.jpg"] == 4
    assert same_vector(folder, "images/a.jpg", "images/copy.jpg")
    sql = "select count(distinct jpeg), count(*) from imgsim_thumbnails where image_key in (1, 4)"
    assert rows(folder / "photos.db", sql) == [(1, 2)]
    sql = "select count(distinct width || format || bytes) from images where id in (1, 4)"
    assert rows(folder / "photos.db", sql) == [1]


def test_copies_among_new_files(tmp_path, toy):
    draw(tmp_path / "images/a.jpg")
    for name in "bcd":
        shutil.copy(tmp_path / "images/a.jpg", tmp_path / f"images/{name}.jpg")
    assert "1 embedded, 0 unchanged, 0 renamed, 3 copied" in embed_toy(tmp_path)
    assert len(paths(tmp_path)) == 4


def test_of_two_equal_files_one_is_renamed(folder):
    shutil.copy(folder / "images/a.jpg", folder / "images/copy.jpg")
    embed_toy(folder)
    (folder / "images/copy.jpg").rename(folder / "images/moved.jpg")
    assert "1 renamed, 0 copied" in embed_toy(folder)
    assert paths(folder)["images/moved.jpg"] == 4


def test_two_files_that_change_places(folder):
    a, b = folder / "images/a.jpg", folder / "images/b.jpg"
    before = everything(folder)[1:]
    a.rename(folder / "x")
    b.rename(a)
    (folder / "x").rename(b)
    for number, file in enumerate((a, b)):
        os.utime(file, ns=(number, number))
    assert "0 embedded, 1 unchanged, 2 renamed" in embed_toy(folder)
    assert everything(folder)[1:] == before
    assert paths(folder) == {"images/a.jpg": 2, "images/b.jpg": 1, "images/sub/c.jpg": 3}
    assert "3 unchanged" in embed_toy(folder)


def test_a_chain_of_renamings(folder):
    """a -> b -> c: every file ends with its own vector, whoever keeps which id."""
    a, b, c = (folder / f"images/{name}.jpg" for name in "abc")
    shutil.copy(a, folder / "old-a.jpg")
    shutil.copy(b, folder / "old-b.jpg")
    b.rename(c)
    a.rename(b)
    os.utime(b, ns=(5, 5))
    embed_toy(folder)
    for name in ("old-a.jpg", "old-b.jpg"):
        shutil.copy(folder / name, folder / "images" / name)
    embed_toy(folder)
    assert same_vector(folder, "images/b.jpg", "images/old-a.jpg")
    assert same_vector(folder, "images/c.jpg", "images/old-b.jpg")


def test_a_content_that_only_another_space_knows_is_renamed_too(folder):
    (folder / "images/a.jpg").rename(folder / "images/z.jpg")
    imgsim("embed", folder / "photos.db", folder / "images", "--model", "toy")
    sql = "select space_id from imgsim_vectors where image_key = 1 order by 1"
    assert rows(folder / "photos.db", sql) == [1, 2]
    assert rows(folder / "photos.db", "select path from images where id = 1") == ["images/z.jpg"]


def test_rows_of_files_that_are_gone_stay_without_prune(folder):
    (folder / "images/a.jpg").unlink()
    embed_toy(folder)
    assert len(paths(folder)) == 3


def test_paths_are_relative_to_the_database(folder, monkeypatch):
    monkeypatch.chdir(folder / "images/sub")
    assert "3 unchanged" in imgsim("embed", "../../photos.db", "..", "c.jpg", "../b.jpg")
    moved = folder.parent / "moved"
    folder.rename(moved)
    monkeypatch.chdir(moved)
    assert "3 unchanged" in imgsim("embed", "photos.db", "images")


def test_a_row_that_was_deleted_by_hand_is_made_again(folder):
    change(folder / "photos.db", "delete from images where id = 2")
    assert "1 embedded, 2 unchanged" in embed_toy(folder)
    assert paths(folder) == {"images/a.jpg": 1, "images/sub/c.jpg": 3, "images/b.jpg": 4}


def test_own_columns_of_the_user_stay(folder):
    change(folder / "photos.db", "alter table images add column title text")
    change(folder / "photos.db", "update images set title = 'mine'")
    draw(folder / "images/a.jpg", "dots")
    draw(folder / "images/d.jpg", "dots", "green")
    embed_toy(folder)
    assert rows(folder / "photos.db", "select title from images order by id") == ["mine"] * 3 + [
        None
    ]


@pytest.mark.parametrize("name", ["image_key", "image_id", "source_table"])
def test_own_columns_may_have_the_names_of_ours(folder, name):
    change(folder / "photos.db", f"alter table images add column {name}")
    change(
        folder / "photos.db", "insert into imgsim_atlas select 1, id, 1, 1, 'fitted' from images"
    )
    change(folder / "photos.db", "delete from images where id = 2")
    (folder / "images/b.jpg").unlink()
    assert "0 embedded, 2 unchanged" in embed_toy(folder)
    for table in ("imgsim_vectors", "imgsim_thumbnails", "imgsim_atlas"):
        assert rows(folder / "photos.db", f"select image_key from {table} order by 1") == [1, 3]


def test_a_large_database_is_compared_quickly(folder):
    numbers = "with recursive n (i) as (select 4 union select i + 1 from n where i < 20000)"
    change(
        folder / "photos.db",
        f"insert into images (id, path) {numbers} select i, i || '.jpg' from n",
    )
    change(
        folder / "photos.db",
        f"insert into imgsim_vectors {numbers} select 1, i, zeroblob(192), '' from n",
    )
    began = time.process_time()  # in which other processes do not count
    assert "3 unchanged" in embed_toy(folder)
    assert time.process_time() - began < 10


def test_many_small_batches_give_the_same(tmp_path, toy):
    draw_groups(tmp_path / "images", 3)
    embed_toy(tmp_path, "--batch-size", 1, "--workers", 3)
    one = everything(tmp_path)
    (tmp_path / "photos.db").unlink()
    embed_toy(tmp_path, "--batch-size", 100, "--workers", 1)
    assert everything(tmp_path) == one
