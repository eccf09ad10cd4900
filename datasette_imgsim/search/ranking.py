"""Scores: level weights, queries, and the best k."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ..db.spaces import Space
from ..errors import ImgsimError, listed
from .index import Index
from .vectors import centred

# float32 holds 7 digits: what follows is rounding.
SCALE = 10**6
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
    shares = np.array([given.get(level, 0) / largest for level in space.levels])
    return shares / shares.sum()


def _is_weight(weight) -> bool:
    if not isinstance(weight, (int, float)) or isinstance(weight, bool):
        return False
    try:
        return math.isfinite(weight) and weight >= 0
    except OverflowError:  # a whole number beyond all floats
        return False


def parse_level_weights(text: str) -> dict[str, float]:
    """'pool5:1,pool3:.5' or 'pool5=1,pool3=.5' -> {'pool5': 1.0, 'pool3': 0.5}."""
    weights = {}
    for part in text.split(","):
        level, sign, weight = part.replace("=", ":").partition(":")
        try:
            weights[level.strip()] = float(weight)
        except ValueError:
            raise ImgsimError(
                f"Level weights are written pool5:1,pool3:.5 and {part.strip()!r} is not"
            ) from None
    return weights


def per_number(space: Space, weights: np.ndarray) -> np.ndarray:
    """(dimensions,) float32: each level's weight at its numbers."""
    return np.repeat(weights.astype(np.float32), list(space.levels.values()))


@dataclass(frozen=True)
class Query:
    """What images are ranked by."""

    vector: np.ndarray
    """(dimensions,) float32: each level's unit vector times the level's weight."""
    weights: np.ndarray
    """(levels,), sum 1."""
    ids: tuple = ()
    """The images it is made of: they are left out of its results."""


def query_of_image(conn: sqlite3.Connection, index: Index, row: int, weights: np.ndarray) -> Query:
    """Ranks by likeness to an image of the index."""
    return query_of_examples(conn, index, row, (), (), weights)


def query_of_examples(
    conn: sqlite3.Connection,
    index: Index,
    row: int,
    plus: Collection[int],
    minus: Collection[int],
    weights: np.ndarray,
) -> Query:
    """Ranks by likeness to an image, drawn to the images of some rows and away from others.

    Per level, the unit vector of: image + mean of `plus` - half the mean of `minus` (after Rocchio
    1971, Relevance Feedback in Information Retrieval).
    """
    vector = index.vector(conn, row)
    if plus or minus:
        vector = vector.copy()
        for rows, share in ((plus, 1), (minus, -0.5)):
            if rows:
                vector += share * index.vectors(conn, list(rows)).mean(axis=0)
        for part in index.space.slices.values():
            vector[part] /= max(np.linalg.norm(vector[part]), 1e-12)
    ids = tuple(index.ids[each] for each in (row, *plus, *minus))
    return Query(vector * per_number(index.space, weights), weights, ids)


def example_rows(name: str, ids: Collection, row_of: Callable[..., int | None]) -> list[int]:
    """The rows of the images that `plus` or `minus` (`name`) lists. Raises ImgsimError."""
    rows = []
    for id in ids:
        row = row_of(id)
        if row is None:
            raise ImgsimError(f"{name} names the image {id!r}, which has no vector in this space")
        rows.append(row)
    return rows


def query_of_vector(index: Index, vector: np.ndarray, weights: np.ndarray) -> Query:
    """Ranks by likeness to a raw vector (dimensions,) that is not in the index."""
    moved = centred(index.space, index.centre, vector[None])[0]
    return Query(moved * per_number(index.space, weights), weights)


def pair(query: Query, vector: np.ndarray) -> float:
    """The score of one pair, -1..1: a query and a vector (dimensions,) of the index."""
    return _rounded(np.dot(vector, query.vector))


def _rounded(value: float) -> float:
    return min(1.0, max(-1.0, round(float(value) * SCALE) / SCALE))


def rank(
    conn: sqlite3.Connection, index: Index, query: Query, k: int
) -> list[tuple[int | str, float]]:
    """The k best (id, score), best first; equal scores in order of id.

    The score is the weighted mean over levels of the cosines, -1..1. It is always that of the
    whole vectors. So are the k best where all vectors are looked at; in a larger space the
    reduction chooses which, and now and then misses one of them.
    """
    left_out = {index.row(id) for id in query.ids}
    rows = index.candidates(query.vector, k + len(left_out))
    scored = zip(_scores(conn, index, query.vector, rows).tolist(), rows.tolist())
    best = sorted((-_rounded(score), row) for score, row in scored if row not in left_out)
    return [(index.ids[row], 0.0 - score) for score, row in best[:k]]


def _scores(
    conn: sqlite3.Connection, index: Index, vector: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """(rows,) float32, alike for equal vectors."""
    scores = np.empty(len(rows), np.float32)
    step = max(1, BYTES_AT_ONCE // (4 * index.space.dimensions))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        scores[some] = np.vecdot(index.vectors(conn, rows[some]), vector)
    return scores
