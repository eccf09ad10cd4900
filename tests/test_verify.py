"""`datasette imgsim verify`: what it finds, and that what it says mends it."""

import re
import shutil
from pathlib import Path

import pytest
from helpers.commands import imgsim
from helpers.databases import change, make_space, random_vectors, rows


def verify(database, *options, exit_code=0):
    """What `verify` prints."""
    return imgsim("verify", database, *options, exit_code=exit_code)


def problems(printed):
    return re.findall(r"^Wrong: (.+)$", printed, re.MULTILINE)


def test_a_sound_database(photos):
    printed = verify(photos / "photos.db")
    assert "24 images, 24 vectors" in printed and "Nothing is wrong." in printed
    (smallest,) = re.findall(r"24 images embedded again; .+ smallest ([0-9.]+)", printed)
    assert float(smallest) > 0.9999


def test_a_smaller_sample(photos):
    assert ": 12 images embedded again" in verify(photos / "photos.db", "--sample", 12)
    assert "embedded again" not in verify(photos / "photos.db", "--sample", 0).split("vectors")[0]


@pytest.mark.parametrize(
    "value", ["x'00'", "zeroblob(2560)", "'text'", "x'007e' || substr(vector, 3)"]
)
def test_damaged_vectors_are_named_and_can_be_mended(copy_photos, value):
    database = copy_photos / "photos.db"
    change(
        database, f"update imgsim_vectors set vector = cast({value} as blob) where image_key = 7"
    )
    (problem,) = problems(verify(database, exit_code=1))
    assert "'vgg16-oxford' has 1 image whose vector is damaged (id 7)" in problem
    for statement in re.findall(r'"(delete .+?)"', problem):
        change(database, statement)
    assert "1 embedded" in imgsim("embed", database, copy_photos / "images")
    assert "Nothing is wrong." in verify(database)


def test_thumbnails_that_cannot_be_read(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "update imgsim_thumbnails set jpeg = x'ffd8ff' where image_key in (3, 4)")
    change(database, "delete from imgsim_thumbnails where image_key = 5")
    (problem,) = problems(verify(database, exit_code=1))
    assert "3 images of 24 looked at have no thumbnail" in problem and "id 3, 4, 5" in problem
    for statement in re.findall(r'"(delete .+?)"', problem):
        change(database, statement)
    imgsim("embed", database, copy_photos / "images")
    assert "Nothing is wrong." in verify(database)


def test_rows_that_belong_to_no_image(copy_photos):
    database = copy_photos / "photos.db"
    imgsim("map", database)
    change(database, "delete from images where id in (1, 2)")
    found = problems(verify(database, exit_code=1))
    assert [problem.split(" ")[0] for problem in found] == [
        "imgsim_vectors", "imgsim_atlas", "imgsim_neighbours", "imgsim_group_members",
        "imgsim_thumbnails",
    ]  # fmt: skip
    assert all("rows of images that are no longer" in problem for problem in found)
    assert sum("has 2 rows of" in problem for problem in found) == 4
    shutil.rmtree(copy_photos / "images" / "dots")
    (copy_photos / "images" / "dots").mkdir()
    imgsim("embed", database, copy_photos / "images/squares")
    assert "no longer in the table" not in verify(database)


def test_vectors_that_come_out_otherwise_now(copy_photos):
    database = copy_photos / "photos.db"
    turned = "(select vector from imgsim_vectors where image_key = 20)"
    change(database, f"update imgsim_vectors set vector = {turned} where image_key = 7")
    (problem,) = problems(verify(database, exit_code=1))
    assert "gives other vectors now" in problem and "--space NAME" in problem


def test_files_that_changed_or_are_gone_are_not_compared(copy_photos):
    images = sorted((copy_photos / "images").rglob("*.jpg"))
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    assert ": 22 images embedded again" in verify(copy_photos / "photos.db")


def test_a_damaged_file_and_a_table_that_is_gone(copy_photos, tmp_path):
    database = copy_photos / "photos.db"
    (page,) = rows(database, "select rootpage from sqlite_master where name = 'images'")
    (size,) = rows(database, "pragma page_size")
    data = bytearray(database.read_bytes())
    data[(page - 1) * size + 8 : (page - 1) * size + 40] = bytes(32)
    database.write_bytes(data)
    assert "restore it from a copy" in verify(database, exit_code=1)


def test_without_the_network_the_rest_is_checked(tmp_path):
    path = make_space(tmp_path / "photos.db", random_vectors(5))
    printed = verify(path, exit_code=1)  # these images have no thumbnails
    assert "not embedded again: No model 'toy'" in printed
    assert len(problems(printed)) == 1 and "have no thumbnail" in printed


def test_a_table_of_ones_own_is_checked(tmp_path, copy_photos):
    database = Path(copy_photos) / "photos.db"
    change(database, "create table shop (id integer primary key, path text)")
    change(database, "insert into shop select id, path from images")
    change(database, "update imgsim_spaces set source_table = 'shop'")
    change(database, "update imgsim_thumbnails set source_table = 'shop'")
    change(database, "delete from images")
    printed = verify(database)
    assert "only files of the table 'images' are" in printed and "Nothing is wrong." in printed
