"""`embed` again with options that ask for more: what is missing of unchanged pictures is read."""

import io
import shutil

import pytest
from helpers.commands import TOY, embed_toy, imgsim
from helpers.databases import change, rows
from helpers.files import place
from helpers.pictures import draw
from PIL import Image


def draw_with_place(path, seed=0):
    """A picture that was taken at 10° north, 2° east."""
    return draw(path, seed=seed, exif=place((10.0, 0.0, 0.0), "N", (2.0, 0.0, 0.0), "E"))


def latitudes(folder):
    return rows(folder / "photos.db", "select latitude from images order by path")


def sides(database):
    """The longer side of each thumbnail."""
    sql = "select jpeg from imgsim_thumbnails order by image_key"
    return [max(Image.open(io.BytesIO(jpeg)).size) for jpeg in rows(database, sql)]


def vectors(database):
    sql = "select image_key, vector, generation from imgsim_vectors join imgsim_spaces"
    return rows(database, sql)


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with a picture that knows its place and one that does not, both embedded."""
    draw_with_place(tmp_path / "images/a.jpg")
    draw(tmp_path / "images/b.jpg", "square")
    embed_toy(tmp_path)
    return tmp_path


def test_places_of_unchanged_files_are_stored(folder):
    before = vectors(folder / "photos.db")
    assert latitudes(folder) == [None, None]
    assert "0 embedded, 2 unchanged (2 of them read again)" in embed_toy(folder, "--gps")
    assert latitudes(folder) == [10.0, None]
    assert vectors(folder / "photos.db") == before


def test_no_picture_is_read_twice_for_its_place(folder):
    embed_toy(folder, "--gps")
    assert "2 unchanged, 0 renamed" in embed_toy(folder, "--gps")
    draw_with_place(folder / "images/c.jpg", seed=1)
    assert "1 embedded, 2 unchanged, 0 renamed" in embed_toy(folder, "--gps")
    assert "3 unchanged, 0 renamed" in embed_toy(folder, "--gps")
    assert "3 unchanged, 0 renamed" in embed_toy(folder)
    assert latitudes(folder) == [10.0, None, 10.0]


def test_a_picture_that_changed_is_read_again_for_its_place(folder):
    embed_toy(folder, "--gps")
    draw_with_place(folder / "images/b.jpg", seed=1)
    embed_toy(folder)
    assert latitudes(folder) == [10.0, None]
    assert "2 unchanged (1 of them read again)" in embed_toy(folder, "--gps")
    assert latitudes(folder) == [10.0, 10.0]


def test_a_database_of_an_older_version_is_completed(folder):
    change(folder / "photos.db", "update images set latitude = 1, longitude = 1 where id = 2")
    change(folder / "photos.db", "delete from imgsim_readings")
    assert "(1 of them read again)" in embed_toy(folder, "--gps")
    assert latitudes(folder) == [10.0, 1.0]


def test_a_copy_and_a_new_name_bring_a_place_along(folder):
    (folder / "more").mkdir()
    shutil.copy(folder / "images/a.jpg", folder / "more/c.jpg")
    imgsim("embed", folder / "photos.db", folder / "more", *TOY, "--gps")
    assert latitudes(folder) == [None, None, 10.0]
    (folder / "images/a.jpg").rename(folder / "images/d.jpg")
    embed_toy(folder, "--gps")
    assert latitudes(folder) == [None, 10.0, 10.0]


def test_a_picture_that_cannot_be_read_any_more_stays(folder):
    database = folder / "photos.db"
    before = vectors(database)
    printed = embed_toy(folder, "--gps", "--max-pixels", 1, exit_code=1)
    assert "2 failed" in printed
    assert vectors(database) == before
    assert "2 failed before" in embed_toy(folder, "--gps")
    embed_toy(folder, "--gps", "--retry-failed")
    assert latitudes(folder) == [10.0, None]
    assert rows(database, "select count(*) from imgsim_failures") == [0]


def test_thumbnails_of_another_size_are_made_anew(folder):
    database = folder / "photos.db"
    before = vectors(database)
    assert sides(database) == [120, 120]
    assert "2 unchanged (2 of them read again)" in embed_toy(folder, "--thumbnail-size", 64)
    assert sides(database) == [64, 64]
    assert "2 unchanged, 0 renamed" in embed_toy(folder, "--thumbnail-size", 64)
    assert "2 unchanged, 0 renamed" in embed_toy(folder)
    assert sides(database) == [64, 64]
    embed_toy(folder, "--thumbnail-size", 256)
    assert sides(database) == [120, 120]
    assert "2 unchanged, 0 renamed" in embed_toy(folder, "--thumbnail-size", 256)
    assert vectors(database) == before


@pytest.mark.parametrize("options, side", [(["--thumbnail-size", 64], 64), ([], 120)])
def test_thumbnails_in_another_space(folder, options, side):
    embed_toy(folder, "--levels", "pool2", *options)
    assert sides(folder / "photos.db") == [side, side]
    printed = embed_toy(folder, "--thumbnail-size", 64)
    assert ("read again" in printed) is (side == 120)


@pytest.mark.parametrize("how", ["blob", "path"])
def test_thumbnails_of_a_table(tmp_path, toy, how):
    database, image = tmp_path / "shop.db", draw(tmp_path / "a.jpg")
    change(database, "create table items (id integer primary key, picture)")
    value = image.read_bytes() if how == "blob" else "a.jpg"
    change(database, "insert into items (picture) values (?)", value)

    def embed(*options):
        return imgsim(
            "embed", database, "--table", "items", "--column", "picture", *TOY, *options
        )  # fmt: skip

    embed()
    assert "1 unchanged (1 of them read again)" in embed("--thumbnail-size", 64)
    assert sides(database) == [64]
    assert "1 unchanged, 0 renamed" in embed("--thumbnail-size", 64)
    assert sides(database) == [64]


def test_what_was_read_is_forgotten_with_the_image(folder):
    (folder / "images/a.jpg").unlink()
    embed_toy(folder, "--prune")
    assert rows(folder / "photos.db", "select image_key from imgsim_readings") == [2]
