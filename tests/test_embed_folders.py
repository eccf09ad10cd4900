"""Which files of folders are embedded: links, what is left out, what cannot be searched."""

import errno
import os
from types import SimpleNamespace

import pytest
from helpers.commands import embed_toy, imgsim, ordinary_user, run
from helpers.databases import rows
from helpers.pictures import draw

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import sources
from datasette_imgsim.ingest.folders import LIBRARIES, SKIPPED_FOLDERS


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with one picture, images/good.jpg."""
    draw(tmp_path / "images/good.jpg")
    return tmp_path


def embedded(folder):
    found = rows(folder / "photos.db", "select path from images order by path")
    return [path.removeprefix("images/") for path in found]


def failures(folder):
    sql = "select source, error from imgsim_failures"
    found = rows(folder / "photos.db", sql)
    return {source.removeprefix("images/"): error for source, error in found}


# Links, and folders that are reached twice


def test_folders_may_share_an_inode_number(folder, monkeypatch):
    for name in ("one", "two", "three/four"):
        draw(folder / f"images/{name}/a.jpg", seed=len(name))
    (folder / "images/link").symlink_to("one")
    stat = os.stat

    def lying(path, **options):
        status = stat(path, **options)
        return SimpleNamespace(
            st_mode=status.st_mode, st_size=status.st_size, st_mtime_ns=status.st_mtime_ns,
            st_dev=status.st_dev, st_ino=1, st_nlink=1,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lying)
        found = [item.name for item in sources.find([folder / "images"], folder)]
    assert found == [f"images/{n}.jpg" for n in ("good", "one/a", "three/four/a", "two/a")]


def test_a_folder_that_is_reached_twice_is_entered_once(folder):
    draw(folder / "images/sub/a.jpg", "square")
    (folder / "images/link").symlink_to("sub")
    (folder / "link").symlink_to("images")
    given = [folder / name for name in ("images", "images/sub", "link")]
    imgsim("embed", folder / "photos.db", *given, "--model", "toy")
    assert embedded(folder) == ["good.jpg", "sub/a.jpg"]


def test_links_are_followed_unless_told_otherwise(folder, tmp_path_factory):
    private = tmp_path_factory.mktemp("private")
    draw(private / "secret.jpg", "square")
    draw(private / "other.jpg", "stripes")
    (folder / "images/link").symlink_to(private)
    (folder / "images/file.jpg").symlink_to(private / "other.jpg")
    embed_toy(folder, "--no-follow")
    assert embedded(folder) == ["good.jpg"]
    embed_toy(folder)
    assert embedded(folder) == ["file.jpg", "good.jpg", "link/other.jpg", "link/secret.jpg"]


def test_a_link_that_is_given_is_followed_even_so(folder):
    (folder / "link").symlink_to("images")
    imgsim("embed", folder / "photos.db", folder / "link", "--no-follow", "--model", "toy")
    assert len(embedded(folder)) == 1


# What cannot be searched is a failure


def test_a_folder_whose_files_may_not_be_reached(folder):
    draw(folder / "images/sub/deep/a.jpg", "square")
    draw(folder / "images/sub/b.jpg", "dots")
    embed_toy(folder, "--exclude", "sub")
    (folder / "images/sub").chmod(0o444)
    run("embed", folder / "photos.db", folder / "images", preexec_fn=ordinary_user)
    assert failures(folder) == {
        "sub/deep": "no permission to list this folder",
        "sub/b.jpg": "no permission to read the file",
    }
    (folder / "images/sub").chmod(0o700)
    embed_toy(folder, "--retry-failed")
    assert failures(folder) == {}


def fails(error):
    def function(*args, **options):
        raise OSError(error, os.strerror(error))

    return function


def test_a_dead_mount(folder, monkeypatch):
    draw(folder / "images/dead/a.jpg", "square")
    scandir = os.scandir

    def dead(path):
        (fails(errno.ENOTCONN) if str(path).endswith("dead") else scandir)(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", dead)
    embed_toy(folder)
    reason = "this folder cannot be listed (Transport endpoint is not connected)"
    assert failures(folder) == {"dead": reason}
    monkeypatch.undo()


class Entry:
    """An entry of a folder whose kind cannot be known."""

    def __init__(self, folder, name, error):
        self.path, self.name, self.is_dir = f"{folder}/{name}", name, fails(error)

    def is_symlink(self):
        return True


@pytest.mark.parametrize("error", [errno.ENOTCONN, errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_link_to_what_cannot_be_looked_at(folder, monkeypatch, error):
    entry = Entry(folder / "images", "usb", error)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: [entry])
        (item,) = sources.find([folder / "images"], folder)
    assert item.name == "images/usb" and "this folder" in item.error


def test_paths_that_are_too_long_for_the_system(folder, monkeypatch):
    monkeypatch.chdir(folder / "images")
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    monkeypatch.chdir(folder)
    embed_toy(folder)
    ((name, reason),) = failures(folder).items()
    assert set(name) == {"d", "/"} and reason == "this folder cannot be listed (File name too long)"


# What is left out


ODD_CASES = {"@eaDir": "@EADIR", "#recycle": "#Recycle", "*.lrdata": "Previews.lrdata"}
NAMES = [
    ODD_CASES.get(name, name).replace("[0-9]*", "000").replace("*", "x") for name in SKIPPED_FOLDERS
]


@pytest.mark.parametrize("name", NAMES)
def test_folders_of_photo_managers_and_nas_are_left_out(folder, name):
    draw(folder / f"images/sub/{name}/good/thumb.jpg", "square")
    assert f"Left out: 1 {name}/." in embed_toy(folder)
    assert embedded(folder) == ["good.jpg"]
    imgsim("embed", folder / "photos.db", folder / f"images/sub/{name}", "--model", "toy")
    assert len(embedded(folder)) == 2


@pytest.mark.parametrize("library", LIBRARIES)
def test_of_photo_libraries_only_originals_are_embedded(folder, library):
    for name in ("originals/1/a", "resources/derivatives/1/a", "Previews/a", "a"):
        draw(folder / f"images/My Photos{library}/{name}.jpg", "square", seed=len(name))
    embed_toy(folder)
    assert embedded(folder) == [f"My Photos{library}/originals/1/a.jpg", "good.jpg"]


@pytest.mark.parametrize(
    "pattern",
    ["b-150.jpg", "*-150.*", "B-*", "sub", "SUB/", "sub/*", "s?b", "{}/sub", "*/b-150.jpg"],
)
def test_exclude(folder, pattern):
    draw(folder / "images/sub/b-150.jpg", "square")
    embed_toy(folder, "--exclude", pattern.format(folder / "images"))
    assert embedded(folder) == ["good.jpg"]


def test_exclude_more_than_once_and_from_python(folder):
    draw(folder / "images/a.jpg", "square")
    draw(folder / "images/b.jpg", "dots")
    embed_toy(folder, "--exclude", "a.*", "--exclude", "b.*")
    assert embedded(folder) == ["good.jpg"]
    Collection(folder / "photos.db").embed(folder / "images", exclude="a.*")
    assert embedded(folder) == ["b.jpg", "good.jpg"]
    Collection(folder / "photos.db").embed(folder / "images", exclude=["b.*"])
    assert embedded(folder) == ["a.jpg", "b.jpg", "good.jpg"]
    with pytest.raises(ImgsimError, match="An empty pattern"):
        Collection(folder / "photos.db").embed(folder / "images", exclude=["/"])


@pytest.mark.parametrize("option", [("--exclude", "x"), ("--no-follow",)])
def test_these_options_are_for_files(folder, option):
    table = ("--table", "t", "--column", "c")
    assert "are for files" in imgsim("embed", folder / "p.db", *table, *option, exit_code=2)


def test_files_of_other_kinds_are_counted(folder):
    names = ["a.CR2", "b.cr2", "a.jxl", "a.svg", "a.pdf", "a.mp4", "sub/b.MP4", "README", "x.y z"]
    for name in [*names, ".hidden.mp4"]:
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "images" / name).touch()
    printed = embed_toy(folder)
    (line,) = [line for line in printed.splitlines() if line.startswith("Left out: ")]
    parts = [
        "2 .cr2",
        "1 .jxl",
        "1 .svg",
        "1 .pdf",
        "2 .mp4",
        "1 without a suffix",
        "1 with odd suffixes",
    ]
    assert set(line.removeprefix("Left out: ").rstrip(".").split(", ")) == set(parts)
    assert "Left out" not in embed_toy(folder, "--quiet")
    (folder / "images/good.jpg").unlink()
    for number in range(20):
        (folder / f"images/a.x{number}").touch()
    printed = imgsim("embed", folder / "new.db", folder / "images")
    assert printed.startswith("No pictures found") and " and 17 others." in printed
