"""Where images lie on the map: groups, few and equal images, growth, and that it stays the same."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from datasette_imgsim.atlas import layout
from datasette_imgsim.limits import LIMITS

GROUPS, EACH = 6, 40


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random(count, dimensions=20, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, dimensions)))


def grouped(spread=0.5, seed=0):
    """Ranked vectors of a few groups, and which group each is of."""
    groups = np.repeat(np.arange(GROUPS), EACH)
    noise = spread * np.random.default_rng(seed).standard_normal((len(groups), 20))
    return unit(3 * random(GROUPS, seed=9)[groups] + noise), groups


def distances(a, b):
    return np.linalg.norm(a[:, None] - b, axis=2)


def share_of_own_group(laid, groups, k=5):
    """The share of nearest others on the map that are of one's own group."""
    apart = distances(laid, laid) + np.diag(np.full(len(laid), np.inf))
    return (groups[np.argsort(apart, axis=1)[:, :k]] == groups[:, None]).mean()


def inside(laid):
    return np.isfinite(laid).all() and laid.min() >= 0 and laid.max() < layout.SIDE


def fills(laid):
    """Whether the longer side of what is laid out reaches from margin to margin, in the middle."""
    low, high = laid.min(axis=0), laid.max(axis=0)
    return np.isclose((high - low).max(), layout.SIDE - 2 * layout.MARGIN) and np.allclose(
        low + high, layout.SIDE
    )


def test_groups_come_out_as_groups():
    vectors, groups = grouped()
    laid = layout.lay_out(vectors)
    assert share_of_own_group(laid, groups) > 0.98
    assert inside(laid) and fills(laid)
    assert trustworthiness(vectors, laid) > 0.9


def test_the_same_vectors_give_the_same_map():
    vectors, _ = grouped()
    assert (layout.lay_out(vectors) == layout.lay_out(vectors.copy())).all()


@pytest.mark.parametrize("count", [4, 5, 6, 7, 10, 30, 100])
@pytest.mark.parametrize("dimensions", [2, 70])
def test_few_images_fill_the_square(count, dimensions):
    laid = layout.lay_out(random(count, dimensions))
    assert inside(laid) and fills(laid)
    assert len(np.unique(laid, axis=0)) == count


@pytest.mark.parametrize(
    "count, expected",
    [
        (1, [(128, 128)]),
        (2, [(80, 128), (176, 128)]),
        (3, [(80, 156), (176, 156), (128, 73)]),
    ],
)
@pytest.mark.parametrize("copies", [1, 3, 10_000])
def test_up_to_three_kinds_of_images_have_fixed_places(count, expected, copies):
    laid = layout.lay_out(np.tile(random(count), (copies, 1)))
    assert laid.tolist() == [list(place) for place in expected] * copies


def test_equal_vectors_share_a_place_and_count_once():
    vectors, _ = grouped()
    once = layout.lay_out(vectors)
    crowd = layout.lay_out(np.vstack([vectors, np.repeat(vectors[:1], 500, axis=0)]))
    assert (crowd[: len(vectors)] == once).all()
    assert (crowd[len(vectors) :] == once[0]).all()


@pytest.mark.parametrize(
    "vectors",
    [
        np.repeat(random(1), 50, axis=0) + 1e-6 * random(50, seed=1),
        np.linspace(0, 1, 50, dtype=np.float32)[:, None] * random(1),
        np.vstack([random(10), np.zeros((1, 20), np.float32)]),
        np.eye(40, 400, dtype=np.float32),
    ],
    ids=["nearly equal", "on a line", "one without direction", "all equally far"],
)
def test_odd_vectors_are_laid_out_all_the_same(vectors):
    laid = layout.lay_out(vectors)
    assert inside(laid) and fills(laid)


def test_a_copy_is_placed_on_its_original():
    vectors, _ = grouped()
    laid = layout.lay_out(vectors)
    assert np.allclose(layout.place(vectors[:50], vectors, laid), laid[:50])


def test_a_new_image_is_placed_within_its_group():
    vectors, groups = grouped()
    new, _ = grouped(seed=1)
    laid = layout.lay_out(vectors)
    placed = layout.place(new, vectors, laid)
    nearest = np.argsort(distances(placed, laid), axis=1)[:, :5]
    assert (groups[nearest] == groups[:, None]).mean() > 0.98
    assert inside(placed)


def test_an_image_between_two_groups_is_placed_with_one_of_them():
    apart = np.array([[20.0, 20], [200, 200]])
    positions = np.repeat(apart, [6, 4], axis=0)
    vectors = np.tile(random(1), (10, 1))
    (placed,) = layout.place(0.5 * vectors[:1], vectors, positions)
    assert np.linalg.norm(placed - apart[0]) < 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_placing_on_a_map_of_few(count):
    laid = layout.lay_out(random(count))
    placed = layout.place(random(20, seed=1), random(count), laid)
    assert inside(placed)


def test_laying_out_again_keeps_the_shape():
    vectors, groups = grouped()
    before = layout.lay_out(vectors)
    mirrored = layout.SIDE - before[:, ::-1]
    for old in (before, mirrored):
        again = layout.lay_out(vectors, old)
        moved = np.linalg.norm(again - old, axis=1)
        assert np.median(moved) < 20
        assert share_of_own_group(again, groups) > 0.98


def test_laying_out_again_takes_in_what_has_no_place_yet():
    vectors, groups = grouped()
    old = np.full((len(vectors), 2), np.nan)
    old[::2] = layout.lay_out(vectors[::2])
    again = layout.lay_out(vectors, old)
    assert np.median(np.linalg.norm(again - old, axis=1)[::2]) < 30
    assert share_of_own_group(again, groups) > 0.98


@pytest.mark.parametrize("places", [[(128, 128)], [(80, 128), (176, 128)]])
def test_laying_out_again_after_a_map_of_few(places):
    vectors, groups = grouped()
    old = np.full((len(vectors), 2), np.nan)
    old[: len(places)] = places
    again = layout.lay_out(vectors, old)
    assert share_of_own_group(again, groups) > 0.98 and fills(again)


def test_far_outliers_do_not_squeeze_the_rest():
    crowd = np.random.default_rng(0).uniform(0, 1, (1000, 2))
    laid = layout.in_square(np.vstack([crowd, [[100, 100], [-50, -50]]]))
    assert inside(laid) and fills(laid)
    assert (np.ptp(laid[:1000], axis=0) > 0.4 * (layout.SIDE - 2 * layout.MARGIN)).all()


def test_the_square_keeps_order_along_each_axis():
    points = np.random.default_rng(0).standard_normal((200, 2)) ** 3
    laid = layout.in_square(points)
    for axis in (0, 1):
        assert (np.argsort(points[:, axis]) == np.argsort(laid[:, axis])).all()


@pytest.fixture
def few_laid_out(monkeypatch):
    """Of more than 150 images, t-SNE lays out 120."""
    monkeypatch.setattr(LIMITS, "most_laid_out", 150)
    monkeypatch.setattr(LIMITS, "laid_out_of_many", 120)


def no_map(vectors):
    return np.full((len(vectors), 2), np.nan)


def test_of_many_images_a_sample_is_laid_out_and_the_others_among_it(few_laid_out):
    vectors, groups = grouped()
    laid, is_fitted = layout.lay_out_many(vectors, no_map(vectors))
    assert is_fitted.sum() == 120 and inside(laid)
    assert share_of_own_group(laid, groups) > 0.95
    assert fills(laid[is_fitted])
    again, is_fitted_again = layout.lay_out_many(vectors.copy(), no_map(vectors))
    assert (again == laid).all() and (is_fitted_again == is_fitted).all()


def test_copies_of_many_images_share_places_and_count_once(few_laid_out):
    vectors, _ = grouped()
    laid, is_fitted = layout.lay_out_many(
        np.repeat(vectors, 3, axis=0), no_map(vectors).repeat(3, 0)
    )
    assert is_fitted.sum() == 3 * 120
    for values in (laid, is_fitted):
        parts = values.reshape(len(vectors), 3, -1)
        assert (parts == parts[:, :1]).all()
    few = np.repeat(vectors[:100], 10, axis=0)
    assert layout.lay_out_many(few, no_map(few))[1].all()


@pytest.mark.parametrize("compared_with_all", [10_000, 50])
def test_laying_out_many_again_keeps_the_shape(few_laid_out, monkeypatch, compared_with_all):
    monkeypatch.setattr(LIMITS, "compared_with_all", compared_with_all)
    monkeypatch.setattr(layout, "VECTORS_A_GROUP", 20)
    vectors, groups = grouped()
    before, _ = layout.lay_out_many(vectors, no_map(vectors))
    again, _ = layout.lay_out_many(vectors, before)
    assert np.median(np.linalg.norm(again - before, axis=1)) < 25
    assert share_of_own_group(again, groups) > 0.95


@pytest.mark.parametrize("copies", [1, 40])
def test_among_many_an_image_is_compared_with_those_near_to_it(monkeypatch, copies):
    vectors = np.repeat(random(1200, 8), copies, axis=0)
    positions = np.repeat(np.random.default_rng(1).random((1200, 2)) * 200, copies, axis=0)
    new = random(300, 8, seed=2)
    exact = layout.place(new, vectors, positions)
    monkeypatch.setattr(LIMITS, "compared_with_all", 100)
    monkeypatch.setattr(layout, "VECTORS_A_GROUP", 20)
    near = layout.place(new, vectors, positions)
    assert np.isfinite(near).all()
    assert (np.linalg.norm(near - exact, axis=1) < 5).mean() > 0.8


def test_vectors_without_direction_are_placed_among_many_all_the_same(monkeypatch):
    monkeypatch.setattr(LIMITS, "compared_with_all", 10)
    monkeypatch.setattr(layout, "VECTORS_A_GROUP", 2)
    vectors = np.vstack([random(60), np.zeros((60, 20), np.float32)])
    positions = np.random.default_rng(1).random((120, 2)) * 200
    assert inside(layout.place(vectors, vectors, positions))
