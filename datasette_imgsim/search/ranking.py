"""Scores: level weights, query vectors, and the best k."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection

import numpy as np

from ..errors import ImgsimError
from ..store import Space, listed
from .index import Index, at_most, centred

# float32 holds 7 digits: what follows is rounding.
SCALE = 10**6
ROUGH = 1e-5
# Of a reduction, so many of the best are scored with their whole vectors.
RESCORED, BYTES_RESCORED, ALLOWANCE = 800, 4_000_000, 2
FEW = 250
"""Up to so many results the reduction chooses; for more, all vectors in memory are looked at."""
BYTES_AT_ONCE = 16_000_000


def weights(space: Space, level_weights: dict[str, float] | None = None) -> np.ndarray:
    """(levels,) in network order, sum 1. A level that is not named weighs 0.

    None stands for the space's own weights. Raises ImgsimError.
    """
    given = space.level_weights if level_weights is None else level_weights
    if not isinstance(given, dict):
        raise ImgsimError('level_weights must be an object such as {"pool5": 1, "pool3": 0.5}')
    for level, weight in given.items():
        if level not in space.levels:
            raise ImgsimError(
                f"The space {space.name!r} has no level {level!r}: there is {listed(space.levels)}"
            )
        if not _is_weight(weight):
            raise ImgsimError(f"The weight of {level!r} must be a number from 0 up, not {weight!r}")
    largest = max(given.values(), default=0)
    if not largest:
        raise ImgsimError("All level weights are 0: give at least one level a weight")
    found = np.array([given.get(level, 0) / largest for level in space.levels])
    return found / found.sum()


def _is_weight(weight) -> bool:
    if not isinstance(weight, (int, float)) or isinstance(weight, bool):
        return False
    try:
        return math.isfinite(weight) and weight >= 0
    except OverflowError:  # a whole number beyond all floats
        return False


def parse_level_weights(text: str) -> dict[str, float]:
    """'pool5:1,pool3:.5' or 'pool5=1,pool3=.5' -> {'pool5': 1.0, 'pool3': 0.5}."""
    found = {}
    for part in text.split(","):
        level, sign, weight = part.replace("=", ":").partition(":")
        try:
            found[level.strip()] = float(weight)
        except ValueError:
            raise ImgsimError(
                f"Level weights are written pool5:1,pool3:.5 and {part.strip()!r} is not"
            ) from None
    return found


def per_number(space: Space, weights: np.ndarray) -> np.ndarray:
    """(dimensions,) float32: each level's weight at its numbers."""
    return np.repeat(weights.astype(np.float32), list(space.levels.values()))


def of_image(conn: sqlite3.Connection, index: Index, row: int, weights: np.ndarray) -> np.ndarray:
    """The query vector (dimensions,) that ranks by likeness to an image of the index."""
    return index.vector(conn, row) * per_number(index.space, weights)


def of_examples(
    conn: sqlite3.Connection,
    index: Index,
    row: int,
    plus: Collection[int],
    minus: Collection[int],
    weights: np.ndarray,
) -> np.ndarray:
    """The query vector (dimensions,) of an image, drawn to some rows and away from others.

    Per level, the unit vector of: image + mean of `plus` - half the mean of `minus` (after Rocchio
    1971, Relevance Feedback in Information Retrieval).
    """
    if not plus and not minus:
        return of_image(conn, index, row, weights)
    moved = index.vector(conn, row).copy()
    for rows, share in ((plus, 1), (minus, -0.5)):
        if rows:
            moved += share * index.vectors(conn, list(rows)).mean(axis=0)
    for part in index.space.slices.values():
        moved[part] /= max(np.linalg.norm(moved[part]), 1e-12)
    return moved * per_number(index.space, weights)


def example_rows(index: Index, name: str, ids: Collection) -> list[int]:
    """The rows of the images that `plus` or `minus` names. Raises ImgsimError."""
    found = []
    for id in ids:
        row = index.row(id)
        if row is None:
            raise ImgsimError(f"{name} names the image {id!r}, which has no vector in this space")
        found.append(row)
    return found


def of_vector(index: Index, vector: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The query vector (dimensions,) of a raw vector that is not in the index."""
    moved = centred(index.space, index.centre, vector[None])[0]
    return moved * per_number(index.space, weights)


def pair(query: np.ndarray, vector: np.ndarray) -> float:
    """The score of one pair, -1..1: a query vector and a vector of the index."""
    return _rounded(np.dot(vector, query))


def _rounded(value: float) -> float:
    return min(1.0, max(-1.0, round(float(value) * SCALE) / SCALE))


def rank(
    conn: sqlite3.Connection, index: Index, query: np.ndarray, k: int, exclude: Collection = ()
) -> list[tuple[int | str, float]]:
    """The k best (id, score), best first; equal scores in order of id. `exclude` holds ids.

    The score is the weighted mean over levels of the cosines, -1..1. It is always that of the
    whole vectors. So are the k best where all vectors are looked at; in a larger space the
    reduction chooses which, and now and then misses one of them.
    """
    left_out = {index.row(id) for id in exclude}
    rows = _promising(index, query, k + len(left_out))
    scored = zip(_scores(conn, index, query, rows).tolist(), rows.tolist())
    best = sorted((-_rounded(score), row) for score, row in scored if row not in left_out)
    return [(index.ids[row], 0.0 - score) for score, row in best[:k]]


def _promising(index: Index, query: np.ndarray, keep: int) -> np.ndarray:
    """Rows (m,) among which the `keep` best are."""
    matrix, wanted = index.matrix, keep
    if index.reduced is not None and (matrix is None or keep <= FEW):
        matrix, query = index.reduced, index.reduction.of(query)
        wanted = keep * ALLOWANCE + at_most(RESCORED, BYTES_RESCORED, index.space.dimensions)
    if wanted >= len(index):
        return np.arange(len(index))
    # A product of matrices is fast, but need not be alike for equal rows. So it only chooses,
    # with room for its rounding, and all that tie with the last one stay in.
    used = np.flatnonzero(query)  # levels that weigh nothing lie before or behind these
    part = slice(used[0], used[-1] + 1) if len(used) else slice(0)
    rough = matrix[:, part] @ query[part]
    least = np.partition(rough, -wanted)[-wanted]
    rows = np.flatnonzero(rough >= least - ROUGH)
    if matrix is index.reduced:
        # Copies of one picture may be many; of those that tie the first ones are enough.
        tied = rough[rows] <= least + ROUGH
        rows = rows[~tied | (np.cumsum(tied) <= wanted)]
    return rows


def _scores(
    conn: sqlite3.Connection, index: Index, query: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """(rows,) float32, alike for equal vectors."""
    found = np.empty(len(rows), np.float32)
    step = max(1, BYTES_AT_ONCE // (4 * index.space.dimensions))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        found[some] = np.vecdot(index.vectors(conn, rows[some]), query)
    return found
