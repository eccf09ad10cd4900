"""The SQL functions in sqlite-utils."""

import json

import pytest
import sqlite_utils
from click.testing import CliRunner
from helpers.databases import answer, expected_scores, found, found_ids
from helpers.serving import ready, started
from sqlite_utils.cli import cli as sqlite_utils_cli

from datasette_imgsim.search import functions


def test_on_the_command_line_of_sqlite_utils(toys):
    query = "select json_extract(value, '$.id') as id from json_each(similar_to(:id, 2))"
    result = CliRunner().invoke(sqlite_utils_cli, ["query", str(toys), query, "-p", "id", "7"])
    assert result.exit_code == 0, result.output
    wanted = found_ids(answer(toys, "select similar_to(7, 2)"))
    assert [row["id"] for row in json.loads(result.output)] == wanted


def test_in_python_with_sqlite_utils(toys):
    with sqlite_utils.Database(toys) as db:
        (row,) = db.query("select imgsim_score(1, :other) as score", {"other": "2"})
    assert row["score"] == pytest.approx(expected_scores(toys)[1][2], abs=1e-5)


def test_within_a_transaction_of_the_caller(path):
    with sqlite_utils.Database(path) as db:
        db.begin()
        db["images"].insert({"id": 50, "year": 1})
        assert len(found(db.execute("select similar_to(1, 99)").fetchone()[0])) == 29
        db.rollback()


@pytest.mark.asyncio
async def test_a_connection_of_datasette_keeps_its_functions(toys, monkeypatch):
    ds = await ready(await started(toys))

    def through_sqlite_utils(conn):
        monkeypatch.setattr(functions, "register", None)
        return next(sqlite_utils.Database(conn).query("select similar_to(1) as found"))

    given = await ds.get_database("photos").execute_fn(through_sqlite_utils)
    assert len(found(given["found"])) == 20
