"""What some tests need that is not everywhere."""

import importlib
import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def needed(present, what):
    """Skips where something is not installed; where tests must be complete that is a failure."""
    if not present:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


def package(name):
    """A package that a whole module of tests needs; without it they are skipped, or a failure."""
    return importlib.import_module(name) if os.environ.get("CI") else pytest.importorskip(name)


def shared(path):
    """A file of the reference collection beside the checkout; skips the test where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs ../shared/{path}, which is not here")
    return found
