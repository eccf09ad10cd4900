"""What a score is worth: percentiles among random pairs."""

import json
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import TOY, imgsim
from helpers.databases import (
    answer,
    change,
    expected_scores,
    make_space,
    random_vectors,
    rows,
    space_of,
)
from helpers.pictures import draw_groups

from datasette_imgsim.db.connect import open_writer
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import calibration


def all_scores(path, level_weights=None):
    scores = expected_scores(path, level_weights)
    return np.array([scores[a][b] for a in scores for b in scores if a < b])


def renew(path):
    with closing(open_writer(path)) as conn:
        calibration.renew(conn, space_of(conn))


def stored(path):
    (text,) = rows(path, "select calibration from imgsim_spaces")
    return text and json.loads(text)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("score", [-0.5, -0.1, 0.0, 0.2, 0.5])
def test_a_percentile_is_the_share_of_pairs_that_score_less(path, score, is_stored):
    if is_stored:
        renew(path)
    expected = 100 * np.mean(all_scores(path) < score)
    assert answer(path, "select imgsim_percentile(?)", score) == pytest.approx(expected, abs=0.5)


def test_other_level_weights_have_percentiles_of_their_own(path):
    renew(path)
    options = '{"level_weights": {"pool5": 1}}'
    expected = 100 * np.mean(all_scores(path, {"pool5": 1}) < 0.3)
    found = answer(path, "select imgsim_percentile(0.3, ?)", options)
    assert found == pytest.approx(expected, abs=0.5)
    assert found != answer(path, "select imgsim_percentile(0.3)")


def test_results_carry_the_percentile_of_their_score(path):
    for row in json.loads(answer(path, "select similar_to(1, 30)")):
        assert row["percentile"] == answer(path, "select imgsim_percentile(?)", row["score"])


def test_it_is_stored_when_a_run_ends(tmp_path, toy):
    draw_groups(tmp_path / "images")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "images", *TOY)
    found = stored(tmp_path / "photos.db")
    assert found["pairs"] == 24 * 23 // 2 and found["weights"] == [1]
    assert found["scores"] == sorted(found["scores"])
    assert found["percentiles"][0] == 0 and 99 < found["percentiles"][-1] < 100


def test_it_is_renewed_where_vectors_changed_and_only_then(tmp_path, toy):
    database, images = tmp_path / "photos.db", tmp_path / "images"
    draw_groups(images, count=2)
    imgsim("embed", database, images, *TOY)
    change(database, "update imgsim_spaces set calibration = json_set(calibration, '$.mark', 1)")
    imgsim("embed", database, images)
    assert stored(database)["mark"] == 1
    draw_groups(images, count=3)
    imgsim("embed", database, images)
    assert "mark" not in stored(database) and stored(database)["pairs"] == 12 * 11 // 2


@pytest.mark.parametrize("count,known", [(1, False), (2, False), (3, True)])
def test_few_images_have_no_percentile(tmp_path, count, known):
    path = make_space(tmp_path / "toy.db", random_vectors(count))
    renew(path)
    assert (stored(path) is not None) == known
    assert (answer(path, "select imgsim_percentile(0.5)") is not None) == known


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "5", "{}", '{"generation": 2}', "null", "not json"]
    + [
        json.dumps({"generation": 2, "weights": [0.5, 0.5], "scores": s, "percentiles": p})
        for s, p in (([], []), ([0.1], [1, 2]), ([None], [5]), ([[1]], [[2]]), ("x", "y"))
    ]
    + ['{"generation": 2, "weights": [0.5, 0.5], "scores": [NaN], "percentiles": [5]}'],
)
def test_a_damaged_calibration_is_made_again(path, text):
    renew(path)
    expected = answer(path, "select imgsim_percentile(0.2)")
    change(path, "update imgsim_spaces set generation = 2, calibration = ?", text)
    assert answer(path, "select imgsim_percentile(0.2)") == pytest.approx(expected, abs=0.1)
    renew(path)
    assert stored(path)["pairs"] == 30 * 29 // 2


def test_a_calibration_of_other_vectors_does_not_count(path):
    renew(path)
    change(path, "update imgsim_spaces set calibration = json_set(calibration, '$.scores[0]', -9)")
    assert answer(path, "select imgsim_percentile(-2)") > 0
    change(path, "update imgsim_spaces set generation = generation + 1")
    assert answer(path, "select imgsim_percentile(-2)") == 0


def test_a_space_that_shrank_has_no_percentile(path):
    renew(path)
    change(path, "delete from images where id > 2")
    assert answer(path, "select imgsim_percentile(0.5)") is None


def test_a_damaged_centre_stops_nothing(path):
    change(path, "update imgsim_spaces set centre = x'0000'")
    renew(path)
    assert stored(path) is None


def test_the_best_pair_is_not_closer_than_itself():
    found = calibration.Calibration.of_scores(np.array([0.1, 0.2, 0.3]))
    assert found.percentile(0.3) == pytest.approx(66.6666)
    assert found.percentile(0.31) == 100
    assert found.percentile(0.05) == 0


def test_copies_of_one_image(tmp_path):
    path = make_space(tmp_path / "toy.db", np.ones((5, 10)))
    renew(path)
    assert answer(path, "select imgsim_percentile(1)") == 0
    (first, *_) = json.loads(answer(path, "select similar_to(1)"))
    assert (first["score"], first["percentile"]) == (1, 0)


def test_damaged_vectors_are_passed_over(path):
    change(path, "update imgsim_vectors set vector = x'00' where image_key = 3")
    renew(path)
    assert stored(path)["pairs"] == 29 * 28 // 2


@pytest.mark.parametrize("count,wanted", [(3, 10), (5, 10), (1000, 500)])
def test_pairs_are_of_different_images(count, wanted):
    left, right = calibration.pairs(count, wanted)
    assert len(left) == len(right) == min(wanted, count * (count - 1) // 2)
    assert (left != right).all() and 0 <= min(left.min(), right.min())
    assert max(left.max(), right.max()) < count
    assert np.array_equal(left, calibration.pairs(count, wanted)[0])


def test_a_large_space_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(LIMITS, "calibration_images", 50)
    monkeypatch.setattr(LIMITS, "calibration_pairs", 400)
    path = make_space(tmp_path / "toy.db", random_vectors(200))
    renew(path)
    assert stored(path)["pairs"] == 400
    expected = 100 * np.mean(all_scores(path) < 0.2)
    assert answer(path, "select imgsim_percentile(0.2)") == pytest.approx(expected, abs=12)


@pytest.mark.parametrize(
    "percentile,text",
    [
        (0, "closer than 0 % of random pairs"),
        (42.9, "closer than 42 % of random pairs"),
        (99.19, "closer than 99.1 % of random pairs"),
        (99.987, "closer than 99.98 % of random pairs"),
        (99.9999, "closer than 99.99 % of random pairs"),
        (100, "closer than all random pairs"),
    ],
)
def test_words(percentile, text):
    assert calibration.in_words(percentile) == text
