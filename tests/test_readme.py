"""The README tells the truth: its SQL runs, its help is the program's, nothing is left out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlite_utils
from conftest import imgsim

from datasette_imgsim.cli.commands import imgsim as group
from datasette_imgsim.search.functions import ARITIES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mapped(photos, tmp_path_factory):
    """A copy of `photos` with a map."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("mapped") / "photos")
    imgsim("map", folder / "photos.db")
    return folder


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.+?)```", README, re.DOTALL))
def test_sql_runs(mapped, sql):
    assert list(sqlite_utils.Database(mapped / "photos.db").query(sql))


@pytest.mark.parametrize("command", group.commands)
def test_every_command_is_described(command):
    assert f"datasette imgsim {command}" in README
    assert group.commands[command].help


@pytest.mark.parametrize("function", ARITIES)
def test_every_function_is_described(function):
    assert re.search(rf"### `{function}\(", README)


def test_generated_parts_are_up_to_date():
    command = [sys.executable, "-m", "cogapp", "--check", "README.md", "docs/models.md"]
    subprocess.run(command, cwd=ROOT, check=True)


def test_pictures_are_there():
    for path in re.findall(r"!\[.+?\]\((demo/.+?)\)", README):
        assert (ROOT / path).exists()


def test_help_of_the_group_names_every_command():
    assert all(command in imgsim("--help") for command in group.commands)
