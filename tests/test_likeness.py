"""Scores in words, and the cut: where results stop being alike."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import TOY, imgsim
from helpers.databases import answer, change, expected_scores, make_space, space_of
from helpers.pictures import draw_groups

from datasette_imgsim.search import calibration, indexes, likeness, ranking, results
from datasette_imgsim.search.likeness import Steps


def grouped(folder, groups=8, count=6, noise=0.5):
    """A space of groups of like images; images 1 to `count` are the first group."""
    random = np.random.default_rng(0)
    vectors = np.repeat(random.standard_normal((groups, 400)), count, axis=0)
    vectors += noise * random.standard_normal(vectors.shape)
    return make_space(folder / "toy.db", vectors, levels={"pool5": 400})


def words(path, id, k=1000):
    """{id: word} of an image's results."""
    found = json.loads(answer(path, "select similar_to(?, ?)", id, k))
    return {hit["id"]: hit["word"] for hit in found}


@pytest.mark.parametrize("groups, count", [(2, 3), (2, 5), (5, 2), (8, 6), (10, 5)])
def test_a_group_is_alike_and_nothing_else(tmp_path, groups, count):
    path = grouped(tmp_path, groups, count)
    with closing(sqlite3.connect(path)) as conn:
        index = indexes.load(conn, space_of(conn))
        weights = ranking.weights(index.space)
        for row, id in enumerate(index.ids):
            query = ranking.query_of_image(conn, index, row, weights)
            for hit in results.best(conn, index, query, len(index)):
                assert (hit.word == "faint") == ((hit.id - 1) // count != (id - 1) // count)


def test_where_nothing_is_alike_all_is_faint(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((200, 300))
    path = make_space(tmp_path / "toy.db", vectors, levels={"pool5": 300})
    assert set(words(path, 1).values()) == {"faint"}


@pytest.mark.parametrize("others", [0, 1, 2, 10, 30])
def test_copies_are_near_identical_however_many_others_there_are(tmp_path, others):
    random = np.random.default_rng(0)
    copies = random.standard_normal(40) + 1e-3 * random.standard_normal((4, 40))
    vectors = np.concatenate([copies, random.standard_normal((others, 40))])
    found = words(make_space(tmp_path / "toy.db", vectors, levels={"pool5": 40}), 1)
    if others:
        assert [found[id] for id in (2, 3, 4)] == ["near-identical"] * 3
    assert set(list(found.values())[3:]) <= {"faint"}


def test_equal_pictures_alone(tmp_path):
    path = make_space(tmp_path / "toy.db", np.ones((5, 10)))
    assert set(words(path, 1).values()) == {"near-identical"}


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_have_no_words(tmp_path, count):
    path = make_space(tmp_path / "toy.db", np.random.default_rng(0).standard_normal((count, 10)))
    assert set(words(path, 1).values()) <= {None}


@pytest.mark.parametrize(
    "scores",
    [
        [],
        [0.5],
        [-1, 1],
        [-0.5, -0.5],
        [1] * 50,
        [0] * 50,
        [-1] * 50,
        np.linspace(-1, 1, 50),
        np.random.default_rng(0).normal(0, 0.1, 1000),
        np.random.default_rng(0).normal(0, 0.4, 1000).clip(-1, 1),
    ],
)
def test_the_steps_are_in_order(scores):
    steps = Steps.of_scores(np.array(scores, np.float32))
    assert 0 < steps.alike < steps.very_alike < steps.near_identical < 1
    lows = (1, steps.near_identical, steps.very_alike, steps.alike, -1)
    assert [steps.word(score) for score in lows] == ["near-identical", *likeness.WORDS]
    assert [steps.least(word) for word in likeness.WORDS[:3]] == list(lows[1:4])


def test_more_that_is_alike_hardly_moves_the_cut():
    random = np.random.default_rng(0)
    others, alike = random.normal(0, 0.1, 900), random.normal(0.8, 0.05, 100)
    without, with_them = Steps.of_scores(others), Steps.of_scores(np.append(others, alike))
    assert with_them.alike == pytest.approx(without.alike, abs=0.03)


def test_wider_scores_have_higher_steps():
    normal = np.random.default_rng(0).standard_normal(1000)
    narrow, wide = Steps.of_scores(0.08 * normal), Steps.of_scores(0.25 * normal)
    assert narrow.alike < wide.alike < 1 and narrow.near_identical < wide.near_identical


@pytest.fixture(params=["bytes_scanned", "bytes_in_memory", None])
def form(request, monkeypatch):
    """Each form that an index has."""
    if request.param:
        monkeypatch.setattr(indexes.LIMITS, request.param, 0)


def steps_of(path, id=1, level_weights=None, plus=()):
    with closing(sqlite3.connect(path)) as conn:
        space = space_of(conn)
        index, weights = indexes.load(conn, space), ranking.weights(space, level_weights)
        query = ranking.query_of_examples(conn, index, index.row(conn, id), plus, (), weights)
        return likeness.steps(conn, index, query)


def test_every_form_of_an_index_has_the_same_cut(tmp_path, form):
    path = grouped(tmp_path)
    scores = expected_scores(path)[1]
    expected = Steps.of_scores(np.array([score for id, score in scores.items() if id != 1]))
    assert steps_of(path).alike == pytest.approx(expected.alike, abs=1e-5)


def test_a_sample_has_nearly_the_cut_of_all_and_always_the_same(tmp_path, form, monkeypatch):
    path = grouped(tmp_path, groups=40, count=10)
    whole = steps_of(path).alike
    monkeypatch.setattr(calibration, "IMAGES_ON_THE_FLY", 100)
    sampled = steps_of(path).alike
    assert sampled == steps_of(path).alike != whole
    assert sampled == pytest.approx(whole, abs=0.1)


def test_level_weights_and_examples_have_their_own_steps(path):
    assert steps_of(path).alike != steps_of(path, level_weights={"pool5": 1}).alike
    assert steps_of(path).alike != steps_of(path, plus=[4]).alike


def test_similar_says_words_and_marks_the_weaker_ones(tmp_path, toy):
    draw_groups(tmp_path / "images", count=3)
    database = tmp_path / "photos.db"
    imgsim("embed", database, tmp_path / "images", *TOY)
    found = json.loads(imgsim("similar", database, 1, "-k", 20, "--json"))
    lines = imgsim("similar", database, 1, "-k", 20).splitlines()
    mark = lines.index("-- from here on only faintly alike --")
    del lines[mark]
    assert [hit["word"] == "faint" for hit in found] == [n >= mark for n in range(len(found))]
    assert all(hit["word"] in line for hit, line in zip(found, lines, strict=True))


def test_few_are_shown_without_words(tmp_path, toy):
    draw_groups(tmp_path / "images", count=3)
    database = tmp_path / "photos.db"
    imgsim("embed", database, tmp_path / "images", *TOY)
    change(database, "delete from images where id > 2")
    assert imgsim("similar", database, 1).split()[1] == "2"
