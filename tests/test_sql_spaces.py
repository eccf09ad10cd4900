"""Which space a SQL function uses, and spaces and databases that cannot be used."""

import json
import sqlite3

import pytest
import sqlite_utils
from helpers.commands import imgsim
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


@pytest.mark.parametrize(
    "column, value",
    [
        ("name", b"toy"),
        ("source_table", b"x"),
        ("model", None),
        ("pooling", b""),
        ("dtype", "float64"),
        ("dimensions", "abc"),
        ("dimensions", 11),
        ("generation", "now"),
        ("generation", -1),
        ("centred_on", 1.5),
        ("levels", "{}"),
        ("levels", '{"pool4": 6, "pool5": "4"}'),
        ("levels", '{"pool4": 6, "pool5": -4}'),
        ("levels", '{"pool4": 10000000000, "pool5": 4}'),
        ("level_weights", "{}"),
        ("level_weights", '{"pool4": 0}'),
        ("level_weights", '{"pool4": NaN}'),
        ("level_weights", '{"pool4": true}'),
        ("level_weights", '{"pool9": 1}'),
        ("preprocess", "{}"),
        ("preprocess", '{"normalise": "oxford", "resize": "squash", "size": 12000}'),
        ("preprocess", '{"normalise": "oxford", "resize": "squash", "size": 0}'),
        ("preprocess", '{"normalise": 7, "resize": "squash", "size": 8}'),
    ],
)
def test_a_space_from_elsewhere_is_checked(path, column, value):
    if value is None:
        change(path, "update imgsim_spaces set model = x'00'")
    else:
        change(path, f"update imgsim_spaces set {column} = ?", value)
    status = answer(path, "select imgsim_status()")
    assert "is damaged (what imgsim_spaces has as " in status and column in status
    assert "is damaged" in imgsim("similar", path, 1, exit_code=1)


@pytest.mark.parametrize("table", ["a{b}", "{}", "{0}", "100%", "a\"b'c", "%s"])
def test_odd_names_of_tables_are_only_names(tmp_path, table):
    path = make_space(tmp_path / "photos.db", random_vectors(9), table=table)
    assert len(json.loads(answer(path, "select similar_to(1)"))) == 8
    assert "9 images laid out" in imgsim("map", path)


def test_text_that_cannot_be_read_is_a_sentence(path):
    change(path, "update imgsim_spaces set calibration = cast(x'ff' as text)")
    printed = imgsim("similar", path, 1, exit_code=1)
    assert printed.count("\n") == 1 and "is damaged" in printed


@pytest.mark.parametrize("name", ["levels", "preprocess", "level_weights", "versions"])
@pytest.mark.parametrize("value", ["'{'", "'[]'", "''", "x'ff'", "5"])
def test_a_damaged_space_is_named(path, name, value):
    change(path, f"update imgsim_spaces set {name} = {value}")
    assert f"The space 'toy' is damaged (what imgsim_spaces has as {name}" in answer(
        path, "select imgsim_status()"
    )
