"""The maps of a database in memory, each loaded when it is first asked for."""

from __future__ import annotations

import functools
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
LARGEST_SHARE_OF_RELOADS = 0.1
"""Of the time, so that a large map is not loaded without end while its space grows."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """The map of one generation of a space; images in ascending order of their id."""

    space: Space
    ids: np.ndarray
    positions: np.ndarray
    """(n, 2) float64, x and y, 0 <= x, y < 256."""
    fitted: np.ndarray
    """(n,) bool: laid out with the others, not placed between them later."""

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def cells(self) -> Cells:
        return Cells(self.positions)

    def inside(self, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        """The rows of the images with x0 <= x < x1 and y0 <= y < y1."""
        x, y = self.positions.T
        return np.flatnonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))

    def id(self, row: int) -> int | str:
        """The key of an image, as SQLite knows it."""
        id = self.ids[row]
        return int(id) if isinstance(id, np.integer) else id

    def row(self, id) -> int | None:
        """Where an image is, by its key as SQLite knows it."""
        if self.ids.dtype == object:
            return self._rows.get(id)
        row = int(np.searchsorted(self.ids, id)) if isinstance(id, int) else len(self)
        return row if row < len(self) and self.ids[row] == id else None

    @functools.cached_property
    def _rows(self) -> dict:
        return {id: row for row, id in enumerate(self.ids)}

    def same_places(self, other: Atlas) -> bool:
        return (
            np.array_equal(self.ids, other.ids)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.fitted, other.fitted)
        )


def load(conn: sqlite3.Connection, space: Space) -> Atlas:
    """Reads the map of a space; it is empty where there is none yet."""
    ids, positions, fitted = store.atlas(conn, space)
    are_whole = all(type(id) is int for id in ids)
    return Atlas(space, np.array(ids, np.int64 if are_whole else object), positions, fitted)


class Cache:
    """The maps of one database. Safe to call from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]):
        """`connect` opens a private connection, which has no time limit."""
        self.connect = connect
        self.lock = threading.Lock()
        self.held: dict[int, Held] = {}

    def held_for(self, space: Space) -> Atlas | None:
        """The map of a space, if it is in memory. `space` must be fresh from the database.

        Where that is of an older generation, it is loaded anew in the background: once in ten
        seconds at most, and rarer where it takes long.
        """
        held = self.held.get(space.id)
        if held is None or held.atlas.space.created_at != space.created_at:
            return None
        if held.generation != space.generation:
            with self.lock:
                is_due = held.is_old and not held.reloading
                held.reloading |= is_due
            if is_due:
                threading.Thread(target=self.load, args=(space,), daemon=True).start()
        return held.atlas

    def load(self, space: Space) -> Atlas:
        """Reads the map of a space and keeps it; a map that has not changed stays the same one."""
        started = time.monotonic()
        old = self.held.get(space.id)
        try:
            with closing(self.connect()) as conn:
                there = {each.id for each in store.spaces(conn)}
                atlas = load(conn, space)
            if old and old.atlas.same_places(atlas):
                atlas = old.atlas
            else:
                atlas.cells  # noqa: B018  (made here, in this thread)
            with self.lock:
                held = Held(atlas, space.generation, time.monotonic() - started)
                self.held = {id: each for id, each in self.held.items() if id in there}
                self.held[space.id] = held
            return atlas
        finally:
            if old:
                old.reloading = False


class Held:
    """A map in memory, when it was loaded, and of which generation it still is."""

    def __init__(self, atlas: Atlas, generation: int, seconds: float):
        self.atlas, self.generation, self.reloading = atlas, generation, False
        self.until = time.monotonic() + max(
            SECONDS_BETWEEN_RELOADS, seconds / LARGEST_SHARE_OF_RELOADS
        )

    @property
    def is_old(self) -> bool:
        return time.monotonic() >= self.until


def cache_for(db) -> Cache:
    """The one cache of a Datasette database; it lives and dies with the Database object."""
    connect = functools.partial(compat.private_connection, db)
    return vars(db).setdefault("_imgsim_atlas", Cache(connect))
