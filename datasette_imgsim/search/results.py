"""Search results: the images most like a query, what their scores are worth, and the cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..limits import LIMITS
from . import interrupts, ranking, reranking
from .calibration import get_calibration
from .index import Index
from .likeness import FAINT, NEAR_IDENTICAL, Steps, steps
from .ranking import Query


@dataclass(frozen=True)
class Hit:
    """One search result."""

    id: int | str
    score: float
    """-1..1."""
    percentile: float | None
    """0..100, the share of random pairs that score less; None if there are too few images."""
    word: str | None
    """One of likeness.WORDS; None if there are too few images."""


@dataclass(frozen=True)
class Cut:
    """Where the images of a ranking stop being alike to the query."""

    score: float
    """What scores at least this is alike."""
    alike: int | None
    """How many images are alike; None if they are more than were ranked."""


def best(
    conn: sqlite3.Connection, index: Index, query: Query, k: int, rerank: bool = False
) -> list[Hit]:
    """The k images most like a query, best first; equal scores in order of id.

    Images whose row was deleted by hand are replaced by the next best. With `rerank`, the first
    reranking.FIRST are in order of mutual likeness: the near-identical, the alike, the faint ones.
    Raises NoNeighbours.
    """
    return _ordered(conn, index, query, k, steps(conn, index, query), rerank)


def best_and_cut(
    conn: sqlite3.Connection, index: Index, query: Query, k: int, rerank: bool = False
) -> tuple[list[Hit], Cut | None]:
    """The k best as `best` gives them, and where images stop being alike.

    None if there are too few to say.
    """
    found = steps(conn, index, query)
    hits = _ordered(conn, index, query, k, found, rerank)
    if found is None:
        return hits, None
    alike = sum(hit.word != FAINT for hit in hits)
    is_known = alike < len(hits) or len(hits) >= len(index) - len(query.ids)
    return hits, Cut(found.alike, alike if is_known else None)


def _ordered(
    conn: sqlite3.Connection, index: Index, query: Query, k: int, found: Steps | None, rerank: bool
) -> list[Hit]:
    if not rerank:
        return _best(conn, index, query, k, found)
    stored_k = reranking.check(conn, index.space, query.weights)
    hits = _best(conn, index, query, max(k, reranking.FIRST), found)
    first = hits[: reranking.FIRST]
    scored = [(hit.id, hit.score) for hit in first]
    distances = reranking.distances(conn, index.space, query, scored, stored_k)
    # Copies stay at the beginning, and what is faint behind the cut: the score decides on these.
    parts = [(hit.word == FAINT, hit.word != NEAR_IDENTICAL) for hit in first]
    places = sorted(range(len(first)), key=lambda place: (parts[place], distances[place]))
    return [*(first[place] for place in places), *hits[reranking.FIRST :]][:k]


def _best(
    conn: sqlite3.Connection, index: Index, query: Query, k: int, found: Steps | None
) -> list[Hit]:
    count = k
    while True:
        scored = ranking.rank(conn, index, query, count)
        present = index.table.present(conn, [id for id, _ in scored])
        remaining = [(id, score) for id, score in scored if id in present]
        if len(remaining) >= k or len(scored) < count:
            return _hits(conn, index, query, remaining[:k], found)
        count *= 2


def of_pair(conn: sqlite3.Connection, index: Index, query: Query, row: int) -> Hit:
    """What the image in a row of the index is worth as a result of a query."""
    score = ranking.pair(query, index.vector(conn, row))
    return _hits(conn, index, query, [(index.ids[row], score)], steps(conn, index, query))[0]


def reaching(
    conn: sqlite3.Connection, index: Index, query: Query, enough: Callable[[Hit], bool]
) -> list[Hit] | None:
    """All images that are like enough, best first; None if they exceed `most_hits`.

    `enough` is true for each image down to some score, and false for those below.
    """
    k, found = LIMITS.first_hits, steps(conn, index, query)
    while True:
        hits = _best(conn, index, query, k, found)
        reached = [hit for hit in hits if enough(hit)]
        if len(reached) < k:
            return reached
        k *= 4
        if index.most_hits is not None and k > index.most_hits:
            return None


def _hits(
    conn: sqlite3.Connection, index: Index, query: Query, scored: list[tuple], found: Steps | None
) -> list[Hit]:
    calibration = get_calibration(conn, index, query.weights)
    if calibration is None or found is None:
        return [Hit(id, score, None, None) for id, score in scored]
    percentiles = calibration.percentiles_of(np.array([score for _, score in scored])).tolist()
    pairs = interrupts.checked(conn, zip(scored, percentiles))
    return [Hit(id, score, percentile, found.word(score)) for (id, score), percentile in pairs]
