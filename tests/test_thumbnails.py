"""Thumbnails as they are stored."""

import numpy as np
import pytest
from helpers.files import embedded, exif_of, folder_of_quarters, quarters, thumbnail
from helpers.pictures import draw
from PIL import Image, PngImagePlugin


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/plain.png is `quarters()`."""
    return folder_of_quarters(tmp_path)


def test_thumbnails_are_upright(folder):
    image = quarters((640, 480)).transpose(Image.Transpose.ROTATE_90)
    image.save(folder / "images/a.jpg", quality=95, exif=exif_of(Orientation=6))
    assert_same_colours(thumbnail(embedded(folder), "a.jpg"), quarters((256, 192)))


def assert_same_colours(image, expected):
    """Two pictures look the same."""
    assert image.size == expected.size
    difference = np.asarray(image, int) - np.asarray(expected, int)
    assert np.abs(difference).mean() < 4


def test_thumbnails_fit_and_are_never_enlarged(folder):
    for name, size in {"wide": (500, 100), "tall": (100, 500), "small": (30, 20)}.items():
        draw(folder / f"images/{name}.jpg", size=size)
    database = embedded(folder, "--thumbnail-size", 64)
    assert thumbnail(database, "wide.jpg").size == (64, 13)
    assert thumbnail(database, "tall.jpg").size == (13, 64)
    assert thumbnail(database, "small.jpg").size == (30, 20)


SECRET = b"the secret place"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "tif"])
def test_thumbnails_carry_no_metadata(folder, kind):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    options = {
        "jpg": {"comment": SECRET, "xmp": SECRET, "icc_profile": SECRET * 10},
        "png": {"pnginfo": text, "icc_profile": SECRET * 10},
        "webp": {"xmp": SECRET, "icc_profile": SECRET * 10},
        "gif": {"comment": SECRET},
        "tif": {"description": SECRET.decode()},
    }[kind]
    if kind != "gif":
        options["exif"] = exif_of(ImageDescription=SECRET.decode())
    draw(folder / f"images/a.{kind}", **options)
    assert SECRET in (folder / f"images/a.{kind}").read_bytes() or kind == "png"
    found = thumbnail(embedded(folder), f"a.{kind}")
    assert not found.getexif()
    assert found.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
