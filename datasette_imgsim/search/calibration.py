"""What a score is worth: how many random pairs of images of the same space score less."""

from __future__ import annotations

import json
import math
import sqlite3
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import store
from ..store import Space, Writer
from . import index, ranking
from .index import Index

PAIRS = 200_000
PAIRS_ON_THE_FLY = 20_000
IMAGES, BYTES = 20_000, 200_000_000
"""Pairs are drawn among so many images at most, whose vectors fit into so many bytes."""
BYTES_AT_ONCE = 16_000_000
SMALLEST_SPACE = 3
# Percentiles that are stored: whole ones, and finer ones where what is like each other lies.
PERCENTILES = np.unique(
    np.concatenate([np.arange(101), *(100 - np.arange(1, 100) * 10.0**-n for n in (2, 3, 4))])
)


@dataclass(frozen=True)
class Calibration:
    """The scores that random pairs reach: `scores` (m,) ascending, at `percentiles` (m,) 0..100."""

    scores: np.ndarray
    percentiles: np.ndarray

    @classmethod
    def of_scores(cls, scores: np.ndarray) -> Calibration:
        """From the scores of random pairs (pairs,)."""
        return cls(np.quantile(scores, PERCENTILES / 100), PERCENTILES)

    def percentile(self, score: float) -> float:
        """0..100: the share of random pairs that score less."""
        if score > self.scores[-1]:
            return 100.0
        # Where many pairs have this very score, those before them count.
        first = np.searchsorted(self.scores, score)
        if self.scores[first] == score:
            return round(float(self.percentiles[first]), 4)
        return round(float(np.interp(score, self.scores, self.percentiles)), 4)

    @property
    def chance(self) -> float:
        """The highest score that images which have nothing in common reach now and then.

        Of random pairs, a few are truly alike, and which ones is not known. But the lower half
        holds none of these: so far as its lowest percent lies below the median, as far above it
        chance reaches.
        """
        median, lowest = np.interp([50, 1], self.percentiles, self.scores)
        return min(1.0, float(2 * median - lowest))


def in_words(percentile: float) -> str:
    """'closer than 99.98 % of random pairs'; never rounded up."""
    if percentile >= 100:
        return "closer than all random pairs"
    return f"closer than {shortened(percentile)} % of random pairs"


def shortened(percentile: float) -> str:
    """As few digits as tell it from 100: 42, 99.2, 99.98."""
    digits = 0 if percentile < 99 else 1 if percentile < 99.9 else 2
    return f"{math.floor(percentile * 10**digits) / 10**digits:.{digits}f}"


def of(conn: sqlite3.Connection, vectors: Index, weights: np.ndarray) -> Calibration | None:
    """The calibration of a space for these level weights; None while it has too few images.

    The stored one, where it is of these weights; else from pairs of the loaded vectors.
    """
    stored = store.calibration(conn, vectors.space)
    if stored and np.allclose(stored["weights"], weights):
        return Calibration(np.array(stored["scores"]), np.array(stored["percentiles"]))
    if len(vectors) < SMALLEST_SPACE:
        return None
    if vectors not in _sampled:
        _sampled[vectors] = cosines(vectors.space, vectors.matrix, PAIRS_ON_THE_FLY)
    return Calibration.of_scores(_sampled[vectors] @ weights)


_sampled: weakref.WeakKeyDictionary[Index, np.ndarray] = weakref.WeakKeyDictionary()


def pairs(count: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of places below `count`, each pair different: all, or `wanted` random ones."""
    if count * (count - 1) // 2 <= wanted:
        return np.triu_indices(count, 1)
    random = np.random.default_rng(0)
    a = random.integers(0, count, wanted)
    return a, (a + random.integers(1, count, wanted)) % count


def cosines(space: Space, matrix: np.ndarray, wanted: int) -> np.ndarray:
    """(pairs, levels) float32: the cosine of each level for pairs of rows of a centred matrix."""
    left, right = pairs(len(matrix), wanted)
    found = np.empty((len(left), len(space.levels)), np.float32)
    step = max(1, BYTES_AT_ONCE // (8 * space.dimensions))
    for start in range(0, len(left), step):
        some = slice(start, start + step)
        a, b = matrix[left[some]], matrix[right[some]]
        for number, part in enumerate(space.slices.values()):
            found[some, number] = np.vecdot(a[:, part], b[:, part])
    return found


def renew(conn: Writer, space: Space) -> None:
    """Stores the calibration of a space for its own level weights, where vectors have changed."""
    stored = store.calibration(conn, space)
    if stored and stored["generation"] == space.generation:
        return
    matrix = _some_vectors(conn, space)
    if len(matrix) < SMALLEST_SPACE:
        return
    weights = ranking.weights(space)
    scores = cosines(space, matrix, PAIRS) @ weights
    found = Calibration.of_scores(scores)
    calibration = {
        "generation": space.generation,
        "pairs": len(scores),
        "weights": weights.tolist(),
        "percentiles": found.percentiles.round(4).tolist(),
        "scores": found.scores.round(6).tolist(),
    }
    with conn.transaction():
        store.save_calibration(conn, space, json.dumps(calibration))


def _some_vectors(conn: sqlite3.Connection, space: Space) -> np.ndarray:
    """Vectors of images drawn at random, centred (m, dimensions)."""
    ids = store.image_ids(conn, space)
    most = max(SMALLEST_SPACE, min(IMAGES, BYTES // (4 * space.dimensions)))
    if len(ids) > most:
        chosen = np.random.default_rng(0).choice(len(ids), most, replace=False)
        ids = [ids[place] for place in np.sort(chosen)]
    vectors, _ = index.decoded(space, list(_blobs(conn, space, ids)))
    return index.centred(space, store.centre(conn, space), vectors)


def _blobs(conn: sqlite3.Connection, space: Space, ids: list) -> Iterator[bytes | None]:
    # One at a time, since a long read would keep other writers waiting.
    for id in ids:
        row = conn.execute(
            f"select {index.VECTOR} from imgsim_vectors v where space_id = ? and image_id = ?",
            [space.id, id],
        ).fetchone()
        yield row and row[0]
