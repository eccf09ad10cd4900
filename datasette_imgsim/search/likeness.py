"""Scores in words, and the cut: the score below which images are no longer alike to a query."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from ..db.spaces import SMALLEST_CENTRED_SPACE
from .calibration import sampled
from .index import Index
from .ranking import Query

NEAR_IDENTICAL, VERY_ALIKE, ALIKE, FAINT = "near-identical", "very alike", "alike", "faint"
WORDS = (NEAR_IDENTICAL, VERY_ALIKE, ALIKE, FAINT)
"""The words for scores, best first."""

# Chosen with benchmarks/cut.py.
ALIKE_FROM, VERY_FROM = 1.2, 1.7
"""How many times the root of the lower deviation the steps lie above the median."""
ALIKE_WITHIN, VERY_WITHIN = (0.2, 0.8), (0.4, 0.9)
"""The lowest and highest scores at which these steps may lie."""
DIFFERENCE_OF_COPIES = 0.2
"""The share of the way from very alike to equal in which copies lie."""
USUAL, COUNTED_AS = 0.1, 5
"""The lower deviation of usual scores, and for how many scores they count: few say little."""


@dataclass(frozen=True)
class Steps:
    """The lowest scores of the words, for one query."""

    near_identical: float
    very_alike: float
    alike: float
    """The cut. What scores less is faint."""

    @classmethod
    def of_scores(cls, scores: np.ndarray) -> Steps:
        """The steps for a query, from its scores (n,) with images of its space.

        Most images have nothing in common with the query, and the lower half of the scores shows
        how much these scatter: it is free of images that are alike. A step is the median plus a
        multiple of the root of that scatter. Its root, since labels show that a score means nearly
        the same in all collections, but not in all levels: those of textures scatter more.
        """
        total = len(scores) + COUNTED_AS
        median = np.median(scores) * len(scores) / total if len(scores) else 0.0
        below = np.minimum(scores - median, 0)
        # Half of the scores lie below the median, so the mean square is doubled.
        lower = (2 * np.square(below, dtype=float).sum() + COUNTED_AS * USUAL**2) / total
        scatter = lower**0.25
        very = float(np.clip(median + VERY_FROM * scatter, *VERY_WITHIN))
        alike = float(np.clip(median + ALIKE_FROM * scatter, *ALIKE_WITHIN))
        return cls(1 - DIFFERENCE_OF_COPIES * (1 - very), very, alike)

    def word(self, score: float) -> str:
        """The word for a score."""
        for word, least in zip(WORDS, (self.near_identical, self.very_alike, self.alike)):
            if score >= least:
                return word
        return FAINT

    def least(self, word: str) -> float:
        """The lowest score of a word other than faint."""
        return (self.near_identical, self.very_alike, self.alike)[WORDS.index(word)]


def steps(conn: sqlite3.Connection, index: Index, query: Query) -> Steps | None:
    """The steps for a query; None if there are too few images to say what is alike."""
    if len(index) < SMALLEST_CENTRED_SPACE:
        return None
    sample = sampled(conn, index)
    own = [row for id in query.ids if (row := index.row(conn, id)) is not None]
    scores = sample.vectors @ query.vector
    return Steps.of_scores(scores[~np.isin(sample.rows, own)])
