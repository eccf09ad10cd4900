"""What the SQL functions give, and what is said of wrong arguments and options."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
import sqlite_utils
from helpers.databases import (
    FAILED,
    ONLY_POOL5,
    answer,
    answers,
    found,
    make_space,
    random_vectors,
    space_of,
)
from helpers.waiting import LONG

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import functions, indexes, interrupts, ranking, results

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize(
    "query, expected",
    (
        ("select json_array_length(similar_to(1))", 20),
        ("select group_concat(key) from json_each(similar_to(1, 1), '$[0]')",
         "id,score,percentile,word"),
        ("select count(*) from json_each(similar_to(1, 50), '$[0].id') where value = 1", 0),
        ("select json_array_length(similar_to(1, 3))", 3),
        ("select json_array_length(similar_to(1, '3'))", 3),
        ("select json_array_length(similar_to(1, 3.0))", 3),
        ("select json_array_length(similar_to(1, 0))", 0),
        # What is not given yet in a query with parameters
        ("select similar_to(1, '') = similar_to(1)", 1),
        ("select similar_to(1, '', '') = similar_to(1)", 1),
        ("select similar_to(1, 3, '') = similar_to(1, 3)", 1),
        ("select similar_to('', '', '')", "[]"),
        ("select imgsim_score(1, 2, '') = imgsim_score(1, 2)", 1),
        ("select imgsim_score('', '', '')", None),
        ("select imgsim_distance('', 1, '')", None),
        ("select imgsim_vector('', '')", None),
        ("select imgsim_percentile('', '')", None),
        ("select imgsim_percentile(1, '')", 100.0),
        ("select imgsim_status('') = imgsim_status()", 1),
        ("select json_array_length(similar_to(1, 1000))", 29),
        ("select json_array_length(similar_to(1, 9223372036854775807))", 29),
        ("select json_array_length(similar_to(1, 3, '{}'))", 3),
        ("select similar_to(1, 3) = similar_to(1, 3, '{\"space\": \"toy\"}')", 1),
        ("select similar_to(1, 3) = similar_to(1, 3, '{\"space\": null}')", 1),
        ("select similar_to(1, 3) = similar_to(1, 3, '{\"level_weights\": null}')", 1),
        ("select json_type(similar_to(1, 1), '$[0].percentile')", "real"),
        ("select imgsim_percentile(-1)", 0.0),
        ("select imgsim_percentile(1)", 100.0),
        ("select imgsim_percentile('1')", 100.0),
        ("select typeof(imgsim_percentile(0.1))", "real"),
        ("select json_array_length(similar_to(1, 50, '{\"plus\": [2], \"minus\": [\"4\"]}'))", 27),
        ("select similar_to(1, 9, '{\"plus\": [3, 2, 2, \"2\", 2.0]}') "
         "= similar_to(1, 9, '{\"plus\": [3, 2]}')", 1),
        ("select similar_to(1, 9, '{\"minus\": [' || replace(hex(zeroblob(300000)), '00', '2,')"
         " || '4]}') = similar_to(1, 9, '{\"minus\": [2, 4]}')", 1),
        ("select similar_to(1, 9, '{\"plus\": [], \"minus\": null}') = similar_to(1, 9)", 1),
        ("select similar_to(99, 9, '{\"plus\": [2]}')", "[]"),
        ("select similar_to(31)", "[]"),
        ("select similar_to(0)", "[]"),
        ("select similar_to('')", "[]"),
        ("select similar_to('x')", "[]"),
        ("select similar_to(1.5)", "[]"),
        ("select similar_to(9e99)", "[]"),
        ("select similar_to('99999999999999999999999')", "[]"),
        ("select similar_to(9223372036854775807)", "[]"),
        ("select similar_to('1_0')", "[]"),
        ("select similar_to('1')  = similar_to(1)", 1),
        ("select similar_to('01')  = similar_to(1)", 1),
        ("select similar_to('1.0')  = similar_to(1)", 1),
        ("select similar_to(1.0)  = similar_to(1)", 1),
        ("select imgsim_score(1, 1)", 1.0),
        ("select imgsim_score(1, '1')", 1.0),
        ("select imgsim_score(1, 31)", None),
        ("select imgsim_score(31, 1)", None),
        ("select imgsim_score('x', 'y')", None),
        ("select imgsim_distance(1, 1)", 0.0),
        ("select imgsim_distance(1, '1')", 0.0),
        ("select imgsim_distance(1, 31)", None),
        ("select imgsim_distance(31, 1)", None),
        ("select length(imgsim_vector(1))", 40),
        ("select length(imgsim_vector('1', '{}'))", 40),
        ("select length(imgsim_vector(1, '{\"ranked\": true}'))", 40),
        ("select imgsim_vector(1, '{\"ranked\": false}') = imgsim_vector(1)", 1),
        ("select imgsim_vector(31)", None),
        ("select imgsim_vector(31, '{\"ranked\": true}')", None),
        ("select typeof(imgsim_score(1, 2)) || typeof(imgsim_distance(1, 2))", "realreal"),
        # NULL in, NULL out
        ("select similar_to(null)", None),
        ("select similar_to(1, null)", None),
        ("select similar_to(1, 3, null)", None),
        ("select imgsim_score(null, 1)", None),
        ("select imgsim_score(1, null)", None),
        ("select imgsim_score(1, 1, null)", None),
        ("select imgsim_distance(null, 1)", None),
        ("select imgsim_distance(1, null)", None),
        ("select imgsim_distance(1, 1, null)", None),
        ("select imgsim_vector(null)", None),
        ("select imgsim_vector(1, null)", None),
        ("select imgsim_percentile(null)", None),
        ("select imgsim_percentile(1, null)", None),
        ("select imgsim_status(null)", None),
    ),
)  # fmt: skip
def test_answers(toys, query, expected):
    assert answer(toys, query) == expected


@pytest.mark.parametrize(
    "query",
    (
        "select similar_to(x'31')",
        "select imgsim_score(x'31', 1)",
        "select imgsim_score(1, x'31')",
        "select imgsim_distance(1, x'31')",
        "select imgsim_vector(x'31')",
        "select similar_to(1, -1)",
        "select similar_to(1, '-1')",
        "select similar_to(1, 1.5)",
        "select similar_to(1, 9e999)",
        "select similar_to(1, 'many')",
        "select similar_to(1, x'33')",
        "select similar_to(99, 'many')",
        "select imgsim_score(1, 2, 3)",
        "select imgsim_score(1, 2, x'7b7d')",
        "select imgsim_percentile('high')",
        "select imgsim_percentile('nan')",
        "select imgsim_percentile(9e999)",
        "select imgsim_percentile(x'31')",
        "select imgsim_percentile(1, '{\"plus\": [2]}')",
        "select imgsim_score(1, 2, '{\"plus\": [2]}')",
        "select similar_to(1, 3, '{\"plus\": [99]}')",
        "select similar_to(1, 3, '{\"minus\": [null]}')",
        "select similar_to(1, 3, '{' || replace(hex(zeroblob(4000000)), '00', ' ') || '}')",
        "select imgsim_vector(1, '{\"ranked\": 1}')",
        "select similar_to(1, 3, '{\"ranked\": true}')",
        "select imgsim_vector(1, '{\"ranked\": true}') = imgsim_score(1, 2, '{\"ranked\": true}')",
    ),
)
def test_misuse_raises(toys, query):
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        answer(toys, query)


OBJECT = "Options must be a JSON object, not "


@pytest.mark.parametrize(
    "options, sentence",
    (
        ("pool5", OBJECT + "'pool5'"),
        ("[]", OBJECT + "'[]'"),
        ("null", OBJECT + "'null'"),
        ("{", OBJECT + "'{'"),
        ("[" * 100_000, OBJECT + "'" + "[" * 59),
        (5, OBJECT + "5"),
        (
            '{"spaces": "toy"}',
            "No option 'spaces': there is level_weights, minus, plus, ranked, rerank and space",
        ),
        ('{"space": "boy"}', "No space 'boy': there is toy"),
        ('{"space": ["toy"]}', "The option space is the name of a space, as text"),
        ('{"ranked": 1}', "The option ranked is true or false"),
        ('{"plus": 3}', "The option plus is a list of ids, such as [3, 9]"),
        ('{"minus": [true]}', "The option minus is a list of ids, such as [3, 9]"),
        (
            '{"level_weights": {"fc6": 1}}',
            "The space 'toy' has no level 'fc6': there is pool4 and pool5",
        ),
        (
            '{"level_weights": {"pool4": -1}}',
            "The weight of 'pool4' must be a number from 0 up, not -1",
        ),
        (
            '{"level_weights": {"pool4": NaN}}',
            "The weight of 'pool4' must be a number from 0 up, not nan",
        ),
        (
            '{"level_weights": {"pool4": 0}}',
            "All level weights are 0: give at least one level a weight",
        ),
        (
            '{"level_weights": [1]}',
            'level_weights must be an object such as {"pool5": 1, "pool3": 0.5}',
        ),
    ),
)
def test_options_that_make_no_sense(toys, options, sentence):
    assert answer(toys, "select imgsim_status(?)", options) == sentence
    for query in ("similar_to(1, 3, ?)", "imgsim_score(1, 2, ?)", "imgsim_vector(1, ?)"):
        with pytest.raises(sqlite3.OperationalError, match=FAILED):
            answer(toys, f"select {query}", options)


@pytest.mark.parametrize(
    "options",
    ("{}", '{"space": "toy"}', ONLY_POOL5, '{"ranked": true}'),
)
def test_status_of_options_that_do(toys, options):
    sentence = "The space 'toy' of the table 'images' is loaded: 30 images"
    assert answer(toys, "select imgsim_status(?)", options) == sentence


def test_examples_have_a_limit(tmp_path):
    path = make_space(tmp_path / "a.db", random_vectors(LIMITS.most_examples + 2))
    ids = list(range(2, LIMITS.most_examples + 3))
    query = "select similar_to(1, 3, ?)"
    for name in ("plus", "minus"):
        with pytest.raises(sqlite3.OperationalError, match=FAILED):
            answer(path, query, json.dumps({name: ids}))
    assert found(answer(path, query, json.dumps({"plus": ids[1:], "minus": ids[1:]}))) != []


def test_no_index_can_be_made_of_the_functions(path):
    with sqlite_utils.Database(path) as db:
        with pytest.raises(sqlite3.OperationalError, match="non-deterministic"):
            db.execute("create index wrong on images(imgsim_score(id, 1))")


def test_a_statement_ranks_once(path, monkeypatch):
    ranked, best = [], results.best
    monkeypatch.setattr(results, "best", lambda *args: ranked.append(args) or best(*args))
    ids = answers(path, "select json_array_length(similar_to(7)) from images")
    assert ids == [20] * 30 and len(ranked) == 1


def test_the_time_limit_of_a_connection_ends_a_ranking(path):
    with closing(sqlite3.connect(path)) as conn:
        index = indexes.load(conn, space_of(conn))
        query = ranking.query_of_image(conn, index, 0, ranking.weights(index.space))
        scored = ranking.rank(conn, index, query, 3)
        conn.set_progress_handler(lambda: 1, 1000)  # as Datasette does it
        with pytest.raises(sqlite3.OperationalError, match="^interrupted$"):
            ranking.rank(conn, index, query, 4)  # the one with 3 is kept
        with pytest.raises(sqlite3.OperationalError, match="^interrupted$"):
            list(interrupts.checked(conn, scored, every=2))


@pytest.mark.parametrize(
    "query",
    [
        "similar_to(1)",
        "imgsim_score(id, 1)",
        "imgsim_percentile(id / 100.0)",
        "imgsim_vector(id)",
        "imgsim_status()",
    ],
)
def test_the_time_limit_of_a_connection_ends_many_slow_calls(path, cache, monkeypatch, query):
    """Of so few rows SQLite makes too few steps to look at the time itself."""
    calls, begin = [], functions.Functions._begin

    def slow(*args):
        calls.append(args)
        time.sleep(0.01)
        begin(*args)

    monkeypatch.setattr(functions.Functions, "_begin", slow)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", LONG)
    monkeypatch.setattr(LIMITS, "seconds_a_statement", LONG)
    with closing(sqlite3.connect(path)) as conn:
        cache.get(conn, space_of(conn), wait=LONG)
        functions.register(conn, cache)
        conn.set_progress_handler(lambda: len(calls) > 9, 1000)
        with pytest.raises(sqlite3.OperationalError, match="^interrupted$"):
            conn.execute(f"select {query} from images").fetchall()
    assert len(calls) < 25
