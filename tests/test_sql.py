import asyncio
import json
import shutil
import sqlite3
import threading
import time
import weakref
from contextlib import closing

import numpy as np
import pytest
import sqlite_utils
from click.testing import CliRunner
from conftest import imgsim, rows
from datasette.app import Datasette
from datasette.database import Database
from made import (
    Told,
    add_images,
    answer,
    answers,
    ask,
    ask_one,
    change,
    expected_scores,
    found,
    found_ids,
    loads_begun,
    make_space,
    newest_load,
    random_vectors,
    reload_at_once,
    served,
    space_of,
    stand_at,
    values_held,
)
from sqlite_utils.cli import cli as sqlite_utils_cli

from datasette_imgsim.db.tables import SourceTable
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.progress import silent
from datasette_imgsim.search import functions, indexes
from datasette_imgsim.search.calibration import Calibration
from datasette_imgsim.web.state import state_of

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FAILED = "user-defined function raised exception"
ONLY_POOL5 = '{"level_weights": {"pool5": 1}}'


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """photos.db with one space of 30 images; not to be changed."""
    return make_space(tmp_path_factory.mktemp("toys") / "photos.db", random_vectors(30))


@pytest.fixture
def path(tmp_path):
    return make_space(tmp_path / "photos.db", random_vectors(30))


@pytest.fixture
def quick(monkeypatch):
    """Reloads at once, and takes no two statements for one."""
    reload_at_once(monkeypatch)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", -1)


@pytest.fixture
def gate(monkeypatch):
    """Lets loads go on only while the event is set; while it is not, they stand at 40 %."""
    go, load = threading.Event(), indexes.load

    def gated(conn, space, progress=silent):
        stand_at(progress, 0.4)
        assert go.wait(10)
        return load(conn, space, progress)

    monkeypatch.setattr(indexes, "load", gated)
    yield go
    go.set()


async def until(ds, sql, good, database="photos"):
    """Asks again and again until the answer is good."""
    for _ in range(200):
        status, body = await ask(ds, sql, database)
        if status == 200 and good(body["rows"][0][0]):
            return body["rows"][0][0]
        await asyncio.sleep(0.02)
    raise AssertionError(body)


async def ready(ds, database="photos"):
    await until(ds, "select imgsim_status()", lambda text: "is loaded" in text, database)
    return ds


# What the functions give


@pytest.mark.parametrize(
    "query, expected",
    (
        ("select json_array_length(similar_to(1))", 20),
        ("select group_concat(key) from json_each(similar_to(1, 1), '$[0]')",
         "id,score,percentile"),
        ("select count(*) from json_each(similar_to(1, 50), '$[0].id') where value = 1", 0),
        ("select json_array_length(similar_to(1, 3))", 3),
        ("select json_array_length(similar_to(1, '3'))", 3),
        ("select json_array_length(similar_to(1, 3.0))", 3),
        ("select json_array_length(similar_to(1, 0))", 0),
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
        "select similar_to(1, '')",
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
        ("", OBJECT + "''"),
        ("pool5", OBJECT + "'pool5'"),
        ("[]", OBJECT + "'[]'"),
        ("null", OBJECT + "'null'"),
        ("{", OBJECT + "'{'"),
        ("[" * 100_000, OBJECT + "'" + "[" * 59),
        (5, OBJECT + "5"),
        (
            '{"spaces": "toy"}',
            "No option 'spaces': there is level_weights, minus, plus, ranked and space",
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


# Ids are what the source table's key would make of them


@pytest.mark.parametrize(
    "key, ids, given, expected",
    (
        ("integer primary key", [7, 8], "7", 7),
        ("integer primary key", [7, 8], "007", 7),
        ("integer primary key", [7, 8], " 7 ", 7),
        ("integer primary key", [7, 8], "+7", 7),
        ("integer primary key", [7, 8], "7e0", 7),
        ("integer primary key", [7, 8], "7.5", None),
        ("integer primary key", [7, 8], "٧", None),
        ("integer primary key", [-(2**63), 2**63 - 1], str(2**63 - 1), 2**63 - 1),
        ("integer primary key", [-(2**63), 2**63 - 1], -(2**63), -(2**63)),
        ("integer primary key", [-(2**63), 2**63 - 1], 2.0**63, None),
        ("int primary key", [7, "x7"], "7", 7),
        ("int primary key", [7, "x7"], "x7", "x7"),
        ("text primary key", ["7", "007"], "7", "7"),
        ("text primary key", ["7", "007"], 7, "7"),
        ("text primary key", ["7", "007"], "007", "007"),
        ("text primary key", ["7", "007"], "07", None),
        ("text primary key", ["7.0", "7"], 7.0, "7.0"),
        ("text primary key", ["naïve/日本.jpg", "a'b\"c"], "naïve/日本.jpg", "naïve/日本.jpg"),
        ("text primary key", ["naïve/日本.jpg", "a'b\"c"], "a'b\"c", "a'b\"c"),
        ("varchar(30) primary key", ["7", "8"], 7, "7"),
        ("primary key", [7, "7", "007"], 7, 7),
        ("primary key", [7, "7", "007"], "7", "7"),
        ("primary key", [7, "7", "007"], "007", "007"),
        ("primary key", [7, "8"], "7", 7),
        ("primary key", [7, "8"], "07", None),
        ("numeric primary key", [7, 8], "7", 7),
        ("primary key", [7, "8"], 8, None),
    ),
)
def test_types_of_ids(tmp_path, key, ids, given, expected):
    path = make_space(tmp_path / "a.db", random_vectors(len(ids)), ids, key=key)
    others = found_ids(answer(path, "select similar_to(?)", given))
    if expected is None:
        assert others == []
        assert answer(path, "select imgsim_score(?, ?)", given, ids[0]) is None
        assert answer(path, "select imgsim_vector(?)", given) is None
    else:
        assert {(type(id), id) for id in [*others, expected]} == {(type(id), id) for id in ids}
        assert answer(path, "select imgsim_score(?, ?)", given, expected) == 1
        assert answer(path, "select imgsim_distance(?, ?)", given, expected) == 0
        same = "select imgsim_vector(?) = imgsim_vector(?)"
        assert answer(path, same, given, expected) == 1


def test_ids_that_are_neither_number_nor_text_are_left_out(tmp_path):
    ids = [1, b"\x01", "x"]
    path = make_space(tmp_path / "a.db", random_vectors(3), ids, key="primary key")
    assert found_ids(answer(path, "select similar_to(1)")) == ["x"]


@pytest.mark.parametrize("key", ("integer primary key", "text primary key", "primary key"))
def test_named_parameters_come_as_text(tmp_path, key):
    path = make_space(tmp_path / "photos.db", random_vectors(5), key=key, ids=[*"12345"])

    async def asked():
        ds = await ready(await served(path))
        return await ask_one(ds, "select similar_to(:id, :k)", id="2", k="3")

    assert len(found(asyncio.run(asked()))) == 3


def test_a_table_and_levels_with_odd_names(tmp_path):
    path = make_space(
        tmp_path / "a.db", random_vectors(5), table='my "own" [table]', levels={"a b": 10}
    )
    change(path, """alter table "my ""own"" [table]" rename column id to "the ""key""\"""")
    options = '{"level_weights": {"a b": 2}}'
    assert len(found(answer(path, "select similar_to(1, 9, ?)", options))) == 4
    assert answer(path, "select imgsim_distance(1, 2)") > 0


def test_a_table_without_a_key_is_known_by_rowid(path):
    change(path, "drop table images")
    change(path, "create table images (name text)")
    change(path, "insert into images (rowid, name) values (3, 'a'), (5, 'b'), (99, 'c')")
    assert found_ids(answer(path, "select similar_to(3)")) == [5]


@pytest.mark.parametrize("name", ["levels", "preprocess", "level_weights", "versions"])
@pytest.mark.parametrize("value", ["'{'", "'[]'", "''", "x'ff'", "5"])
def test_a_damaged_space_is_named(path, name, value):
    change(path, f"update imgsim_spaces set {name} = {value}")
    assert f"The space 'toy' is damaged (what imgsim_spaces has as {name}" in answer(
        path, "select imgsim_status()"
    )


def test_a_compound_key_is_refused(path):
    change(path, "drop table images")
    change(path, "create table images (a, b, primary key (a, b))")
    assert "has a compound primary key (a and b)" in answer(path, "select imgsim_status()")


# Numbers


@pytest.mark.parametrize("level_weights", (None, {"pool5": 1}, {"pool4": 0.2, "pool5": 1.4}))
@pytest.mark.parametrize("dtype", ("float16", "float32"))
def test_scores_agree_with_an_independent_computation(tmp_path, dtype, level_weights):
    path = make_space(tmp_path / "a.db", random_vectors(30), dtype=dtype)
    options = json.dumps({"level_weights": level_weights})
    expected = expected_scores(path, level_weights)
    query = "select a.id, b.id, imgsim_score(a.id, b.id, ?) from images a, images b"
    for a, b, score in answers(path, query, options):
        assert score == pytest.approx(expected[a][b], abs=1e-5)


def test_scores_of_real_pictures_agree(photos):
    path = photos / "photos.db"
    (name,) = rows(path, "select name from imgsim_spaces")
    expected = expected_scores(path, name=name)
    for id, score in found(answer(path, "select similar_to(5, 99)")):
        assert score == pytest.approx(expected[5][id], abs=1e-5)
    (shape,) = rows(path, "select rtrim(path, '.jpg0123456789') from images where id = 5")
    for id in found_ids(answer(path, "select similar_to(5, 3)")):
        assert rows(path, "select path from images where id = ?", id)[0].startswith(shape)


def test_a_pair_scores_as_in_the_ranking(toys):
    for id in range(1, 31):
        query = """
            select json_extract(value, '$.score'), imgsim_score(json_extract(value, '$.id'), ?)
            from json_each(similar_to(?, 99))
        """
        for ranked, pair in answers(toys, query, id, id):
            assert ranked == pair


@pytest.mark.parametrize("options", ("{}", ONLY_POOL5))
def test_a_score_is_symmetric(toys, options):
    query = """
        select max(abs(imgsim_score(a.id, b.id, ?) - imgsim_score(b.id, a.id, ?)))
        from images a, images b
    """
    assert answer(toys, query, options, options) <= 1e-6


@pytest.mark.parametrize("arguments", ("id, 7", "7, id"))
def test_scores_order_a_filtered_set(toys, arguments):
    query = f"select id from images where id % 2 order by imgsim_score({arguments}) desc, id"
    wanted = sorted((-score, id) for id, score in expected_scores(toys)[7].items() if id % 2)
    assert answers(toys, query) == [id for _, id in wanted]


@pytest.mark.parametrize("arguments", ("id, :id", ":id, id"))
def test_distance_is_that_of_the_raw_level_vectors(toys, arguments):
    vectors = random_vectors(30)
    for options, weights in (("{}", (0.5, 0.5)), (ONLY_POOL5, (0, 1))):
        query = f"select imgsim_distance({arguments}, :options) from images order by id"
        with sqlite_utils.Database(toys) as db:
            distances = [row[0] for row in db.execute(query, {"id": 7, "options": options})]
        squares = (vectors - vectors[6]) ** 2
        levels = np.stack([squares[:, :6].sum(axis=1), squares[:, 6:].sum(axis=1)])
        assert distances == pytest.approx(np.sqrt(weights @ levels), rel=1e-5, abs=1e-6)


def test_functions_side_by_side_do_not_disturb_each_other(toys):
    columns = (
        "imgsim_score(id, 7)",
        "imgsim_distance(id, 7)",
        f"imgsim_score(7, id, '{ONLY_POOL5}')",
    )
    together = answers(toys, f"select {', '.join(columns)} from images")
    assert together == list(zip(*(answers(toys, f"select {one} from images") for one in columns)))


@pytest.mark.parametrize("dtype", ("float16", "float32"))
def test_the_vector_is_what_is_stored(tmp_path, dtype):
    path = make_space(tmp_path / "a.db", random_vectors(4), dtype=dtype)
    (stored,) = rows(path, "select vector from imgsim_vectors where image_id = 3")
    stored = np.frombuffer(stored, {"float16": "<f2", "float32": "<f4"}[dtype])
    vector = np.frombuffer(answer(path, "select imgsim_vector(3)"), "<f4")
    assert (vector == stored.astype("<f4")).all()


@pytest.mark.parametrize("level_weights", (None, {"pool5": 1}, {"pool4": 0.2, "pool5": 1.4}))
def test_plain_products_of_ranked_vectors_are_scores(toys, level_weights):
    options = {"level_weights": level_weights}
    ranked = json.dumps(options | {"ranked": True})
    blobs = answers(toys, "select imgsim_vector(id, ?) from images order by id", ranked)
    vectors = np.array([np.frombuffer(blob, "<f4") for blob in blobs], np.float64)
    for a, b, score in answers(
        toys,
        "select a.id, b.id, imgsim_score(a.id, b.id, ?) from images a, images b where a.id < 5",
        json.dumps(options),
    ):
        assert vectors[a - 1] @ vectors[b - 1] == pytest.approx(score, abs=2e-6)


# Which space


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


# In sqlite-utils


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
    ds = await ready(await served(toys))

    def through_sqlite_utils(conn):
        monkeypatch.setattr(functions, "register", None)
        return next(sqlite_utils.Database(conn).query("select similar_to(1) as found"))

    given = await ds.get_database("photos").execute_fn(through_sqlite_utils)
    assert len(found(given["found"])) == 20


# In Datasette


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_query_joins_images(toys):
    ds = await ready(await served(toys))
    status, body = await ask(
        ds,
        """
        select images.id, round(json_extract(value, '$.score'), 4)
        from json_each(similar_to(:id)) join images on images.id = json_extract(value, '$.id')
        order by json_each.key
        """,
        id="7",
    )
    wanted = found(answer(toys, "select similar_to(7)"))
    assert status == 200
    assert body["rows"] == [[id, round(score, 4)] for id, score in wanted]


@pytest.mark.datasette
@pytest.mark.asyncio
@pytest.mark.parametrize("query", ("similar_to(1, 3, '{}}')", "imgsim_score(1, 2, '[]')"))
async def test_misuse_is_a_bad_request(toys, query):
    ds = await ready(await served(toys))
    status, body = await ask(ds, f"select {query}")
    assert status == 400 and FAILED in str(body)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_configured_space_is_the_default(path):
    make_space(path, random_vectors(4), name="other")
    plugin = {"datasette-imgsim": {"space": "other"}}
    ds = await served(path, metadata={"databases": {"photos": {"plugins": plugin}}})
    cache = state_of(ds.get_database("photos")).indexes
    while not loads_begun(cache):  # before anybody asks
        await asyncio.sleep(0.01)
    (load,) = loads_begun(cache)
    assert load.done.wait(10)
    assert [held.space.name for held in values_held(cache)] == ["other"]
    query = "select imgsim_status()"
    await until(ds, query, lambda text: text.startswith("The space 'other' of the table"))
    named = 'select imgsim_status(\'{"space": "toy"}\')'
    assert "The space 'toy'" in await ask_one(ds, named)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_loading_starts_with_the_server(path, gate):
    ds = await served(path)
    while not loads_begun(state_of(ds.get_database("photos")).indexes):
        await asyncio.sleep(0.01)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_call_waits_half_a_second_for_a_load(path, gate):
    ds = await served(path)
    begin = time.monotonic()
    status, body = await ask(ds, "select similar_to(1)")
    assert 0.5 <= time.monotonic() - begin < 1.5
    assert status == 400 and FAILED in str(body)
    sentence = "The space 'toy' is loading, 40 %"
    assert await ask_one(ds, "select imgsim_status()") == sentence
    threading.Timer(0.1, gate.set).start()
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_loading_is_not_under_the_time_limit(path, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_a_read", 1)
    load = indexes.load

    def slow(conn, space, progress):
        return load(conn, space, Told(lambda share: time.sleep(0.01)))

    monkeypatch.setattr(indexes, "load", slow)
    ds = await served(path, settings={"sql_time_limit_ms": 50})
    assert len(found(await until(ds, "select similar_to(1)", bool))) == 20


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_time_limit_met_in_our_own_query_is_a_time_limit(toys):
    ds = await ready(await served(toys, settings={"sql_time_limit_ms": 100}))
    query = "select sum(imgsim_distance(a.id, b.id)) from images a, images b, images c, images d"
    status, body = await ask(ds, query)
    assert status == 400 and ("took too long" in str(body) or "interrupted" in str(body))
    assert FAILED not in str(body)
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_database_may_be_closed_while_it_is_read(path, gate):
    ds = await served(path)
    cache = state_of(ds.get_database("photos")).indexes
    while not loads_begun(cache):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    ds.get_database("photos").close()
    gate.set()
    (load,) = loads_begun(cache)
    assert load.done.wait(10) and load.error is None


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_new_images_appear(path, quick):
    ds = await ready(await served(path))
    assert len(found(await ask_one(ds, "select similar_to(1, 99)"))) == 29
    add_images(path, random_vectors(5, seed=3), range(100, 105))
    await until(ds, "select similar_to(1, 99)", lambda text: len(found(text)) == 34)
    assert "35 images" in await ask_one(ds, "select imgsim_status()")


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_images_embedded_while_the_server_runs_appear(copy_photos, quick):
    path = copy_photos / "photos.db"
    ds = await ready(await served(path))
    shutil.copy(copy_photos / "images" / "dots" / "3.jpg", copy_photos / "images" / "new.jpg")
    await asyncio.to_thread(imgsim, "embed", path, copy_photos / "images", "--quiet")
    old, new = rows(path, "select id from images where path like '%/3.jpg' and path like '%dots%' "
                          "or path like '%new%' order by id")  # fmt: skip
    query = f"select similar_to({old}, 1)"
    given = await until(ds, query, lambda text: found_ids(text) == [new])
    assert found(given) == [(new, 1)]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_status_tells_of_a_newer_version(path, gate, quick):
    gate.set()
    ds = await ready(await served(path))
    gate.clear()
    change(path, "update imgsim_spaces set generation = generation + 1")
    sentence = "The space 'toy' of the table 'images' is loaded: 30 images; a newer version "
    loading = await until(ds, "select imgsim_status()", lambda text: "40 %" in text)
    assert loading == sentence + "is loading, 40 %"
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20
    change(path, "update imgsim_spaces set centre = x'00000000'")
    gate.set()
    text = await until(ds, "select imgsim_status()", lambda text: "damaged" in text)
    assert text == sentence + "cannot be loaded: its centre is damaged"


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_an_image_deleted_by_hand_vanishes_at_once(path):
    ds = await ready(await served(path))
    before = found_ids(await ask_one(ds, "select similar_to(1, 29)"))
    change(path, "delete from images where id in (?, ?)", before[0], before[5])
    left = [id for id in before if id not in (before[0], before[5])]
    for k in (3, 10, 27, 99):
        assert found_ids(await ask_one(ds, f"select similar_to(1, {k})")) == left[:k]
    for query in ("similar_to(:id)", "coalesce(imgsim_distance(:id, 1), '[]')",
                  "coalesce(imgsim_score(:id, 1), '[]')", "coalesce(imgsim_score(1, :id), '[]')",
                  "coalesce(imgsim_vector(:id), '[]')",
                  "coalesce(imgsim_vector(:id, '{\"ranked\": true}'), '[]')"):  # fmt: skip
        assert await ask_one(ds, f"select {query}", id=str(before[0])) == "[]"
    for pair in ("id, :id", ":id, id"):
        query = f"select count(imgsim_score({pair})) from images"
        for id, count in ((before[0], 0), (1, 28)):
            # Or it may be taken to be of the last statement.
            await asyncio.sleep(LIMITS.seconds_between_statements + 0.05)
            assert await ask_one(ds, query, id=str(id)) == count


def test_the_percentiles_of_all_images_are_found_at_once(toys, monkeypatch):
    scores, of = [], Calibration.of
    monkeypatch.setattr(Calibration, "of", lambda *args: scores.append(args[1]) or of(*args))
    rows = json.loads(answer(toys, "select similar_to(1, 1000000)"))
    assert len(rows) == 29 and [each.tolist() for each in scores] == [[r["score"] for r in rows]]
    for row in rows:
        wanted = answer(toys, "select imgsim_percentile(?)", row["score"])
        assert row["percentile"] == wanted


@pytest.mark.parametrize("pair", ("id, 7", "7, id"))
def test_the_image_compared_with_is_looked_up_once(toys, pair, monkeypatch):
    looked_up, find = [], SourceTable.find
    monkeypatch.setattr(SourceTable, "find", lambda *args: looked_up.append(args[2]) or find(*args))
    assert len(answers(toys, f"select imgsim_score({pair}) from images")) == 30
    assert sorted(looked_up) == [1, 7]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_dropped_space_is_an_error(path, quick):
    make_space(path, random_vectors(4), name="other")
    ds = await ready(await served(path))
    query = 'select similar_to(1, 3, \'{"space": "toy"}\')'
    assert (await ask(ds, query))[0] == 200
    await asyncio.to_thread(imgsim, "drop", path, "toy")
    assert (await ask(ds, query))[0] == 400
    sentence = "No space 'toy': there is other"
    assert await ask_one(ds, 'select imgsim_status(\'{"space": "toy"}\')') == sentence
    ids = found_ids(await until(ds, "select similar_to(1)", bool))
    assert sorted(ids) == [2, 3, 4]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_file_with_other_content_under_the_same_name(path, tmp_path, quick):
    ds = await ready(await served(path))
    new = make_space(tmp_path / "new.db", random_vectors(5, 3), levels={"pool3": 3})
    path.write_bytes(new.read_bytes())
    ids = found_ids(await until(ds, "select similar_to(1)", bool))
    assert sorted(ids) == [2, 3, 4, 5]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_an_immutable_database(path):
    ds = Datasette([], immutables=[str(path)])
    await ds.invoke_startup()
    assert len(found(await until(ds, "select similar_to(1)", bool))) == 20


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_databases_do_not_mix(tmp_path):
    paths = []
    for number, name in enumerate(("a", "b", "c")):
        vectors = random_vectors(10, seed=number)
        paths.append(make_space(tmp_path / f"{name}.db", vectors))
    ds = await served(paths)
    for path in paths * 2:
        given = await until(ds, "select similar_to(1, 99)", bool, path.stem)
        assert given == answer(path, "select similar_to(1, 99)")


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_memory_database_without_tables():
    ds = Datasette(memory=True)
    text = await ask_one(ds, "select imgsim_status()", "_memory")
    assert text.startswith("This database holds no vectors")
    assert (await ask(ds, "select similar_to(1)", "_memory"))[0] == 400


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_memory_databases_with_names(tmp_path):
    ds = Datasette()
    paths = [
        make_space(tmp_path / f"{name}.db", random_vectors(9, seed=seed))
        for seed, name in enumerate(("one", "two"))
    ]
    for path in paths:
        db = ds.add_database(Database(ds, memory_name=path.stem), name=path.stem)
        with closing(sqlite3.connect(path)) as source:
            script = "\n".join(source.iterdump())
        await db.execute_write_fn(lambda conn, script=script: conn.executescript(script) and None)
    for path in paths:
        given = await until(ds, "select similar_to(1)", bool, path.stem)
        assert given == answer(path, "select similar_to(1)")
        assert loads_begun(state_of(ds.get_database(path.stem)).indexes)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_many_at_once(toys):
    ds = await served(toys)
    ids = [1 + number % 30 for number in range(60)]
    given = await asyncio.gather(*(ask_one(ds, f"select similar_to({id})") for id in ids))
    assert given == [answer(toys, f"select similar_to({id})") for id in range(1, 31)] * 2


# One statement, one generation


@pytest.fixture
def cache(path):
    return indexes.Indexes(lambda: sqlite3.connect(path, check_same_thread=False))


@pytest.fixture
def reloading(path, cache, monkeypatch):
    """A connection whose function reload() changes all vectors and has them loaded again."""
    reload_at_once(monkeypatch)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", 4)  # whatever else this machine does
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("pragma journal_mode = wal")
        functions.register(conn, cache)

        def reload():
            turned = np.random.default_rng().permutation(30).tolist()
            with closing(sqlite3.connect(path)) as other, other:
                blobs = rows(path, "select vector from imgsim_vectors order by image_id")
                for id, place in enumerate(turned, 1):
                    statement = "update imgsim_vectors set vector = ? where image_id = ?"
                    other.execute(statement, [blobs[place], id])
                other.execute("update imgsim_spaces set generation = generation + 1")
            with closing(sqlite3.connect(path)) as other:
                space = space_of(other)
                cache.get(other, space, wait=10)
                assert newest_load(cache, space).done.wait(10)
                assert cache.cache.held(space.identity, space.generation)
            return 0

        conn.create_function("reload", 0, reload)
        cache.get(conn, space_of(conn), wait=10)
        yield conn


def test_a_statement_stays_with_one_generation(path, reloading, monkeypatch):
    before = expected_scores(path)[7]
    statement = """
        select id, imgsim_score(id, 7) + 0 * case id when 15 then reload() else 0 end from images
    """
    assert dict(reloading.execute(statement)) == pytest.approx(before, abs=1e-5)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", -1)
    after = expected_scores(path)[7]
    assert after != pytest.approx(before, abs=1e-3)
    now = reloading.execute("select id, imgsim_score(id, 7) from images")
    assert dict(now) == pytest.approx(after, abs=1e-5)


def test_all_functions_of_a_statement_use_one_generation(path, reloading):
    statement = """
        select similar_to(7, 99), case when reload() = 0 then
            (select json_group_object(id, imgsim_score(id, 7, :same)) from images) end
    """
    options = {"same": '{"space": "toy"}'}
    ranked, scored = reloading.execute(statement, options).fetchone()
    scored = {int(id): score for id, score in json.loads(scored).items()}
    assert dict(found(ranked)) | {7: 1} == scored


def test_a_busy_connection_looks_for_changes_now_and_then(path, reloading, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_statement", 0.1)
    assert reloading.execute("select imgsim_score(1, 2)").fetchone()
    change(path, "delete from imgsim_spaces")
    time.sleep(0.11)
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        reloading.execute("select imgsim_score(1, 2)")


def test_an_idle_connection_does_not_keep_old_vectors(cache, reloading, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_statement", 0)
    reloading.execute("select imgsim_score(1, 2)").fetchone()
    (held,) = map(weakref.ref, values_held(cache))
    reloading.execute("select reload()").fetchone()
    deadline = time.monotonic() + 5
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held() is None
