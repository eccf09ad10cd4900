"""Re-ranks results by mutual neighbours: k-reciprocal encoding, from the stored neighbours.

Zhong, Zheng, Cao & Li 2017, Re-ranking Person Re-identification with k-reciprocal Encoding,
arXiv 1701.08398. Two images that are alike are among each other's nearest, and share most of these.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..db.neighbours import read_lists
from ..db.spaces import Space
from . import interrupts, ranking
from .graph import NoNeighbours, stored_k
from .ranking import Query

# Chosen with benchmarks/rerank.py.
FIRST = 100
"""So many of the best images are re-ranked."""
NEAREST, AVERAGED = 20, 6
"""How many neighbours an image has, k1 in the paper; and with how many images, itself among them,
its shares are averaged, k2."""
OF_SCORES = 0.3
"""How much the scores themselves count beside the shared neighbours, λ."""

Lists: TypeAlias = dict[object, dict[object, float]]
"""The scores of each image with its neighbours, best first, by their keys."""

_QUERY = object()
"""Stands for the query among the keys of images."""


def check(conn: sqlite3.Connection, space: Space, weights: np.ndarray) -> int:
    """How many neighbours of each image are stored. Raises NoNeighbours.

    It is raised if the level weights (levels,) are not the space's own, since the neighbours are
    those for these, and if the neighbours are missing or out of date.
    """
    if not np.allclose(weights, ranking.weights(space)):
        raise NoNeighbours(
            "Mutual likeness is known only for the level weights of the space itself: leave out "
            "level_weights, or rerank"
        )
    return stored_k(conn, space)


def distances(
    conn: sqlite3.Connection, space: Space, query: Query, scored: Sequence[tuple], stored_k: int
) -> list[float]:
    """How far the best images for a query are from it, 0..1.3: by mutual neighbours, and scores.

    `scored` are the (key, score) of the best images, in this order; `stored_k` is what `check`
    gives.
    """
    k = min(NEAREST, stored_k)
    stored = read_lists(conn, space, [key for key, _ in scored], k)
    interrupts.check(conn)
    lists = _with_query(stored, query.ids, scored, k)
    shares = {key: _mutual(lists, key) for key in lists}
    asked = _averaged(lists, shares, _QUERY)
    found = []
    for key, score in scored:
        theirs = _averaged(lists, shares, key, among=asked)
        shared = sum(min(share, asked[other]) for other, share in theirs.items())
        # Jaccard's distance, where the shares of each sum to 1
        jaccard = 1 - shared / (2 - shared)
        found.append((1 - OF_SCORES) * jaccard + OF_SCORES * (1 - score))
    interrupts.check(conn)
    return found


def _with_query(stored: Lists, own: tuple, scored: Sequence[tuple], k: int) -> Lists:
    """The lists of the best images and of the query, which takes its place in theirs.

    It is among the neighbours of an image if it is as near as the last of these, or if they are
    fewer than k. Where the query is an image that is stored, this is so exactly where that image
    is in the list.
    """
    lists: Lists = {_QUERY: dict(scored[:k])}
    for key, score in scored:
        others = {other: s for other, s in stored.get(key, {}).items() if other not in own}
        if len(others) < k or score >= min(others.values()):
            others[_QUERY] = score
            others = dict(sorted(others.items(), key=lambda item: -item[1]))
        lists[key] = others
    return lists


def _mutual(lists: Lists, key) -> dict[object, float]:
    """The shares of an image and its mutual neighbours, sum 1: they fall with exp(score).

    Of an image without a list here, which is not among the best, it is taken for granted.
    """
    weights = {key: 1.0}
    for other, score in lists[key].items():
        if other not in lists or key in lists[other]:
            weights[other] = math.exp(score - 1)
    total = sum(weights.values())
    return {other: weight / total for other, weight in weights.items()}


def _averaged(lists: Lists, shares: Lists, key, among: dict | None = None) -> dict[object, float]:
    """The mean of the shares of an image and of its nearest ones; only of those `among` some."""
    nearest = [other for other in list(lists[key])[: AVERAGED - 1] if other in lists]
    group = [key, *nearest]
    sums: dict[object, float] = {}
    for member in group:
        for other, share in shares[member].items():
            if among is None or other in among:
                sums[other] = sums.get(other, 0) + share / len(group)
    return sums
