"""Search results: the images most like a query, each with its score and percentile."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from ..limits import LIMITS
from . import interrupts, ranking
from .calibration import get_calibration
from .index import Index
from .ranking import Query


@dataclass(frozen=True)
class Hit:
    """One search result."""

    id: int | str
    score: float
    """-1..1."""
    percentile: float | None
    """0..100, the share of random pairs that score less; None if there are too few images."""


def best(conn: sqlite3.Connection, index: Index, query: Query, k: int) -> list[Hit]:
    """The k images most like a query, best first; equal scores in order of id.

    Images whose row was deleted by hand are replaced by the next best.
    """
    count = k
    while True:
        scored = ranking.rank(conn, index, query, count)
        present = index.table.present(conn, [id for id, _ in scored])
        remaining = [(id, score) for id, score in scored if id in present]
        if len(remaining) >= k or len(scored) < count:
            return _hits(conn, index, query, remaining[:k])
        count *= 2


def reaching(
    conn: sqlite3.Connection, index: Index, query: Query, percentile: float
) -> list[Hit] | None:
    """All images with at least this percentile, best first; None if they exceed `most_hits`.

    The space must have enough images for a calibration.
    """
    k = LIMITS.first_hits
    while True:
        hits = best(conn, index, query, k)
        reached = [hit for hit in hits if (hit.percentile or 0) >= percentile]
        if len(reached) < k:
            return reached
        k *= 4
        if index.most_hits is not None and k > index.most_hits:
            return None


def _hits(conn: sqlite3.Connection, index: Index, query: Query, scored: list[tuple]) -> list[Hit]:
    calibration = get_calibration(conn, index, query.weights)
    if calibration is None:
        return [Hit(id, score, None) for id, score in scored]
    percentiles = calibration.percentiles_of(np.array([score for _, score in scored])).tolist()
    pairs = interrupts.checked(conn, zip(scored, percentiles))
    return [Hit(id, score, percentile) for (id, score), percentile in pairs]
