"""What a score is worth: how many random pairs of images of the same space score less."""

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
from .index import Index
from .vectors import Damaged, at_most, sample, sound_centre

BYTES_OF_PAIRS = 1_000_000_000
PAIRS_ON_THE_FLY, BYTES_ON_THE_FLY = 20_000, 100_000_000
"""How many pairs at most; fewer where their vectors would be more bytes."""
BYTES_OF_IMAGES = 200_000_000
IMAGES_ON_THE_FLY = 2_000
"""Pairs are drawn among so many images at most, likewise."""
BYTES_AT_ONCE = 16_000_000
WEIGHTS_REMEMBERED = 100
"""Calibrations of so many level weights are kept: a slider asks for many."""
# Percentiles that are stored: whole ones, and finer ones where what is like each other lies.
PERCENTILES = np.unique(
    np.concatenate([np.arange(101), *(100 - np.arange(1, 100) * 10.0**-n for n in (2, 3, 4))])
)
DIGITS = 10**4


@dataclass(frozen=True)
class Calibration:
    """The scores that random pairs reach: `scores` (m,) ascending, at `percentiles` (m,) 0..100."""

    scores: np.ndarray
    percentiles: np.ndarray

    @classmethod
    def of_scores(cls, scores: np.ndarray) -> Calibration:
        """From the scores of random pairs (pairs,)."""
        count = len(scores)
        places = np.unique((PERCENTILES / 100 * (count - 1)).astype(int))
        return cls(np.sort(scores)[places], 100 * places / count)

    @classmethod
    def stored(cls, text: str | None, generation: int, weights: np.ndarray) -> Calibration | None:
        """What `renew` wrote, where it is sound and of this generation and these level weights."""
        try:
            parsed = json.loads(text or "")
            scores, percentiles, of = (
                np.array(parsed[name], float) for name in ("scores", "percentiles", "weights")
            )
            is_sound = (
                scores.shape == percentiles.shape == (len(scores),)
                and len(scores) > 0
                and np.isfinite(scores).all()
                and np.isfinite(percentiles).all()
            )
            is_ours = parsed["generation"] == generation and of.shape == weights.shape
            if is_sound and is_ours and np.allclose(of, weights):
                return cls(scores, percentiles)
            return None
        except (ValueError, TypeError, KeyError):
            return None

    def percentile(self, score: float) -> float:
        """0..100: the share of random pairs that score less."""
        return float(self.percentiles_of(np.array([score]))[0])

    def percentiles_of(self, scores: np.ndarray) -> np.ndarray:
        """The percentiles of several scores, rounded down."""
        between = np.interp(scores, self.scores, self.percentiles)
        # Where many pairs have one and the same score, only those before them are less.
        first = np.searchsorted(self.scores, scores).clip(max=len(self.scores) - 1)
        exact = np.where(self.scores[first] == scores, self.percentiles[first], between)
        exact = np.where(scores > self.scores[-1], 100, exact)
        return np.floor(exact * DIGITS) / DIGITS

    def score(self, percentile: float) -> float:
        """The score that has about this percentile."""
        return float(np.interp(percentile, self.percentiles, self.scores))

    @property
    def chance(self) -> float:
        """The highest score that images which have nothing in common reach now and then.

        Of random pairs, a few are truly alike, and which ones is not known. But the lower half
        holds none of these: so far as its lowest percent lies below the median, as far above it
        chance reaches.
        """
        return min(1.0, 2 * self.score(50) - self.score(1))


def in_words(percentile: float) -> str:
    """'closer than 99.98 % of random pairs'; never rounded up."""
    if percentile >= 100:
        return "closer than all random pairs"
    return f"closer than {shortened(percentile)} % of random pairs"


def shortened(percentile: float) -> str:
    """As few digits as tell it from 100: 42, 99.2, 99.98."""
    digits = 0 if percentile < 99 else 1 if percentile < 99.9 else 2
    return f"{math.floor(percentile * 10**digits) / 10**digits:.{digits}f}"


def get_calibration(
    conn: sqlite3.Connection, vectors: Index, weights: np.ndarray
) -> Calibration | None:
    """The calibration of a space for these level weights; None while it has too few images.

    The stored one, where it is of these vectors and weights; else from pairs of loaded vectors.
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


def _sampled_cosines(conn: sqlite3.Connection, vectors: Index) -> np.ndarray:
    """(pairs, levels) of one generation, drawn once."""
    with _sampling:
        if vectors.sampled_cosines is None:
            vectors.sampled_cosines = _cosines_on_the_fly(conn, vectors)
    return vectors.sampled_cosines


def _cosines_on_the_fly(conn: sqlite3.Connection, vectors: Index) -> np.ndarray:
    space = vectors.space
    images = at_most(IMAGES_ON_THE_FLY, BYTES_ON_THE_FLY, space.dimensions)
    rows = np.arange(0, len(vectors), -(-len(vectors) // images))
    most = at_most(PAIRS_ON_THE_FLY, BYTES_ON_THE_FLY, 2 * space.dimensions)
    return cosines(space, vectors.vectors(conn, rows), most)


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
    cosines_of_pairs = np.empty((len(left), len(space.levels)), np.float32)
    step = max(1, BYTES_AT_ONCE // (8 * space.dimensions))
    for start in range(0, len(left), step):
        some = slice(start, start + step)
        a, b = matrix[left[some]], matrix[right[some]]
        for number, part in enumerate(space.slices.values()):
            cosines_of_pairs[some, number] = np.vecdot(a[:, part], b[:, part])
    return cosines_of_pairs


def renew(conn: Writer, space: Space) -> None:
    """Stores the calibration of a space for its own level weights, where vectors have changed."""
    weights = ranking.weights(space)
    if Calibration.stored(read_calibration(conn, space), space.generation, weights):
        return
    try:
        centre = sound_centre(conn, space)
    except Damaged:
        return  # whoever loads the space sees this error
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
