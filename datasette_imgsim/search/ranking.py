"""Ranks images: level weights, queries, scores, and the k best."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..db.spaces import Space
from ..errors import ImgsimError, listed
from ..limits import LIMITS
from . import interrupts
from .index import Index
from .vectors import centred

# Scores are rounded to 1 / SCALE: float32 has about 7 digits, and further ones are rounding error.
SCALE = 10**6
BYTES_AT_ONCE = 16_000_000


def weights(space: Space, level_weights: dict[str, float] | None = None) -> np.ndarray:
    """Level weights (levels,) in network order, with sum 1. A level that is not named weighs 0.

    None stands for the space's own level weights. Raises ImgsimError.
    """
    by_level = space.level_weights if level_weights is None else level_weights
    if not isinstance(by_level, dict):
        raise ImgsimError('level_weights must be an object such as {"pool5": 1, "pool3": 0.5}')
    for level, weight in by_level.items():
        if level not in space.levels:
            raise ImgsimError(
                f"The space {space.name!r} has no level {level!r}: there is {listed(space.levels)}"
            )
        if not _is_weight(weight):
            raise ImgsimError(f"The weight of {level!r} must be a number from 0 up, not {weight!r}")
    largest = max(by_level.values(), default=0)
    if not largest:
        raise ImgsimError("All level weights are 0: give at least one level a weight")
    shares = np.array([by_level.get(level, 0) / largest for level in space.levels])
    return shares / shares.sum()


def _is_weight(weight) -> bool:
    if not isinstance(weight, (int, float)) or isinstance(weight, bool):
        return False
    try:
        return math.isfinite(weight) and weight >= 0
    except OverflowError:  # an integer that is too large for a float
        return False


def parse_level_weights(text: str) -> dict[str, float]:
    """'pool5:1,pool3:.5' or 'pool5=1,pool3=.5' -> {'pool5': 1.0, 'pool3': 0.5}.

    Raises ImgsimError.
    """
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
    """The weights (levels,) repeated for each number of their level, (dimensions,) float32."""
    return np.repeat(weights.astype(np.float32), list(space.levels.values()))


@dataclass(frozen=True)
class Query:
    """What images are compared with: an image, examples, or a vector."""

    vector: np.ndarray
    """(dimensions,) float32: each level's unit vector times the level's weight."""
    weights: np.ndarray
    """(levels,), sum 1."""
    ids: tuple = ()
    """The ids of the images it is made of, which are left out of the results."""


def query_of_image(conn: sqlite3.Connection, index: Index, row: int, weights: np.ndarray) -> Query:
    """The query for images like the one in `row` of the index."""
    return query_of_examples(conn, index, row, (), (), weights)


def query_of_examples(
    conn: sqlite3.Connection,
    index: Index,
    row: int,
    plus: Collection[int],
    minus: Collection[int],
    weights: np.ndarray,
) -> Query:
    """The query for images like the one in `row`, more like rows `plus`, less like rows `minus`.

    Each level is the unit vector of: image + mean of `plus` - half the mean of `minus` (after
    Rocchio 1971, Relevance Feedback in Information Retrieval).
    """
    return _query(conn, index, index.vector(conn, row), (row,), plus, minus, weights)


def query_of_vector(
    conn: sqlite3.Connection,
    index: Index,
    vector: np.ndarray,
    weights: np.ndarray,
    plus: Collection[int] = (),
    minus: Collection[int] = (),
) -> Query:
    """The query for images like a vector (dimensions,) that is not in the index, nor centred.

    Rows of examples act as in `query_of_examples`.
    """
    unit = centred(index.space, index.centre, vector[None])[0]
    return _query(conn, index, unit, (), plus, minus, weights)


def _query(
    conn: sqlite3.Connection,
    index: Index,
    vector: np.ndarray,
    rows: tuple[int, ...],
    plus: Collection[int],
    minus: Collection[int],
    weights: np.ndarray,
) -> Query:
    """The query of a centred vector, which is that of `rows`, and of examples."""
    if plus or minus:
        vector = vector.copy()
        for examples, factor in ((plus, 1), (minus, -0.5)):
            if examples:
                vector += factor * index.vectors(conn, list(examples)).mean(axis=0)
        for part in index.space.slices.values():
            vector[part] /= max(np.linalg.norm(vector[part]), 1e-12)
    ids = tuple(index.ids[used_row] for used_row in (*rows, *plus, *minus))
    return Query(vector * per_number(index.space, weights), weights, ids)


def example_rows(name: str, ids: Collection, row_of: Callable[..., int | None]) -> list[int]:
    """The rows of example images, each once. Errors (ImgsimError) name the list, plus or minus."""
    distinct = dict.fromkeys(ids)
    if len(distinct) > LIMITS.most_examples:
        raise ImgsimError(
            f"{name} names {len(distinct):,} images: name at most {LIMITS.most_examples:,}"
        )
    rows: dict[int, None] = {}
    for id in distinct:
        row = row_of(id)
        if row is None:
            raise ImgsimError(f"{name} names the image {id!r}, which has no vector in this space")
        rows[row] = None  # '7' and 7 may be one image
    return list(rows)


def pair(query: Query, vector: np.ndarray) -> float:
    """The score, -1..1, of a query and a vector (dimensions,) of the index."""
    # The same as `rounded`, which is slow for a single number.
    return min(1.0, max(-1.0, round(float(np.dot(vector, query.vector)) * SCALE) / SCALE))


def rounded(scores: np.ndarray) -> np.ndarray:
    """Scores as float64 within -1..1, without -0.0."""
    rounded = np.rint(scores.astype(np.float64) * SCALE) / SCALE
    return np.fmin(1, np.fmax(-1, rounded)) + 0.0


def rank(
    conn: sqlite3.Connection, index: Index, query: Query, k: int
) -> list[tuple[int | str, float]]:
    """(id, score) of the k best images, best first; equal scores in order of id.

    The score, -1..1, is the mean of the levels' cosines, weighted by the level weights. It is
    always computed from the whole vectors. In a large space, a reduction chooses the images that
    are scored, and may rarely miss one of the k best.
    """
    left_out = [row for id in query.ids if (row := index.row(conn, id)) is not None]
    key = (query.vector.tobytes(), tuple(left_out), k)
    with index.lock:
        ranking = index.rankings.get(key)
    if ranking is None:
        ranking = _best(conn, index, query.vector, left_out, k)
        with index.lock, suppress(ValueError):  # it may be too large to be kept
            index.rankings[key] = ranking
    rows, scores = (part.tolist() for part in ranking)
    return [(index.ids[row], score) for row, score in zip(rows, scores)]


def _best(
    conn: sqlite3.Connection, index: Index, vector: np.ndarray, left_out: list[int], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, scores) of the k best images, without the rows that are left out."""
    rows = index.candidates(vector, k + len(set(left_out)))
    rows = rows[~np.isin(rows, left_out)]
    scores = rounded(_scores(conn, index, vector, rows))
    best = np.lexsort((rows, -scores))[:k]
    interrupts.check(conn)
    return rows[best], scores[best]


def _scores(
    conn: sqlite3.Connection, index: Index, vector: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The scores of rows, (rows,) float32; equal vectors have equal scores."""
    scores = np.empty(len(rows), np.float32)
    step = max(1, BYTES_AT_ONCE // (4 * index.space.dimensions))
    for start in range(0, len(rows), step):
        batch = slice(start, start + step)
        scores[batch] = np.vecdot(index.vectors(conn, rows[batch]), vector)
        interrupts.check(conn)
    return scores
