import sqlite3
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np
import pytest
from helpers.databases import (
    LEVELS,
    answer,
    change,
    expected_scores,
    found,
    make_space,
    random_vectors,
    space_of,
)

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking


@pytest.fixture(
    autouse=True,
    params=((10**9, 10**9), (0, 10**9), (0, 0)),
    ids=("all in memory", "reduced beside", "reduced only"),
)
def form(request, monkeypatch):
    """What is in memory: every ranking is tried with each. Of a reduction, few are scored."""
    monkeypatch.setattr(LIMITS, "bytes_scanned", request.param[0])
    monkeypatch.setattr(LIMITS, "bytes_in_memory", request.param[1])
    monkeypatch.setattr(LIMITS, "rescored", 0)


@pytest.fixture
def loaded():
    """Opens a database: gives the connection, which is closed at the end, and the vectors."""
    with ExitStack() as opened:

        def load(path):
            conn = opened.enter_context(closing(sqlite3.connect(path)))
            return conn, indexes.load(conn, space_of(conn))

        yield load


@pytest.fixture
def space(tmp_path):
    path = make_space(tmp_path / "a.db", random_vectors(3))
    with closing(sqlite3.connect(path)) as conn:
        return space_of(conn)


@pytest.mark.parametrize(
    "given, expected",
    (
        (None, [0.5, 0.5]),
        ({"pool5": 1}, [0, 1]),
        ({"pool5": 3, "pool4": 1}, [0.25, 0.75]),
        ({"pool4": 1e308, "pool5": 1e308}, [0.5, 0.5]),
        ({"pool4": 5e-324}, [1, 0]),
    ),
)
def test_weights_are_in_network_order_and_sum_to_one(space, given, expected):
    assert ranking.weights(space, given).tolist() == expected


@pytest.mark.parametrize(
    "given, sentence",
    (
        ({"pool9": 1}, "The space 'toy' has no level 'pool9': there is pool4 and pool5"),
        ({"pool5": -1}, "The weight of 'pool5' must be a number from 0 up, not -1"),
        ({"pool5": True}, "not True"),
        ({"pool5": "1"}, "not '1'"),
        ({"pool5": None}, "not None"),
        ({"pool5": float("nan")}, "not nan"),
        ({"pool5": float("inf")}, "not inf"),
        ({"pool5": 10**400}, "must be a number"),
        ({"pool5": 0, "pool4": 0}, "All level weights are 0"),
        ({}, "All level weights are 0"),
        ([1], "level_weights must be an object"),
        ("pool5", "level_weights must be an object"),
    ),
)
def test_weights_that_make_no_sense(space, given, sentence):
    with pytest.raises(ImgsimError, match=sentence):
        ranking.weights(space, given)


@pytest.mark.parametrize("text", ("pool5:1,pool4:.5", "pool5=1, pool4=0.5"))
def test_level_weights_as_text(text):
    assert ranking.parse_level_weights(text) == {"pool5": 1, "pool4": 0.5}


@pytest.mark.parametrize("text", ("", "pool5", "pool5:x", "pool5:1,"))
def test_level_weights_that_are_not(text):
    with pytest.raises(ImgsimError, match="Level weights are written"):
        ranking.parse_level_weights(text)


@pytest.mark.parametrize("dtype", ("float16", "float32"))
@pytest.mark.parametrize("level_weights", (None, {"pool5": 1}, {"pool4": 0.3, "pool5": 0.9}))
def test_ranking_equals_an_independent_computation(tmp_path, loaded, dtype, level_weights):
    path = make_space(tmp_path / "a.db", random_vectors(300), dtype=dtype)
    (conn, vectors), expected = loaded(path), expected_scores(path, level_weights)
    weights = ranking.weights(vectors.space, level_weights)
    for id in (1, 77, 300):
        query = ranking.query_of_image(conn, vectors, vectors.row(conn, id), weights)
        best = ranking.rank(conn, vectors, query, 10)
        wanted = sorted((-score, other) for other, score in expected[id].items() if other != id)
        assert [other for other, _ in best] == [other for _, other in wanted[:10]]
        assert [score for _, score in best] == pytest.approx(
            [-score for score, _ in wanted[:10]], abs=1e-5
        )


def test_a_vector_from_outside_ranks_as_one_of_the_space(tmp_path, loaded):
    path = make_space(tmp_path / "a.db", random_vectors(50))
    conn, vectors = loaded(path)
    weights = ranking.weights(vectors.space)
    (blob,) = conn.execute("select vector from imgsim_vectors where image_key = 7").fetchone()
    query = ranking.query_of_vector(conn, vectors, vectors.space.decode(blob), weights)
    own = replace(ranking.query_of_image(conn, vectors, vectors.row(conn, 7), weights), ids=())
    assert ranking.rank(conn, vectors, query, 9) == ranking.rank(conn, vectors, own, 9)


@pytest.mark.parametrize("k", (0, 1, 2, 3, 199, 200, 201, 10**20))
def test_the_first_k_do_not_depend_on_k(tmp_path, loaded, k):
    path = make_space(tmp_path / "a.db", random_vectors(200))
    conn, vectors = loaded(path)
    query = ranking.query_of_image(conn, vectors, 3, ranking.weights(vectors.space))
    assert ranking.rank(conn, vectors, query, k) == ranking.rank(conn, vectors, query, 200)[:k]


@pytest.mark.parametrize("dimensions", (7, 512, 1000))
def test_equal_vectors_tie_and_come_in_order_of_id(tmp_path, dimensions):
    levels = {"pool4": 3, "pool5": dimensions - 3}
    vectors = random_vectors(200, dimensions)
    vectors[[5, 90, 140, 199]] = vectors[17]
    path = make_space(tmp_path / "a.db", vectors, levels=levels, dtype="float16")
    for id in (1, 2, 3, 50):
        best = found(answer(path, "select similar_to(?, 200)", id))
        scores = dict(best)
        assert len({scores[other] for other in (6, 18, 91, 141, 200)}) == 1
        order = [other for other, _ in best if other in (6, 18, 91, 141, 200)]
        assert order == [6, 18, 91, 141, 200]
    best = found(answer(path, "select similar_to(91, 4)"))
    assert best == [(6, 1), (18, 1), (141, 1), (200, 1)]


def test_of_ties_at_the_end_the_smallest_ids_are_in(tmp_path):
    vectors = random_vectors(40)
    vectors[10:] = vectors[10]
    path = make_space(tmp_path / "a.db", vectors)
    assert found(answer(path, "select similar_to(40, 3)")) == [(11, 1), (12, 1), (13, 1)]


def test_of_many_copies_the_smallest_ids_are_in(tmp_path):
    vectors = random_vectors(400, 300)
    vectors[50:350] = vectors[50]
    path = make_space(tmp_path / "a.db", vectors, levels={"pool4": 300})
    assert found(answer(path, "select similar_to(200, 3)")) == [(51, 1), (52, 1), (53, 1)]


def test_a_reduction_finds_nearly_all(tmp_path, loaded):
    random = np.random.default_rng(1)
    groups = random_vectors(12, 300) + 0.1
    vectors = np.repeat(groups, 50, axis=0)
    vectors += 0.5 * np.abs(random.standard_normal((600, 20))) @ random_vectors(20, 300, 2) / 20
    path = make_space(tmp_path / "a.db", vectors, levels={"pool4": 150, "pool5": 150})
    conn, loaded_vectors = loaded(path)
    expected, hits = expected_scores(path), 0
    for id in range(1, 600, 7):
        query = ranking.query_of_image(
            conn, loaded_vectors, id - 1, ranking.weights(loaded_vectors.space)
        )
        best = dict(ranking.rank(conn, loaded_vectors, replace(query, ids=()), 10))
        wanted = sorted(expected[id], key=lambda other: -expected[id][other])[:10]
        assert best == pytest.approx({other: expected[id][other] for other in best}, abs=1e-5)
        hits += len(best.keys() & set(wanted))
    assert hits >= 0.99 * 10 * len(range(1, 600, 7))


def test_scores_stay_within_one(tmp_path):
    vectors = random_vectors(30, 1000)
    vectors[20:] = vectors[20]
    path = make_space(tmp_path / "a.db", vectors, levels={"pool4": 500, "pool5": 500})
    scores = [score for _, score in found(answer(path, "select similar_to(25, 99)"))]
    assert scores[:9] == [1.0] * 9 and min(scores) >= -1


def test_excluded_ids_are_left_out(tmp_path, loaded):
    conn, vectors = loaded(make_space(tmp_path / "a.db", random_vectors(20)))
    query = ranking.query_of_image(conn, vectors, 0, ranking.weights(vectors.space))
    everything = [id for id, _ in ranking.rank(conn, vectors, query, 20)]
    query = replace(query, ids=(1, 3, 999))
    some = [id for id, _ in ranking.rank(conn, vectors, query, 4)]
    assert some == [id for id in everything if id not in (1, 3)][:4]


# Degenerate vectors


def test_identical_images_are_alike(tmp_path):
    path = make_space(tmp_path / "a.db", np.ones((5, 10)), dtype="float16")
    assert found(answer(path, "select similar_to(3)")) == [(id, 1) for id in (1, 2, 4, 5)]


@pytest.mark.parametrize("count, expected", ((1, []), (2, [2])), ids=("one image", "two images"))
def test_the_smallest_spaces(tmp_path, count, expected):
    path = make_space(tmp_path / "a.db", random_vectors(count))
    assert [id for id, _ in found(answer(path, "select similar_to(1)"))] == expected


def test_an_image_that_is_the_mean_itself_keeps_its_direction(tmp_path):
    path = make_space(tmp_path / "a.db", [[1, 0], [0, 1], [3, 4]], levels={"pool5": 2})
    mean = "(select vector from imgsim_vectors where image_key = 3)"
    change(path, f"update imgsim_spaces set centre = {mean}")
    assert answer(path, "select imgsim_score(3, 3)") == 1
    towards = (np.array([1, 0]) - [0.6, 0.8]) / np.sqrt(0.8)
    assert answer(path, "select imgsim_score(1, 3)") == pytest.approx(
        towards @ [0.6, 0.8], abs=1e-6
    )


def test_a_zero_vector_is_like_nothing(tmp_path):
    vectors = random_vectors(6)
    vectors[2] = 0
    path = make_space(tmp_path / "a.db", vectors)
    assert {score for _, score in found(answer(path, "select similar_to(3)"))} == {0}
    assert answer(path, "select imgsim_score(3, 3)") == 0


def test_a_zero_level_counts_nothing(tmp_path):
    vectors = random_vectors(6)
    vectors[2, :6] = 0
    path = make_space(tmp_path / "a.db", vectors)
    one_level = answer(path, """select imgsim_score(1, 3, '{"level_weights": {"pool5": 1}}')""")
    assert answer(path, "select imgsim_score(1, 3)") == pytest.approx(one_level / 2, abs=1e-6)


def test_a_whole_map_as_vector(tmp_path):
    vectors = random_vectors(12, 100_352)
    path = make_space(tmp_path / "a.db", vectors, levels={"pool4": 100_352}, dtype="float16")
    expected = expected_scores(path)
    best = found(answer(path, "select similar_to(5, 3)"))
    wanted = sorted((-score, id) for id, score in expected[5].items() if id != 5)
    assert [id for id, _ in best] == [id for _, id in wanted[:3]]
    assert best[0][1] == pytest.approx(-wanted[0][0], abs=1e-5)


def test_levels_are_where_the_space_says(tmp_path):
    vectors = np.zeros((4, 10))
    vectors[:, 0] = [1, 1, 5, 0]
    vectors[:, 1] = [0, 0, 5, 1]
    vectors[:, 6] = [1, 2, 0, 5]
    vectors[:, 7] = [1, 0, 3, 5]
    path = make_space(tmp_path / "a.db", vectors, levels=LEVELS, centre=False)
    sql = "select imgsim_score(1, 2, json_object('level_weights', json_object(?, 1)))"
    assert answer(path, sql, "pool4") == 1
    assert answer(path, sql, "pool5") == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert answer(path, "select imgsim_score(1, 2)") == pytest.approx(
        (1 + np.sqrt(0.5)) / 2, abs=1e-6
    )
