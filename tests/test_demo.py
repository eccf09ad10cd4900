"""The demo's pictures: `make demo` draws them before it can show anything."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from datasette.app import Datasette
from PIL import Image

from datasette_imgsim.web import config

DRAW = Path(__file__).resolve().parent.parent / "demo/draw.py"


def draw(folder, *options):
    command = [sys.executable, DRAW, folder, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    draw(folder, "--count", "2")
    return folder


def test_every_group_has_its_pictures(pictures):
    groups = {folder.name: sorted(folder.iterdir()) for folder in pictures.iterdir()}
    assert len(groups.pop("copies")) == 3
    assert len(groups) == 12
    for files in groups.values():
        assert len(files) == 2
        for file in files:
            with Image.open(file) as image:
                assert min(image.size) >= 427
                # Nothing flat: a scene that draws nothing leaves a single colour.
                assert len(image.convert("L").getcolors()) > 100


def test_what_is_there_is_not_drawn_again(pictures):
    assert "nothing drawn" in draw(pictures, "--count", "2")


def test_a_seed_gives_the_same_pictures_again(pictures, tmp_path):
    draw(tmp_path, "--count", "1")
    for file in tmp_path.rglob("*.jpg"):
        assert file.read_bytes() == (pictures / file.relative_to(tmp_path)).read_bytes()


@pytest.mark.asyncio
async def test_the_demo_is_served_with_its_settings(tmp_path):
    """Datasette starts with them, beside the database as `make demo` makes it."""
    metadata = json.loads((DRAW.parent / "metadata.json").read_text())
    (tmp_path / "pictures").mkdir()
    sqlite3.connect(tmp_path / "demo.db").execute("vacuum").close()
    ds = Datasette([str(tmp_path / "demo.db")], metadata=metadata)
    await ds.invoke_startup()
    assert config.read_config(ds, "demo").images_root
