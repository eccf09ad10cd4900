"""What EXIF says of a picture: time, camera and, if asked for, place."""

import io

import numpy as np
import pytest
from helpers.files import embedded, exif_of, folder_of_quarters, place, quarters, row
from helpers.pictures import draw
from PIL import ExifTags

from datasette_imgsim.ingest import decode


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/plain.png is `quarters()`."""
    return folder_of_quarters(tmp_path)


def test_exif_fills_the_columns(folder):
    exif = exif_of(Make="Leica", Model="M6 ", DateTime="2001:02:03 04:05:06")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1999:12:31 23:59:59"
    draw(folder / "images/a.jpg", exif=exif)
    database = embedded(folder)
    assert row(database, "a.jpg", "taken_at, camera") == ("1999-12-31T23:59:59", "Leica M6")
    assert row(database, "plain.png", "taken_at, camera") == (None, None)


@pytest.mark.parametrize(
    "tags, expected",
    [
        ({"Make": "NIKON", "Model": "NIKON D70"}, (None, "NIKON D70")),
        ({"Model": "X"}, (None, "X")),
        ({"DateTime": "2001:02:03 04:05:06"}, ("2001-02-03T04:05:06", None)),
        ({"DateTime": "0000:00:00 00:00:00"}, (None, None)),
        ({"DateTime": "yesterday", "Make": "\x00\x00"}, (None, None)),
        ({"Orientation": 99}, (None, None)),
    ],
)
def test_odd_exif(folder, tags, expected):
    draw(folder / "images/a.jpg", exif=exif_of(**tags))
    assert row(embedded(folder), "a.jpg", "taken_at, camera") == expected


SYDNEY = place((33.0, 51.0, 36.0), "S", (151.0, 12.0, 36.0), "E")


def test_places_are_stored_only_with_gps(folder):
    draw(folder / "images/a.jpg", exif=SYDNEY)
    assert row(embedded(folder), "a.jpg", "latitude, longitude") == (None, None)
    draw(folder / "images/b.jpg", seed=1, exif=SYDNEY)
    latitude, longitude = row(embedded(folder, "--gps"), "b.jpg", "latitude, longitude")
    assert (latitude, longitude) == pytest.approx((-33.86, 151.21))
    # Neither does a copy of a picture bring its place along.
    (folder / "images/c.jpg").write_bytes((folder / "images/b.jpg").read_bytes())
    assert row(embedded(folder), "c.jpg", "latitude, longitude") == (None, None)
    assert row(embedded(folder), "b.jpg", "latitude") == latitude


@pytest.mark.parametrize(
    "exif",
    [
        place((133.0, 0.0, 0.0), "N", (10.0, 0.0, 0.0), "E"),
        place((10.0, 0.0, 0.0), "N", (1.0, 0.0), "E"),
    ],
)
def test_impossible_places_stay_empty(folder, exif):
    draw(folder / "images/a.jpg", exif=exif)
    assert row(embedded(folder, "--gps"), "a.jpg", "latitude, longitude") == (None, None)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(kind):
    good = exif_of(Make="Leica", DateTime="2001:02:03 04:05:06", Orientation=1)
    good.get_ifd(ExifTags.IFD.GPSInfo).update(SYDNEY.get_ifd(ExifTags.IFD.GPSInfo))
    good.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2000:01:01 00:00:00"
    random = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(good.tobytes())
        for position in random.integers(6, len(damaged), 1 + number % 3):
            damaged[position] = random.integers(256)
        buffer = io.BytesIO()
        quarters().save(buffer, kind, exif=bytes(damaged))
        buffer.seek(0)
        assert decode.decode(buffer, 8).pixels.shape == (8, 8, 3)
