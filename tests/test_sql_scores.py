"""Scores, distances, vectors and percentiles in SQL, against independent accounts of them."""

import json

import numpy as np
import pytest
import sqlite_utils
from helpers.databases import (
    ONLY_POOL5,
    answer,
    answers,
    expected_scores,
    found,
    found_ids,
    make_space,
    random_vectors,
    rows,
)
from helpers.waiting import LONG

from datasette_imgsim.db.tables import SourceTable
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search.calibration import Calibration


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
    (stored,) = rows(path, "select vector from imgsim_vectors where image_key = 3")
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


def test_the_percentiles_of_all_images_are_found_at_once(toys, monkeypatch):
    scores, percentiles_of = [], Calibration.percentiles_of
    monkeypatch.setattr(
        Calibration,
        "percentiles_of",
        lambda *args: scores.append(args[1]) or percentiles_of(*args),
    )
    rows = json.loads(answer(toys, "select similar_to(1, 1000000)"))
    assert len(rows) == 29 and [each.tolist() for each in scores] == [[r["score"] for r in rows]]
    for row in rows:
        wanted = answer(toys, "select imgsim_percentile(?)", row["score"])
        assert row["percentile"] == wanted


@pytest.mark.parametrize("pair", ("id, 7", "7, id"))
def test_the_image_compared_with_is_looked_up_once(toys, pair, monkeypatch):
    # However slow this machine is, the calls are of one statement.
    monkeypatch.setattr(LIMITS, "seconds_between_statements", LONG)
    monkeypatch.setattr(LIMITS, "seconds_a_statement", LONG)
    looked_up, find = [], SourceTable.find
    monkeypatch.setattr(SourceTable, "find", lambda *args: looked_up.append(args[2]) or find(*args))
    assert len(answers(toys, f"select imgsim_score({pair}) from images")) == 30
    assert sorted(looked_up) == [1, 7]
