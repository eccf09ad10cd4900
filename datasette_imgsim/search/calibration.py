"""Percentiles of scores: the share of random pairs of a space's images that score less."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from dataclasses import dataclass

import numpy as np

from ..db.connect import Writer
from ..db.spaces import SMALLEST_CENTRED_SPACE, Space, read_calibration, save_calibration
from ..limits import LIMITS
from . import ranking
from .index import Index, Sample
from .vectors import Damaged, at_most, sample, sound_centre

BYTES_OF_PAIRS = 1_000_000_000
BYTES_OF_IMAGES = 200_000_000
PAIRS_ON_THE_FLY, IMAGES_ON_THE_FLY, BYTES_ON_THE_FLY = 20_000, 2_000, 100_000_000
"""The most pairs scored without a stored calibration, and the most images of a sample; fewer if
their vectors have more bytes."""
BYTES_AT_ONCE = 16_000_000
WEIGHTS_REMEMBERED = 100
"""How many calibrations are kept, one for each setting of level weights: a slider has many."""
# The stored percentiles: whole numbers, and finer ones near 100, where similar images are.
PERCENTILES = np.unique(
    np.concatenate([np.arange(101), *(100 - np.arange(1, 100) * 10.0**-n for n in (2, 3, 4))])
)
PARTS_A_PERCENT = 10**4
"""Percentiles are rounded down to parts of this size."""


@dataclass(frozen=True)
class Calibration:
    """The scores of random pairs at some percentiles, between which it interpolates."""

    scores: np.ndarray
    """(m,) ascending, -1..1."""
    percentiles: np.ndarray
    """(m,) ascending, 0..100."""

    @classmethod
    def of_scores(cls, scores: np.ndarray) -> Calibration:
        """The calibration from the scores of random pairs (pairs,)."""
        count = len(scores)
        places = np.unique((PERCENTILES / 100 * (count - 1)).astype(int))
        return cls(np.sort(scores)[places], 100 * places / count)

    @classmethod
    def stored(cls, text: str | None, generation: int, weights: np.ndarray) -> Calibration | None:
        """The calibration that `renew` stored as JSON text.

        None if it is missing, damaged, or of another generation or other level weights (levels,).
        """
        try:
            parsed = json.loads(text or "")
            scores, percentiles, stored_weights = (
                np.array(parsed[name], float) for name in ("scores", "percentiles", "weights")
            )
            is_sound = (
                scores.shape == percentiles.shape == (len(scores),)
                and len(scores) > 0
                and np.isfinite(scores).all()
                and np.isfinite(percentiles).all()
            )
            is_same = parsed["generation"] == generation and stored_weights.shape == weights.shape
            if is_sound and is_same and np.allclose(stored_weights, weights):
                return cls(scores, percentiles)
            return None
        except (ValueError, TypeError, KeyError):
            return None

    def percentile(self, score: float) -> float:
        """The percentile of a score, 0..100: the share of random pairs that score less."""
        return float(self.percentiles_of(np.array([score]))[0])

    def percentiles_of(self, scores: np.ndarray) -> np.ndarray:
        """The percentiles of scores (n,), rounded down."""
        between = np.interp(scores, self.scores, self.percentiles)
        # If many pairs have the same score, only the pairs before them score less.
        first = np.searchsorted(self.scores, scores).clip(max=len(self.scores) - 1)
        exact = np.where(self.scores[first] == scores, self.percentiles[first], between)
        exact = np.where(scores > self.scores[-1], 100, exact)
        return np.floor(exact * PARTS_A_PERCENT) / PARTS_A_PERCENT

    def score(self, percentile: float) -> float:
        """The score with about this percentile."""
        return float(np.interp(percentile, self.percentiles, self.scores))


def in_words(percentile: float) -> str:
    """A percentile in words, such as 'closer than 99.98 % of random pairs'; never rounded up."""
    if percentile >= 100:
        return "closer than all random pairs"
    return f"closer than {shortened(percentile)} % of random pairs"


def shortened(percentile: float) -> str:
    """A percentile with just enough digits to differ from 100, such as 42, 99.2 or 99.98."""
    digits = 0 if percentile < 99 else 1 if percentile < 99.9 else 2
    return f"{math.floor(percentile * 10**digits) / 10**digits:.{digits}f}"


def get_calibration(
    conn: sqlite3.Connection, vectors: Index, weights: np.ndarray
) -> Calibration | None:
    """The calibration of an index for level weights (levels,); None if it has too few images.

    It is the stored one if that fits the vectors and weights, else one from pairs of the vectors.
    """
    if len(vectors) < SMALLEST_CENTRED_SPACE:
        return None
    text = read_calibration(conn, vectors.space)
    key = (text, weights.tobytes())
    calibration = vectors.calibrations.get(key)
    if calibration is None:
        stored = Calibration.stored(text, vectors.space.generation, weights)
        calibration = stored or Calibration.of_scores(_sampled_cosines(conn, vectors) @ weights)
        with _sampling:
            if len(vectors.calibrations) >= WEIGHTS_REMEMBERED:
                vectors.calibrations.clear()
            vectors.calibrations[key] = calibration
    return calibration


_sampling = threading.Lock()


def sampled(conn: sqlite3.Connection, index: Index) -> Sample:
    """Up to IMAGES_ON_THE_FLY images of an index, the same ones each time, read once."""
    with _sampling:
        return _sampled(conn, index)


def _sampled(conn: sqlite3.Connection, index: Index) -> Sample:
    if index.sample is None:
        count = at_most(IMAGES_ON_THE_FLY, BYTES_ON_THE_FLY, index.space.dimensions)
        rows = index.some_rows(conn, count)
        index.sample = Sample(rows, index.vectors(conn, rows))
    return index.sample


def _sampled_cosines(conn: sqlite3.Connection, index: Index) -> np.ndarray:
    """The cosines of random pairs of an index, (pairs, levels), computed once."""
    with _sampling:
        if index.sampled_cosines is None:
            most = at_most(PAIRS_ON_THE_FLY, BYTES_ON_THE_FLY, 2 * index.space.dimensions)
            index.sampled_cosines = cosines(index.space, _sampled(conn, index).vectors, most)
    return index.sampled_cosines


def pairs(count: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of two different numbers below `count`, as two arrays (pairs,).

    They are all pairs if these are at most `wanted`, else `wanted` random ones with a fixed seed.
    """
    if count * (count - 1) // 2 <= wanted:
        return np.triu_indices(count, 1)
    random = np.random.default_rng(0)
    a = random.integers(0, count, wanted)
    return a, (a + random.integers(1, count, wanted)) % count


def cosines(space: Space, matrix: np.ndarray, wanted: int) -> np.ndarray:
    """The cosines of each level, (pairs, levels) float32, for `pairs` of rows of a matrix.

    `matrix` (n, dimensions) holds centred vectors.
    """
    left, right = pairs(len(matrix), wanted)
    cosines_of_pairs = np.empty((len(left), len(space.levels)), np.float32)
    step = max(1, BYTES_AT_ONCE // (8 * space.dimensions))
    for start in range(0, len(left), step):
        batch = slice(start, start + step)
        a, b = matrix[left[batch]], matrix[right[batch]]
        for number, part in enumerate(space.slices.values()):
            cosines_of_pairs[batch, number] = np.vecdot(a[:, part], b[:, part])
    return cosines_of_pairs


def renew(conn: Writer, space: Space) -> None:
    """Stores the calibration of a space for its own level weights, unless it is up to date."""
    weights = ranking.weights(space)
    if Calibration.stored(read_calibration(conn, space), space.generation, weights):
        return
    try:
        centre = sound_centre(conn, space)
    except Damaged:
        return  # the error is reported when the space is loaded
    matrix = sample(conn, space, centre, LIMITS.calibration_images, BYTES_OF_IMAGES)
    if len(matrix) < SMALLEST_CENTRED_SPACE:
        return
    most = at_most(LIMITS.calibration_pairs, BYTES_OF_PAIRS, 2 * space.dimensions)
    scores = cosines(space, matrix, most) @ weights
    measured = Calibration.of_scores(scores)
    stored = {
        "generation": space.generation,
        "pairs": len(scores),
        "weights": weights.tolist(),
        "percentiles": measured.percentiles.round(5).tolist(),
        "scores": measured.scores.round(6).tolist(),
    }
    with conn.transaction():
        save_calibration(conn, space, json.dumps(stored))
