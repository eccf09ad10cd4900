"""Ids in SQL: they are what the key of the source table would make of them."""

import asyncio

import pytest
from helpers.commands import imgsim
from helpers.databases import answer, change, found, found_ids, make_space, random_vectors
from helpers.serving import ask_one, ready, started

from datasette_imgsim.limits import LIMITS

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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
        ds = await ready(await started(path))
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


def test_a_table_without_a_key_is_refused(path):
    """Its row numbers may have changed since it was embedded."""
    change(path, "drop table images")
    change(path, "create table images (name text)")
    assert "'images' has no primary key" in answer(path, "select imgsim_status()")
    imgsim("drop", path, "toy")


def test_a_compound_key_is_refused(path):
    change(path, "drop table images")
    change(path, "create table images (a, b, primary key (a, b))")
    assert "has a compound primary key (a and b)" in answer(path, "select imgsim_status()")


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_an_image_deleted_by_hand_vanishes_at_once(path):
    ds = await ready(await started(path))
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
