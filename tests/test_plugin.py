"""The package as Datasette and sqlite-utils load it."""

import pytest
from helpers.commands import python

pytestmark = pytest.mark.datasette

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "openTSNE", "PIL", "tqdm"}


@pytest.mark.parametrize(
    "first",
    ["datasette.app", "datasette_imgsim", "datasette_imgsim.search.functions", "sqlite_utils"],
)
def test_hooks_are_found_whatever_is_imported_first(first):
    hooks = python(
        f"import {first}, datasette_imgsim\n"
        "from datasette.app import pm\n"
        "print(*(hook.name for hook in pm.get_hookcallers(datasette_imgsim)))"
    ).split()
    assert {"register_routes", "prepare_connection", "register_commands"} <= set(hooks)
    assert hooks.count("register_routes") == 1


@pytest.mark.parametrize(
    "module", ["datasette.cli", "datasette_imgsim.cli.commands", "sqlite_utils.cli"]
)
def test_heavy_packages_are_not_imported_by_every_command(module):
    loaded = python(f"import {module}, sys; print(*(n.split('.')[0] for n in sys.modules))")
    assert not HEAVY & set(loaded.split())
