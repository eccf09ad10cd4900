"""Where pysqlite3 is installed, Datasette and sqlite-utils use it; its errors are other classes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
STAND_IN = TESTS / "helpers/stand_in"


@pytest.mark.datasette
@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_errors_of_another_module_are_told_as_those_of_sqlite3(which, tmp_path):
    if which == "real" and importlib.util.find_spec("pysqlite3") is None:
        pytest.skip("pysqlite3 is not installed")
    folders = [str(TESTS), *filter(None, sys.path)]
    if which == "stand-in":
        folders.insert(0, str(STAND_IN))
    run = subprocess.run(
        [sys.executable, "-m", "helpers.other_sqlite", tmp_path / "photos.db"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["module"] == "pysqlite3"
    (row,) = found["sqlite-utils"]
    assert "is loaded: 30 images" in row["status"] and len(json.loads(row["hits"])) == 20
    assert len(found["in Python"]) == 2
    assert "toy (the default): 30 images" in found["spaces"]
    assert found["broken"].endswith("is not a SQLite database: name another file\n")
    assert [found[page] for page in (".json", "/similar/1.json", "filter")] == [200] * 3
    assert found["/thumbnail/1.jpg"] == 404
    assert found["time limit"] == 400
    for page in (".json", "/similar/1.json"):
        status, error = found[f"locked {page}"]
        assert status == 503 and "cannot be read just now (database is locked)" in error
