"""The stored neighbours of a space as a graph in memory, loaded when it is first needed."""

from __future__ import annotations

import functools
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ..caching import Cache, NotLoaded
from ..db.neighbours import Neighbours, Places, read_neighbours, read_stamp
from ..db.spaces import Space, all_spaces, reread
from ..errors import ImgsimError, Loading
from ..progress import Progress, silent

MOST_NEIGHBOURS = 20
"""Of each image, if more are stored: memory for a million images is 250 MB then."""


class NoNeighbours(ImgsimError):
    """The stored neighbours are missing or out of date, or do not fit what is asked."""


def stored_k(conn: sqlite3.Connection, space: Space) -> int:
    """How many neighbours of each image are stored. Raises NoNeighbours."""
    command = f"datasette imgsim neighbours DATABASE --space {shlex.quote(space.name)}"
    stamp = read_stamp(conn, space)
    if stamp is None:
        raise NoNeighbours(f"No neighbours are stored in the space {space.name!r}: run '{command}'")
    if stamp.generation != reread(conn, space.name).generation:
        raise NoNeighbours(
            f"The neighbours that are stored in the space {space.name!r} are out of date: "
            f"run '{command}' again"
        )
    return stamp.k


@dataclass(frozen=True, eq=False)
class Graph:
    """Which of n images are among the neighbours of which, in either direction."""

    neighbours: Neighbours
    by_neighbour: np.ndarray
    """(n x k,) int32: the places in `neighbours.rows`, flat, in the order of what is there."""
    starts: np.ndarray
    """(n + 1,): where the places with each image begin in `by_neighbour`."""
    places: Places
    """Where a key is among the images."""

    @classmethod
    def of(cls, neighbours: Neighbours) -> Graph:
        """The graph of lists."""
        count, flat = len(neighbours.keys), neighbours.rows.ravel()
        by_neighbour = np.argsort(flat, kind="stable").astype(np.int32)
        starts = np.searchsorted(flat, np.arange(count + 1), sorter=by_neighbour)
        return cls(neighbours, by_neighbour, starts, Places(neighbours.keys))

    def row(self, key) -> int | None:
        """The row of an image, by its key as stored; None if it has no vector."""
        (place,) = self.places.of([key])
        return None if place < 0 else int(place)

    def edges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, other, score) of the neighbours of rows, and of those whose neighbours they are.

        Each is an array (edges,); a pair that are each other's neighbours comes twice.
        """
        k, flat = self.neighbours.rows.shape[1], self.neighbours.rows.ravel()
        own = (rows[:, None] * k + np.arange(k)).ravel()
        own = own[flat[own] >= 0]
        counts = self.starts[rows + 1] - self.starts[rows]
        begins = np.repeat(self.starts[rows] - np.cumsum(counts) + counts, counts)
        of_others = self.by_neighbour[begins + np.arange(counts.sum())]
        return (
            np.concatenate([own // k, np.repeat(rows, counts)]),
            np.concatenate([flat[own], of_others // k]),
            self.neighbours.scores.ravel()[np.concatenate([own, of_others])],
        )


def load(conn: sqlite3.Connection, space: Space, progress: Progress = silent) -> Graph:
    """Reads the graph of a space. Raises NoNeighbours."""
    k = min(stored_k(conn, space), MOST_NEIGHBOURS)
    return Graph.of(read_neighbours(conn, space, k, progress=progress))


class Graphs:
    """The graphs of one database that are in memory. Safe to call from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None):
        """`connect` opens a private connection without a time limit, for a loading thread.

        Without it, graphs are loaded with the caller's connection while the caller waits.
        """
        self.connect = connect
        self.cache: Cache[Graph] = Cache()

    def get(self, conn: sqlite3.Connection, space: Space, wait: float = 0.5) -> Graph:
        """The graph of a space, which must be fresh from the database.

        Raises NoNeighbours, and Loading if it is not in memory within `wait` seconds.
        """
        stored_k(conn, space)
        if self.connect is None:
            held = self.cache.held(space.identity, space.generation)
            if held is None:
                held = load(conn, space)
                self.cache.put(space.identity, space.generation, held)
            return held
        load_it = functools.partial(self._load, self.connect, space)
        try:
            return self.cache.get(space.identity, space.generation, load_it, wait)
        except NotLoaded as ex:
            kind = ImgsimError if ex.load.error else Loading
            raise kind(
                f"The graph of neighbours of the space {space.name!r} {ex}"
            ) from ex.load.error

    def state(self, space: Space) -> str:
        """The end of a sentence about the graph of a space while it is loading; else empty."""
        load = self.cache.newest_load(space.identity)
        return "" if load is None or load.done.is_set() else f"; its graph {load.state}"

    def _load(self, connect: Callable, space: Space, progress: Progress) -> tuple[int, Graph]:
        with closing(connect()) as conn:
            self.cache.keep({existing.identity for existing in all_spaces(conn)})
            return space.generation, load(conn, space, progress)
