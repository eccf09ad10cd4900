"""Imports lead one way: from the pages and commands down to the tables and networks."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "datasette_imgsim"
BASE = {"errors", "limits", "progress", "caching", "sqlite_errors"}
BELOW_COLLECTION = BASE | {
    "db", "models", "search", "ingest", "atlas", "explore", "evaluate", "verify",
}  # fmt: skip
# What each room may import, beside itself and what stands in BASE before it.
ROOMS = {
    "errors": set(),
    "sqlite_errors": set(),
    "limits": set(),
    "progress": set(),
    "caching": {"limits", "progress"},
    "hookspecs": set(),
    "db": BASE,
    "models": BASE | {"hookspecs"},
    "search": BASE | {"db", "hookspecs"},
    "ingest": BASE | {"db", "models"},
    "atlas": BASE | {"db", "search"},
    "explore": BASE | {"db", "models", "search", "ingest", "atlas"},
    "evaluate": BASE | {"db", "search"},
    "verify": BASE | {"db", "search", "ingest"},
    "collection": BELOW_COLLECTION,
    "cli": BELOW_COLLECTION | {"collection"},
    "web": BASE | {"db", "search", "ingest", "atlas", "explore"},
    "sqlite_utils_plugin": {"search"},
    "__init__": {"cli", "web", "collection"},
}
HEAVY = {
    "torch", "torchvision", "timm", "sklearn", "scipy", "networkx", "openTSNE", "safetensors",
    "tqdm",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path):
    """(module, whether it is imported as soon as `path` is) of each import; ours without a dot."""
    module = ("datasette_imgsim", *path.relative_to(PACKAGE).with_suffix("").parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in later
        elif isinstance(node, ast.ImportFrom):
            above = module[: len(module) - node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                is_package = base == "datasette_imgsim"
                yield (f"{base}.{alias.name}" if is_package else base), node not in later


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_what_lies_below_it(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    ours = {
        name.split(".")[1] for name, _ in imports(path) if name.startswith("datasette_imgsim.")
    } & ROOMS.keys()
    assert ours - {room} <= ROOMS[room]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_packages_are_imported_in_functions(path):
    now = {name.split(".")[0] for name, at_once in imports(path) if at_once}
    assert not now & HEAVY


@pytest.mark.parametrize("path", [p for p in MODULES if "web" not in p.parts], ids=name_of)
def test_the_engine_needs_no_datasette(path):
    """But for the one place that asks its plugins for networks and engines, when that is asked."""
    found = {each for each in imports(path) if each[0].split(".")[0] == "datasette"}
    expected = {("datasette.plugins", False)} if name_of(path) == "hookspecs" else set()
    assert found == expected


@pytest.mark.parametrize("path", [p for p in MODULES if "web" in p.parts], ids=name_of)
def test_the_server_needs_no_torch(path):
    assert not {name.split(".")[0] for name, _ in imports(path)} & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for_and_is_not_long(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 410


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_errors_of_sqlite_are_those_of_either_module(path):
    """A connection may be one of pysqlite3, whose errors only sqlite_errors knows, too."""
    named = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "sqlite3"
    }
    assert not {name for name in named if name.endswith("Error")}
