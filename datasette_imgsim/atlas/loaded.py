"""The maps of a database in memory, each loaded when it is first asked for."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from .. import compat, store
from ..store import Space
from .cells import Cells

SECONDS_BETWEEN_RELOADS = 10


@dataclass(frozen=True, eq=False)
class Atlas:
    """The map of one generation of a space; images in ascending order of their id."""

    space: Space
    ids: np.ndarray
    positions: np.ndarray
    """(n, 2) float64, x and y, 0 <= x, y < 256."""
    fitted: np.ndarray
    """(n,) bool: laid out with the others, not placed between them later."""
    cells: Cells

    def __len__(self) -> int:
        return len(self.ids)

    def inside(self, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        """The rows of the images with x0 <= x < x1 and y0 <= y < y1."""
        x, y = self.positions.T
        return np.flatnonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))

    def row(self, x: float, y: float, id) -> int | None:
        """The row of an image, of which it is known where it lies."""
        found = np.flatnonzero((self.positions == (x, y)).all(axis=1))
        return next((int(row) for row in found if self.ids[row] == id), None)

    def id(self, row: int) -> int | str:
        """The key of an image, as SQLite knows it."""
        id = self.ids[row]
        return int(id) if isinstance(id, np.integer) else id


def load(conn: sqlite3.Connection, space: Space) -> Atlas:
    """Reads the map of a space; it is empty where there is none yet."""
    ids, positions, fitted = store.atlas(conn, space)
    are_whole = all(type(id) is int for id in ids)
    array = np.array(ids, np.int64 if are_whole else object)
    return Atlas(space, array, positions, fitted, Cells(positions))


class Cache:
    """The maps of one database. Safe to call from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None):
        """`connect` opens a private connection for a thread that loads a newer map."""
        self.connect = connect
        self.lock = threading.Lock()
        self.held: dict[int, Atlas] = {}
        self.begun: dict[int, float] = {}

    def get(self, conn: sqlite3.Connection, space: Space) -> Atlas:
        """The map of a space. `space` must be fresh from the database: its generation tells.

        While a newer generation is loaded, at most every ten seconds, the older one is given.
        """
        held = self._held(space)
        if held is None:
            with self.lock:
                held = self._held(space) or self._load(conn, space)
        if held.space.generation != space.generation and self._is_due(space):
            if self.connect is None:
                return self._load(conn, space)
            threading.Thread(target=self._reload, args=(space,), daemon=True).start()
        return held

    def _held(self, space: Space) -> Atlas | None:
        held = self.held.get(space.id)
        return held if held and held.space.created_at == space.created_at else None

    def _is_due(self, space: Space) -> bool:
        with self.lock:
            now = time.monotonic()
            if now - self.begun.get(space.id, -SECONDS_BETWEEN_RELOADS) < SECONDS_BETWEEN_RELOADS:
                return False
            self.begun[space.id] = now
            return True

    def _load(self, conn: sqlite3.Connection, space: Space) -> Atlas:
        found = load(conn, space)
        self.held = self.held | {space.id: found}
        return found

    def _reload(self, space: Space) -> None:
        try:
            with closing(self.connect()) as conn:
                self._load(conn, space)
        except sqlite3.Error:
            pass  # the older map stays until the next try


def cache_for(db) -> Cache:
    """The one cache of a Datasette database; it lives and dies with the Database object."""
    is_shared = not db.is_memory or db.memory_name
    return vars(db).setdefault(
        "_imgsim_atlas", Cache((lambda: compat.private_connection(db)) if is_shared else None)
    )
