"""`embed` again after only the metadata of files was changed: equal pixels are the same picture."""

import shutil

import pytest
from helpers.commands import TOY, embed, embed_toy, imgsim
from helpers.databases import change, rows
from helpers.files import exif_of, place
from helpers.pictures import draw, with_iptc

SHAPES = ["circle", "square", "stripes"]
PLACE = place((10.0, 0.0, 0.0), "N", (2.0, 0.0, 0.0), "E")


@pytest.fixture(params=["float32", "float16"])
def folder(request, tmp_path, toy):
    """A folder with three pictures that were embedded, and that have places on a map."""
    for shape in SHAPES:
        draw(tmp_path / f"images/{shape}.jpg", shape)
    embed_toy(tmp_path, "--dtype", request.param)
    lay_out(tmp_path)
    return tmp_path


def lay_out(folder):
    sql = "insert into imgsim_atlas select space_id, image_key, 7, 7, 'fitted' from imgsim_vectors"
    change(folder / "photos.db", sql)


def date(path, day="20150822"):
    """Changes the metadata of a JPEG file and nothing else."""
    path.write_bytes(with_iptc(path.read_bytes(), r55=day))


def made(folder):
    """Vectors, places on maps and thumbnails, and how often they have changed."""
    tables = ["imgsim_vectors", "imgsim_atlas", "imgsim_thumbnails"]
    sqls = [f"select * from {table} order by 1, 2" for table in tables]
    sqls += ["select id, path from images", "select generation from imgsim_spaces"]
    return [rows(folder / "photos.db", sql) for sql in sqls]


def test_vectors_places_and_rows_stay(folder):
    database = folder / "photos.db"
    change(database, "alter table images add column title")
    change(database, "update images set title = 'mine'")
    before, hashes = made(folder), rows(database, "select sha256 from images")
    for shape in SHAPES:
        date(folder / f"images/{shape}.jpg")
    assert "0 embedded, 3 unchanged (3 of them read again)" in embed(folder)
    assert made(folder) == before
    assert rows(database, "select taken_at, title from images") == [("2015-08-22", "mine")] * 3
    assert not set(hashes) & set(rows(database, "select sha256 from images"))
    assert "3 unchanged, 0 renamed" in embed(folder)


def test_the_vectors_of_all_spaces_stay(folder):
    database = folder / "photos.db"
    imgsim("embed", database, folder / "images", "--model", "toy", "--space", "other")
    change(database, "delete from imgsim_atlas")
    lay_out(folder)
    before = made(folder)
    date(folder / "images/circle.jpg")
    assert "0 embedded" in embed(folder, "--space", "other")
    assert "0 embedded" in embed(folder)
    assert made(folder) == before


def test_copies_that_changed_alike_stay(folder):
    shutil.copy(folder / "images/circle.jpg", folder / "images/copy.jpg")
    embed(folder)
    change(folder / "photos.db", "delete from imgsim_atlas")
    lay_out(folder)
    before = made(folder)
    for name in ("circle", "copy"):
        date(folder / f"images/{name}.jpg")
    assert "0 embedded, 4 unchanged (2 of them read again)" in embed(folder)
    assert made(folder) == before


def test_a_picture_that_was_turned_is_another_one(folder):
    before = made(folder)
    exif = exif_of(Orientation=6)
    draw(folder / "images/circle.jpg", "circle", exif=exif)
    assert "1 embedded, 2 unchanged, 0 renamed" in embed(folder)
    assert len(made(folder)[1]) == 2 and made(folder)[4] != before[4]


def test_thumbnails_keep_their_size(folder):
    database = folder / "photos.db"
    embed(folder, "--thumbnail-size", 64)
    before = made(folder)
    date(folder / "images/circle.jpg")
    embed(folder)
    assert made(folder) == before
    assert rows(database, "select thumbnail_size from imgsim_readings") == [64] * 3


@pytest.mark.parametrize("options", [[], ["--gps"]])
def test_a_place_that_is_stored_follows_the_file(folder, options):
    circle = draw(folder / "images/circle.jpg", "circle", exif=PLACE)
    embed(folder, *options)
    latitude = "select latitude from images where path like '%circle%'"
    known = [10.0] if options else [None]
    assert rows(folder / "photos.db", latitude) == known
    date(circle)
    embed(folder)
    assert rows(folder / "photos.db", latitude) == known
    draw(circle, "circle")
    assert "0 embedded" in embed(folder)
    assert rows(folder / "photos.db", latitude) == [None]


@pytest.mark.parametrize("how", ["blob", "path"])
def test_the_pictures_of_a_table_stay(tmp_path, toy, how):
    database, image = tmp_path / "photos.db", draw(tmp_path / "a.jpg")
    change(database, "create table items (id integer primary key, picture)")

    def embed_rows():
        value = image.read_bytes() if how == "blob" else "a.jpg"
        change(database, "insert or replace into items values (1, ?)", value)
        return imgsim("embed", database, "--table", "items", "--column", "picture", *TOY)

    embed_rows()
    lay_out(tmp_path)
    sql = "select vector, x, generation from imgsim_vectors join imgsim_atlas join imgsim_spaces"
    before = rows(database, sql)
    date(image)
    assert "0 embedded, 1 unchanged (1 of them read again)" in embed_rows()
    assert rows(database, sql) == before != []
    assert "1 unchanged, 0 renamed" in embed_rows()
    draw(image, "dots")
    assert "1 embedded, 0 unchanged" in embed_rows()
    assert rows(database, "select * from imgsim_atlas") == []
