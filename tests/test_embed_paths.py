"""One file has one row, whatever the way to it or to its database."""

import os
import shutil

import pytest
from helpers.commands import TOY, imgsim
from helpers.databases import change, rows
from helpers.pictures import draw
from helpers.serving import GALLERY, serve

from datasette_imgsim.ingest import sources
from datasette_imgsim.ingest.pictures import Files


@pytest.fixture
def folder(tmp_path, toy):
    """real/db/photos.db of real/db/in and real/out, and link, which leads to real/db."""
    draw(tmp_path / "real/db/in/a.jpg")
    draw(tmp_path / "real/out/b.jpg", "square")
    (tmp_path / "link").symlink_to("real/db")
    embed(tmp_path, "real/db/photos.db", "real/db/in", "real/out")
    return tmp_path


def embed(folder, database, *given):
    return imgsim("embed", folder / database, *[folder / name for name in given], *TOY)


def paths(folder):
    return rows(folder / "real/db/photos.db", "select path from images order by path")


WAYS = [
    ("link/photos.db", ["link/in", "real/out"]),
    ("link/photos.db", ["link", "link/../out"]),
    ("real/db/photos.db", ["link/in/", "link/in/../../out"]),
    ("real/db/photos.db", ["real/db/../out", "link/in/a.jpg", "link"]),
    ("real/db/photos.db", ["real"]),
    ("link/photos.db", ["to-in", "to-out"]),
]


@pytest.mark.parametrize("database, given", WAYS)
def test_a_file_keeps_its_row_whatever_the_way_to_it(folder, database, given):
    (folder / "to-in").symlink_to("link/in")
    (folder / "to-out").symlink_to("real/out")
    assert "0 embedded, 2 unchanged, 0 renamed, 0 copied" in embed(folder, database, *given)
    assert paths(folder) == ["../out/b.jpg", "in/a.jpg"]


def test_a_new_database_behind_a_link(folder):
    embed(folder, "link/new.db", "link/in", "real/out")
    sql = "select path from images order by path"
    assert rows(folder / "real/db/new.db", sql) == ["../out/b.jpg", "in/a.jpg"]


def test_a_link_in_the_folder_of_the_database_keeps_its_name(tmp_path, toy):
    draw(tmp_path / "drive/a.jpg")
    (tmp_path / "images").symlink_to("drive")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "images", *TOY)
    assert rows(tmp_path / "photos.db", "select path from images") == ["images/a.jpg"]
    assert "1 unchanged" in imgsim("embed", tmp_path / "photos.db", tmp_path / "drive", *TOY)
    assert rows(tmp_path / "photos.db", "select path from images") == ["images/a.jpg"]


def test_what_is_changed_behind_a_link_changes_its_row(folder):
    (folder / "to-out").symlink_to("real/out")
    draw(folder / "real/out/b.jpg", "dots", "green")
    assert "1 embedded, 0 unchanged" in embed(folder, "real/db/photos.db", "to-out")
    assert paths(folder) == ["../out/b.jpg", "in/a.jpg"]


def test_hard_links_and_links_to_files_are_copies(folder):
    (folder / "more").mkdir()
    os.link(folder / "real/out/b.jpg", folder / "more/hard.jpg")
    (folder / "more/soft.jpg").symlink_to(folder / "real/out/b.jpg")
    assert "2 copied" in embed(folder, "real/db/photos.db", "more")
    assert "4 unchanged" in embed(folder, "real/db/photos.db", "more", "real")


NAMES = [("a.jpg", "A.JPG"), ("caf\u00e9.jpg", "cafe\u0301.jpg"), ("\u00c5.jpg", "a\u030a.jpg")]


@pytest.mark.parametrize("one, other", NAMES)
def test_other_spellings_on_a_file_system_that_takes_them_as_one(tmp_path, one, other):
    """Hard links stand for them: such a file system gives both spellings one inode, too."""
    file = draw(tmp_path / one)
    os.link(file, tmp_path / other)
    (first,) = sources.find([tmp_path / one, tmp_path / other], tmp_path)
    assert first.name == one


def test_a_known_file_in_another_spelling(tmp_path, toy):
    file = draw(tmp_path / "Images/a.jpg")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "Images", *TOY)
    os.mkdir(tmp_path / "images")
    os.link(file, tmp_path / "images/A.jpg")
    assert "1 unchanged" in imgsim("embed", tmp_path / "photos.db", tmp_path / "images", *TOY)
    assert rows(tmp_path / "photos.db", "select path from images") == ["Images/a.jpg"]


def test_inode_numbers_that_say_nothing(tmp_path):
    """Some file systems give one number to several files, or none at all."""
    draw(tmp_path / "one/a.jpg")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    found = [sources.file_item(str(tmp_path / name / "a.jpg"), name) for name in ("one", "two")]
    assert not sources.is_same_file(*found)
    assert Files([tmp_path], tmp_path).under_known_names(found, []) == found


def test_paths_of_a_column_are_found_through_a_link(folder):
    database = folder / "real/db/photos.db"
    change(database, "create table items (id integer primary key, path text)")
    change(database, "insert into items values (1, '../out/b.jpg')")
    arguments = ("--table", "items", "--column", "path", *TOY)
    assert "1 embedded" in imgsim("embed", folder / "link/photos.db", *arguments)
    assert "1 unchanged" in imgsim("embed", database, *arguments)


@pytest.mark.asyncio
@pytest.mark.datasette
@pytest.mark.parametrize("database", ["real/db/photos.db", "link/photos.db"])
async def test_large_pictures_through_a_link(folder, database):
    embed(folder, "link/photos.db", "link/in", "real/out")
    ds = serve(folder / database, {"images_root": str(folder)})
    for id in (1, 2):
        assert (await ds.client.get(f"{GALLERY}/large/{id}.jpg")).status_code == 200
