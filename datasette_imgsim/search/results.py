"""The images most like a query: ranked, still in their table, each with its percentile."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from ..limits import LIMITS
from . import ranking
from .calibration import get_calibration
from .index import Index
from .ranking import Query


@dataclass(frozen=True)
class Hit:
    """One result."""

    id: int | str
    score: float
    """-1..1."""
    percentile: float | None
    """0..100, the share of random pairs that score less; None while there are too few images."""


def best(conn: sqlite3.Connection, index: Index, query: Query, k: int) -> list[Hit]:
    """The k images most like a query, best first; equal scores in order of id.

    Rows that were deleted by hand are made up for by those that follow.
    """
    wanted = k
    while True:
        scored = ranking.rank(conn, index, query, wanted)
        present = index.table.present(conn, [id for id, _ in scored])
        there = [(id, score) for id, score in scored if id in present]
        if len(there) >= k or len(scored) < wanted:
            return _hits(conn, index, query, there[:k])
        wanted *= 2


def reaching(
    conn: sqlite3.Connection, index: Index, query: Query, percentile: float
) -> list[Hit] | None:
    """All images whose percentile is at least this, best first.

    None where they are more than this form of an index can give. The space must have a
    calibration.
    """
    k = LIMITS.first_hits
    while True:
        hits = best(conn, index, query, k)
        enough = [hit for hit in hits if (hit.percentile or 0) >= percentile]
        if len(enough) < k:
            return enough
        k *= 4
        if index.most_hits is not None and k > index.most_hits:
            return None


def _hits(conn: sqlite3.Connection, index: Index, query: Query, scored: list[tuple]) -> list[Hit]:
    calibration = get_calibration(conn, index, query.weights)
    if calibration is None:
        return [Hit(id, score, None) for id, score in scored]
    # At once, since no time limit stops what is done for each of a million.
    percentiles = calibration.percentiles_of(np.array([score for _, score in scored])).tolist()
    return [Hit(id, score, percentile) for (id, score), percentile in zip(scored, percentiles)]
