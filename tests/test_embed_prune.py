"""`embed --prune`: what was deleted goes, and what may only be away stays."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from helpers.commands import TOY, embed_toy, imgsim
from helpers.databases import change, rows
from helpers.pictures import draw

from datasette_imgsim.db.connect import open_writer
from datasette_imgsim.ingest.options import RunOptions
from datasette_imgsim.ingest.pictures import Files
from datasette_imgsim.ingest.plan import plan
from datasette_imgsim.ingest.prune import prune as prune_now


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with five pictures in images/ and images/sub/, embedded."""
    for number, name in enumerate(("a", "b", "sub/c", "sub/d", "sub/deep/e")):
        draw(tmp_path / f"images/{name}.jpg", ("circle", "square", "dots")[number % 3], seed=number)
    embed_toy(tmp_path)
    return tmp_path


def paths(folder):
    """The paths of all images, without `images/`."""
    found = rows(folder / "photos.db", "select path from images order by path")
    return [path.removeprefix("images/") for path in found]


def prune(folder, *given):
    """The paths that are left after `embed --prune` of some folders."""
    imgsim("embed", folder / "photos.db", *[folder / name for name in given], *TOY, "--prune")
    return paths(folder)


def test_prune_removes_all_that_was_made_of_a_file(folder):
    (folder / "images/a.jpg").unlink()
    generation = "select max(generation) from imgsim_spaces"
    (number,) = rows(folder / "photos.db", generation)
    assert "1 pruned" in embed_toy(folder, "--prune")
    for table in ("images", "imgsim_vectors", "imgsim_thumbnails"):
        assert len(rows(folder / "photos.db", f"select 1 from {table}")) == 4
    assert rows(folder / "photos.db", generation)[0] > number


def test_prune_keeps_what_is_back_or_renamed_when_it_comes_to_delete(folder):
    database, images = folder / "photos.db", folder / "images"
    for name in ("a.jpg", "sub/c.jpg", "sub/d.jpg"):
        (images / name).unlink()
    with closing(open_writer(database)) as conn:
        files = Files([images], folder)
        planned = plan(conn, files, None, files.find(), RunOptions())
        draw(images / "a.jpg")
        change(database, "update images set path = 'images/new.jpg' where id = 3")
        assert prune_now(conn, planned, [], [images], folder).removed == 1
    assert paths(folder) == ["a.jpg", "b.jpg", "new.jpg", "sub/deep/e.jpg"]
    assert rows(database, "select image_key from imgsim_thumbnails order by 1") == [1, 2, 3, 5]


def test_prune_forgets_failures_of_files_that_are_gone(folder):
    (folder / "images/bad.jpg").write_bytes(b"")
    embed_toy(folder, exit_code=1)
    (folder / "images/bad.jpg").unlink()
    embed_toy(folder, "--prune")
    assert rows(folder / "photos.db", "select * from imgsim_failures") == []


def test_prune_keeps_to_the_folders_that_are_given(folder):
    draw(folder / "images2/x.jpg", "dots")
    draw(folder / "images2/y.jpg", "square", "green")
    imgsim("embed", folder / "photos.db", folder / "images2", *TOY)
    for name in ("images/a.jpg", "images/sub/c.jpg", "images2/x.jpg"):
        (folder / name).unlink()
    others = ["images2/x.jpg", "images2/y.jpg"]
    rest = ["sub/d.jpg", "sub/deep/e.jpg"]
    assert sorted(prune(folder, "images/sub")) == sorted(["a.jpg", "b.jpg", *rest, *others])
    assert sorted(prune(folder, "images")) == sorted(["b.jpg", *rest, *others])
    assert sorted(prune(folder, ".")) == sorted(["b.jpg", *rest, "images2/y.jpg"])


def test_prune_above_the_database(tmp_path, toy):
    database = tmp_path / "here/db/photos.db"
    database.parent.mkdir(parents=True)
    for name in ("here/a.jpg", "here/db/b.jpg", "here/db/left.jpg", "far/c.jpg"):
        draw(tmp_path / name, seed=len(name))
    imgsim("embed", database, tmp_path / "here", tmp_path / "far", *TOY)
    names = ["../../far/c.jpg", "../a.jpg", "b.jpg", "left.jpg"]
    assert rows(database, "select path from images order by path") == names
    for name in ("here/a.jpg", "here/db/b.jpg", "far/c.jpg"):
        (tmp_path / name).unlink()
    assert "2 pruned" in imgsim("embed", database, tmp_path / "here", *TOY, "--prune")
    assert rows(database, "select path from images order by path") == [names[0], names[3]]


def test_nothing_is_pruned_where_a_folder_is_missing(folder):
    """As where a drive is not connected: what is asked for does not exist."""
    shutil.move(folder / "images/sub", folder / "away")
    draw(folder / "images/sub.jpg", "dots")
    imgsim("embed", folder / "photos.db", folder / "images/sub", "--prune", exit_code=2)
    assert len(paths(folder)) == 5


def mount_point_is_empty(images: Path, away: Path):
    images.rename(away)
    images.mkdir()


def mount_point_holds_other_files(images: Path, away: Path):
    mount_point_is_empty(images, away)
    (images / "README.txt").write_text("The drive is not connected")


def another_drive_is_there(images: Path, away: Path):
    mount_point_is_empty(images, away)
    draw(images / "other.jpg", "stripes", "green")


def another_drive_has_the_same_names(images: Path, away: Path):
    mount_point_is_empty(images, away)
    draw(images / "a.jpg", "stripes", "green")


def only_empty_folders_are_left(images: Path, away: Path):
    mount_point_is_empty(images, away)
    (images / "sub/deep").mkdir(parents=True)


AWAY = [
    mount_point_is_empty,
    mount_point_holds_other_files,
    another_drive_is_there,
    another_drive_has_the_same_names,
    only_empty_folders_are_left,
]


@pytest.mark.parametrize("happens", AWAY, ids=lambda function: function.__name__)
def test_images_of_a_folder_that_is_away_are_kept(folder, happens):
    change(folder / "photos.db", "alter table images add column note text")
    change(folder / "photos.db", "update images set note = path")
    happens(folder / "images", folder / "away")
    printed = embed_toy(folder, "--prune")
    assert " 0 pruned" in printed
    assert "images kept, since nothing is left of the whole folder (such as images" in printed
    assert "--prune-missing-folders removes them." in printed
    kept = rows(folder / "photos.db", "select note from images where note is not null")
    assert len(kept) == 5
    if happens is not another_drive_has_the_same_names:
        shutil.rmtree(folder / "images")
        (folder / "away").rename(folder / "images")
        assert "5 unchanged" in embed_toy(folder, "--prune")


def test_the_flag_removes_them_too(folder):
    shutil.rmtree(folder / "images/sub")
    assert "3 images kept" in embed_toy(folder, "--prune")
    assert "3 pruned" in embed_toy(folder, "--prune-missing-folders")
    assert paths(folder) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("replaced_by", ["nothing", "a broken link", "an empty folder"])
def test_a_subtree_that_vanished_whole_is_kept(folder, replaced_by):
    shutil.move(folder / "images/sub", folder / "away")
    (folder / "images/a.jpg").unlink()
    if replaced_by == "a broken link":
        (folder / "images/sub").symlink_to(folder / "nowhere")
    if replaced_by == "an empty folder":
        (folder / "images/sub").mkdir()
    printed = embed_toy(folder, "--prune")
    assert " 1 pruned" in printed and "3 images kept" in printed
    assert paths(folder) == ["b.jpg", "sub/c.jpg", "sub/d.jpg", "sub/deep/e.jpg"]


def test_a_link_to_a_drive_that_is_away(folder, tmp_path_factory):
    drive = tmp_path_factory.mktemp("drive")
    draw(drive / "photos/x.jpg", "square", "green")
    (folder / "images/link").symlink_to(drive / "photos")
    embed_toy(folder)
    os.rename(drive / "photos", drive / "away")
    assert "1 image kept" in embed_toy(folder, "--prune")
    assert "link/x.jpg" in paths(folder)
    os.rename(drive / "away", drive / "photos")
    assert "6 unchanged" in embed_toy(folder, "--prune")


def test_a_folder_whose_pictures_were_renamed_is_here(folder):
    (folder / "images/a.jpg").rename(folder / "images/z.jpg")
    (folder / "images/b.jpg").unlink()
    shutil.move(folder / "images/sub", folder / "images/trip")
    printed = embed_toy(folder, "--prune")
    assert "4 renamed" in printed and " 1 pruned" in printed and "kept" not in printed
