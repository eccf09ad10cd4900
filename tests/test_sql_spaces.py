"""Which space a SQL function uses, and spaces and databases that cannot be used."""

import json
import sqlite3

import pytest
import sqlite_utils
from helpers.databases import (
    FAILED,
    answer,
    change,
    expected_scores,
    found,
    make_space,
    random_vectors,
)

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_without_a_space_that_of_images_is_taken(tmp_path):
    path = make_space(tmp_path / "a.db", random_vectors(3), name="cats", table="cats")
    assert "The space 'cats'" in answer(path, "select imgsim_status()")
    make_space(path, random_vectors(3), name="dogs", table="dogs")
    sentence = "Several tables have vectors: name a space, one of cats and dogs"
    assert answer(path, "select imgsim_status()") == sentence
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        answer(path, "select similar_to(1)")
    assert "'dogs'" in answer(path, 'select imgsim_status(\'{"space": "dogs"}\')')
    make_space(path, random_vectors(3), name="toys")
    make_space(path, random_vectors(3), name="more toys")
    assert "The space 'toys'" in answer(path, "select imgsim_status()")


def test_spaces_of_one_table_do_not_mix(path):
    other = random_vectors(30, seed=9)
    make_space(path, other, name="other")
    for name in ("toy", "other"):
        expected = expected_scores(path, name=name)[7]
        options = json.dumps({"space": name})
        assert dict(found(answer(path, "select similar_to(7, 99, ?)", options))) == pytest.approx(
            {id: score for id, score in expected.items() if id != 7}, abs=1e-5
        )


def test_a_database_without_vectors(tmp_path):
    sqlite_utils.Database(tmp_path / "a.db")["pictures"].insert({"id": 1})
    sentence = "This database holds no vectors: run 'datasette imgsim embed DATABASE FOLDER'"
    assert answer(tmp_path / "a.db", "select imgsim_status()") == sentence
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        answer(tmp_path / "a.db", "select similar_to(1)")


def test_a_database_of_a_newer_version(path):
    change(
        path,
        "insert into _sqlite_migrations (migration_set, name, applied_at) "
        "values ('datasette-imgsim', 'm999_future', '')",
    )
    assert "newer datasette-imgsim" in answer(path, "select imgsim_status()")


@pytest.mark.parametrize("name", ["levels", "preprocess", "level_weights", "versions"])
@pytest.mark.parametrize("value", ["'{'", "'[]'", "''", "x'ff'", "5"])
def test_a_damaged_space_is_named(path, name, value):
    change(path, f"update imgsim_spaces set {name} = {value}")
    assert f"The space 'toy' is damaged (what imgsim_spaces has as {name}" in answer(
        path, "select imgsim_status()"
    )
