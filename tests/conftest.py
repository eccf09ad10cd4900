"""Fixtures: drawn pictures, a database made of them through the real command line, a toy model."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import toy as toy_plugin
from browsing import browser, page, plugins  # noqa: F401
from click.testing import CliRunner
from datasette.cli import cli
from datasette.plugins import pm
from PIL import Image, ImageDraw

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def shared(path):
    """A file of the reference collection beside the checkout; skips the test where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs ../shared/{path}, which is not here")
    return found


def imgsim(*arguments, exit_code=0):
    """Runs `datasette imgsim …` and gives what it printed, both streams together."""
    result = CliRunner().invoke(cli, ["imgsim", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.output


def rows(database, sql, *parameters):
    """The rows of a query, each a tuple; a single column comes as plain values."""
    conn = sqlite3.connect(database)
    try:
        found = conn.execute(sql, parameters).fetchall()
    finally:
        conn.close()
    return [row[0] if len(row) == 1 else row for row in found]


def draw(path, shape="circle", colour="red", size=(120, 90), seed=0, **options):
    """A small picture of one shape; `seed` moves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (240, 240 - 7 * seed % 60, 225))
    x, y = 10 + 5 * seed % 40, 8 + 3 * seed % 30
    box = (x, y, x + size[0] // 2, y + size[1] // 2)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    elif shape == "stripes":
        for offset in range(0, size[0], 12):
            pen.line((offset, 0, offset + x, size[1]), fill=colour, width=5)
    else:
        for offset in range(0, size[0], 14):
            pen.ellipse((offset, y, offset + 8, y + 8), fill=colour)
            pen.ellipse((offset, y + 20, offset + 8, y + 28), fill=colour)
    image.save(path, **options)
    return path


GROUPS = {"circles": "red", "squares": "blue", "stripes": "green", "dots": "black"}
SHAPES = {"circles": "circle", "squares": "square", "stripes": "stripes", "dots": "dots"}


def draw_groups(folder, count=6):
    """`count` pictures of each of four groups, as JPEG files folder/group/N.jpg."""
    for group, colour in GROUPS.items():
        for number in range(count):
            draw(folder / group / f"{number}.jpg", SHAPES[group], colour, seed=number)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder with images/ (24 drawn pictures in 4 groups) and photos.db, made by `embed`."""
    folder = tmp_path_factory.mktemp("photos")
    draw_groups(folder / "images")
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet")
    return folder


@pytest.fixture
def copy_photos(photos, tmp_path):
    """A copy of `photos` that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


# Of a picture this keeps 4 x 4 pixels.
TOY = ("--model", "toy", "--levels", "pool1", "--pooling", "flatten", "--dtype", "float32")


def embed_toy(folder, *options, exit_code=0):
    """Embeds folder/images into folder/photos.db with TOY; gives what was printed."""
    database, images = folder / "photos.db", folder / "images"
    return imgsim("embed", database, images, *TOY, *options, exit_code=exit_code)


@pytest.fixture
def toy():
    """Registers the model `toy`; it is found as another package's would be."""
    pm.register(toy_plugin, name="toy")
    yield toy_plugin.Toy
    pm.unregister(toy_plugin)
