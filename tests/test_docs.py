"""README and docs tell the truth: blocks run, help is the program's, links lead somewhere."""

import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import sqlite_utils
from helpers.commands import imgsim

from datasette_imgsim.cli.commands import imgsim as group
from datasette_imgsim.search.functions import ARITIES

ROOT = Path(__file__).resolve().parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*DOCS, ROOT / "datasette_imgsim/models/NETWORKS.md"]
# These pages are written with the modules they describe: until then nothing is there to link to.
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(path):
    return path.read_text(encoding="utf-8")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.+?)^```", text_of(path), re.DOTALL | re.MULTILINE)


def without_blocks(path):
    return re.sub(r"^ *```.*?^ *```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)


def links(path):
    return [link for link in LINK.findall(without_blocks(path)) if "://" not in link]


def anchors(path):
    """What GitHub calls the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(path), re.MULTILINE):
        words = LINK.sub("]", heading).lower().replace(" ", "-")
        found.add("".join(c for c in words if c in "-_" or unicodedata.category(c)[0] in "LN"))
    return found


def each(language):
    """A parameter for each block, named by its page."""
    return [
        pytest.param(block, id=f"{name_of(path)}-{number}")
        for path in DOCS
        for number, block in enumerate(blocks(path, language), 1)
    ]


@pytest.fixture(scope="module")
def mapped(photos, tmp_path_factory):
    """A copy of `photos` with a map."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("mapped") / "photos")
    imgsim("map", folder / "photos.db")
    return folder


@pytest.mark.parametrize("sql", each("sql"))
def test_sql_runs(mapped, sql):
    assert list(sqlite_utils.Database(mapped / "photos.db").query(sql))


CALL = re.compile(r"(\b(?:similar_to|imgsim_\w+)\()([^()]+)(?=\))")


@pytest.mark.parametrize("sql", [each for each in each("sql") if CALL.search(each.values[0])])
def test_arguments_in_sql_may_be_text(mapped, sql):
    """As Datasette passes the parameters of a query."""
    parameters = {}

    def as_parameter(match):
        name = f"p{len(parameters)}"
        parameters[name] = match[0].strip("'")
        return f":{name}"

    def with_parameters(call):
        return call[1] + re.sub(r"'[^']*'|\b\d+\b", as_parameter, call[2])

    changed = CALL.sub(with_parameters, sql)
    if parameters:
        db = sqlite_utils.Database(mapped / "photos.db")
        assert list(db.query(changed, parameters)) == list(db.query(sql))


@pytest.mark.parametrize("path", [path for path in DOCS if blocks(path, "python")], ids=name_of)
def test_python_runs(mapped, tmp_path, path):
    """All blocks of a page, one after the other, beside photos.db."""
    folder = shutil.copytree(mapped, tmp_path / "photos")
    script = folder / "setup.py"
    script.write_text("\n\n".join(blocks(path, "python")), encoding="utf-8")
    # The argument is for a block that is a setup.py: it only says its name.
    subprocess.run([sys.executable, script, "--name"], cwd=folder, check=True)


@pytest.mark.parametrize("command", group.commands)
def test_every_command_is_described(command):
    page = text_of(ROOT / "docs/command-line.md")
    assert f"Usage: datasette imgsim {command} " in page
    assert f"\n## {command}\n" in page
    assert group.commands[command].help


@pytest.mark.parametrize("function", ARITIES)
def test_every_function_is_described(function):
    assert re.search(rf"^### `{function}\(", text_of(ROOT / "docs/sql.md"), re.MULTILINE)


def test_every_column_is_explained():
    page = text_of(ROOT / "docs/tables.md")
    assert "| `vector` | blob |" in page
    assert not re.findall(r"^\| `.*\|\s*\|$", page, re.MULTILINE)


def test_generated_parts_are_up_to_date():
    generated = [path for path in DOCS if "[[[cog" in text_of(path)]
    assert generated
    subprocess.run([sys.executable, "-m", "cogapp", "--check", *generated], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", LINKING, ids=name_of)
def test_links_lead_somewhere(path):
    for link in links(path):
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


def test_every_page_is_linked_from_the_readme():
    linked = {ROOT / link for link in links(DOCS[0])}
    assert set(DOCS[1:]) <= linked


def test_links_of_a_package_index_are_absolute():
    """There the README is shown alone."""
    command = [sys.executable, "setup.py", "--long-description"]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    absolute = {link for link in LINK.findall(shown) if "://" in link}
    assert absolute >= set(LINK.findall(shown))
    assert any(link.endswith("/raw/main/demo/screenshots/similar.jpg") for link in absolute)
    assert any(link.endswith("/blob/main/docs/sql.md") for link in absolute)


def test_figures_of_the_readme_are_those_of_the_page():
    (section,) = re.findall(r"^## How good and how fast.+?(?=^## )", text_of(DOCS[0]), re.M | re.S)
    page = text_of(ROOT / "docs/figures.md")
    numbers = re.findall(r"\d+\.\d+", section)
    assert len(numbers) > 5
    assert not [number for number in numbers if not re.search(rf"\b{re.escape(number)}\b", page)]


def test_help_of_the_group_names_every_command():
    assert all(command in imgsim("--help") for command in group.commands)
