"""The way from one image to another, from neighbour to neighbour."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..db.neighbours import DIGITS
from ..db.tables import SourceTable
from . import interrupts
from .graph import Graph

WAVE = 0.1
"""Rows whose distances differ by up to this are looked at together."""


@dataclass(frozen=True)
class Step:
    """An image on the way."""

    id: int | str
    score: float | None
    """With the image before, -1..1; None for the first."""


def path(conn: sqlite3.Connection, graph: Graph, table: SourceTable, a, b) -> list[Step]:
    """The shortest way between two images, by their keys as stored, with both of them.

    Two images are connected if one is among the other's neighbours, and are as far apart as 1 -
    their score. The way is empty if there is none, or an image is not in the graph. It does not
    lead through images whose row was deleted by hand.
    """
    start, end = graph.row(a), graph.row(b)
    if start is None or end is None:
        return []
    gone: set[int] = set()
    while True:
        rows = shortest(conn, graph, start, end, gone)
        keys = [graph.neighbours.keys[row] for row in rows]
        present = table.present(conn, keys)
        missing = {row for row, key in zip(rows, keys) if key not in present}
        if not missing:
            break
        if missing & {start, end}:
            return []
        gone |= missing
    scores = [_score(graph, before, row) for before, row in zip(rows, rows[1:])]
    return [Step(key, score) for key, score in zip(keys, [None, *scores])]


def _score(graph: Graph, row: int, other: int) -> float:
    _, others, scores = graph.edges(np.array([row]))
    return round(float(scores[others == other][0]), DIGITS)


def shortest(
    conn: sqlite3.Connection, graph: Graph, start: int, end: int, without: Collection[int] = ()
) -> list[int]:
    """The rows of the shortest way from one row to another; empty if there is none.

    It is looked for from both ends in turn (Pohl 1971, Bi-directional Search), so that only small
    parts of the graph are searched.
    """
    sides = [Side(graph, row, without) for row in (start, end)]
    best, middle = (0.0, start) if start == end else (math.inf, -1)
    while sides[0].nearest + sides[1].nearest < best:
        side, other = sorted(sides, key=lambda side: side.nearest)
        reached = side.spread()
        if len(reached):
            lengths = side.distances[reached] + other.distances[reached]
            place = int(lengths.argmin())
            if lengths[place] < best:
                best, middle = lengths[place], int(reached[place])
        interrupts.check(conn)
    if middle < 0:
        return []
    return [*reversed(sides[0].way(middle)), *sides[1].way(middle)[1:]]


class Side:
    """What is known from one end: how far rows are that were found so far.

    Rows are looked at in waves, the nearest first (delta-stepping, Meyer & Sanders 2003, doi
    10.1016/S0196-6774(03)00076-2): numpy is as fast with thousands of rows as with one.
    """

    def __init__(self, graph: Graph, row: int, without: Collection[int]):
        self.graph = graph
        count = len(graph.neighbours.keys)
        self.distances = np.full(count, np.inf)
        # Nothing comes nearer than this, so these rows are never reached.
        self.distances[list(without)] = -np.inf
        self.distances[row] = 0
        self.before = np.full(count, -1, np.int32)
        self.open = np.array([row])
        """The rows whose neighbours were not looked at since the row came nearer."""

    @property
    def nearest(self) -> float:
        """The distance of the nearest row that is open; inf if none is."""
        return float(self.distances[self.open].min(initial=np.inf))

    def spread(self) -> np.ndarray:
        """Looks at the neighbours of the nearest open rows; the rows that came nearer by it."""
        is_near = self.distances[self.open] <= self.nearest + WAVE
        rows, others, scores = self.graph.edges(self.open[is_near])
        lengths = self.distances[rows] + np.maximum(0, 1 - scores.astype(float))
        is_nearer = lengths < self.distances[others]
        rows, others, lengths = rows[is_nearer], others[is_nearer], lengths[is_nearer]
        np.minimum.at(self.distances, others, lengths)
        is_nearest = lengths == self.distances[others]
        self.before[others[is_nearest]] = rows[is_nearest]
        reached = np.unique(others)
        self.open = np.union1d(self.open[~is_near], reached)
        return reached

    def way(self, row: int) -> list[int]:
        """The rows from here to this end."""
        rows = [row]
        while self.before[rows[-1]] >= 0:
            rows.append(int(self.before[rows[-1]]))
        return rows
