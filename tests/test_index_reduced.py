"""Spaces too large for the memory: a reduction is there, and vectors are read as needed."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.databases import add_images, answer, change, make_space, random_vectors, space_of

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking
from datasette_imgsim.search.vectors import sample


@pytest.fixture
def path(tmp_path):
    """photos.db with one space of 20 images."""
    return make_space(tmp_path / "photos.db", random_vectors(20))


@pytest.fixture
def reduced_only(monkeypatch):
    """Nothing fits into memory but a reduction."""
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)


def best_of(conn, vectors, id, k=20):
    """The first k of all that are similar to an image, itself among them."""
    query = ranking.query_of_image(
        conn, vectors, vectors.row(conn, id), ranking.weights(vectors.space)
    )
    return ranking.rank(conn, vectors, replace(query, ids=()), k)


def test_what_is_in_memory_depends_on_how_much_it_would_be(path, conn, monkeypatch):
    for in_memory, looked_at, whole, reduced in (
        (800, 800, True, False),
        (800, 799, True, True),
        (799, 800, False, True),
    ):
        monkeypatch.setattr(LIMITS, "bytes_in_memory", in_memory)
        monkeypatch.setattr(LIMITS, "bytes_scanned", looked_at)
        vectors = indexes.load(conn, space_of(conn))
        assert (hasattr(vectors, "matrix"), hasattr(vectors, "reduced")) == (whole, reduced)


def test_vectors_that_are_not_in_memory_are_read(path, conn, monkeypatch, reduced_only):
    large = indexes.load(conn, space_of(conn))
    monkeypatch.undo()
    whole = indexes.load(conn, space_of(conn))
    np.testing.assert_array_equal(large.vectors(conn, range(20)), whole.matrix)
    np.testing.assert_array_equal(large.vectors(conn, [7, 3, 7]), whole.matrix[[7, 3, 7]])
    np.testing.assert_array_equal(large.vector(conn, 4), whole.vector(conn, 4))


@pytest.mark.parametrize(
    "change_made",
    (
        "update imgsim_vectors set vector = "
        "(select vector from imgsim_vectors where image_key = 9)",
        "update imgsim_vectors set vector = zeroblob(40)",
        "update imgsim_vectors set vector = x'00'",
        "delete from imgsim_vectors",
        "delete from imgsim_spaces",
    ),
)
def test_what_was_written_since_is_not_mixed_in(path, conn, reduced_only, change_made):
    vectors = indexes.load(conn, space_of(conn))
    before, single = best_of(conn, vectors, 2), vectors.vector(conn, 2)
    where = "" if "spaces" in change_made else " where image_key in (2, 5, 7)"
    change(path, change_made + where)
    # So few numbers a level are not reduced at all: what is put in is what was there.
    after = best_of(conn, vectors, 2)
    assert [id for id, _ in after] == [id for id, _ in before]
    assert [score for _, score in after] == pytest.approx([score for _, score in before], abs=1e-5)
    np.testing.assert_allclose(vectors.vector(conn, 2), single, atol=1e-6)


def test_a_new_centre_is_not_mixed_in(path, conn, reduced_only):
    vectors = indexes.load(conn, space_of(conn))
    before = best_of(conn, vectors, 2)
    add_images(path, random_vectors(30, seed=3), range(100, 130))
    change(path, "update imgsim_spaces set centre = zeroblob(40)")
    assert best_of(conn, vectors, 2) == before


def test_a_large_space_with_nothing_usable(path, conn, reduced_only):
    change(path, "update imgsim_vectors set vector = x'00'")
    vectors = indexes.load(conn, space_of(conn))
    assert len(vectors) == 0 and len(vectors.damaged) == 20
    assert vectors.vectors(conn, []).shape == (0, 10)


@pytest.mark.parametrize(
    "sql",
    (
        "select similar_to(3, 7)",
        """select similar_to(3, 7, '{"plus": [4, 9], "minus": [1]}')""",
        """select similar_to(3, 7, '{"level_weights": {"pool5": 1}}')""",
        "select imgsim_score(3, 4)",
        """select imgsim_vector(3, '{"ranked": true}')""",
        "select imgsim_percentile(0.2)",
        "select imgsim_status()",
    ),
)
def test_a_large_space_answers_as_a_small_one(path, monkeypatch, sql):
    expected = answer(path, sql)
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)
    assert answer(path, sql) == expected


def test_a_sample_is_spread_evenly(path, conn):
    space = space_of(conn)
    everything = sample(conn, space, None, 20, 10**9)
    assert everything.shape == (20, 10)
    np.testing.assert_array_equal(sample(conn, space, None, 6, 10**9), everything[3::4])
    assert sample(conn, space, None, 20, 4 * 10 * 5).shape == (5, 10)
