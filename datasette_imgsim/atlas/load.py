"""The maps of a database in memory, each loaded when it is first needed."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ..caching import Cache, NotLoaded
from ..db.atlas import read_atlas
from ..db.spaces import Space, all_spaces
from ..errors import ImgsimError
from ..progress import Progress
from . import wall
from .cells import CELLS_A_TILE, SIDE, Cells

MAP, WALL = "map", "wall"
"""The names of the views."""
ENLARGED = 2
"""How many zooms of the wall only enlarge its cells: at the last one, a tile is one picture."""


@dataclass(frozen=True, eq=False)
class View:
    """The map, or its wall: where each image is, and which of them each zoom shows."""

    name: str
    """MAP or WALL."""
    positions: np.ndarray
    """(n, 2) x and y of each row of the atlas, 0 <= x, y < 256; on the wall, its cell's middle."""
    cells: Cells
    width: float
    height: float
    """The part of the square of 256 x 256, from its upper left corner, that has images."""

    def inside(self, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        """The rows of the images with x0 <= x < x1 and y0 <= y < y1."""
        x, y = self.positions.T
        return np.flatnonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))

    def first_zoom(self, row: int) -> int:
        """The first zoom that shows the image in a row."""
        return self.cells.first_zoom(row, self.positions[row])


@dataclass(frozen=True, eq=False)
class Atlas:
    """The map of one generation of a space. An image's row is its place in `ids`."""

    space: Space
    ids: np.ndarray
    """(n,) in ascending order; int64 if all are integers, else objects."""
    positions: np.ndarray
    """(n, 2) float64, x and y, 0 <= x, y < 256."""
    fitted: np.ndarray
    """(n,) bool: True if t-SNE laid the image out, False if it was placed later."""

    def __len__(self) -> int:
        return len(self.ids)

    def view(self, name: str) -> View:
        """The view of a name, MAP or WALL."""
        return self.wall if name == WALL else self.map

    @functools.cached_property
    def map(self) -> View:
        """Every image where t-SNE has laid it, computed at the first use."""
        return View(MAP, self.positions, Cells(self.positions), SIDE, SIDE)

    @functools.cached_property
    def wall(self) -> View:
        """Every image in a cell of a full grid, computed at the first use.

        The cells of the grid are those of the finest zoom.
        """
        columns, lines = wall.sides(len(self))
        finest = max(0, (columns - 1).bit_length() - (CELLS_A_TILE - 1).bit_length())
        cell = SIDE / (CELLS_A_TILE << finest)
        positions = (wall.assigned(self.positions) + np.float32(0.5)) * np.float32(cell)
        cells = Cells(positions, finest, ENLARGED)
        return View(WALL, positions, cells, columns * cell, lines * cell)

    def id(self, row: int) -> int | str:
        """The key, as stored, of the image in a row."""
        id = self.ids[row]
        return int(id) if isinstance(id, np.integer) else id

    def row(self, id) -> int | None:
        """The row of the image with this key, as stored, or None."""
        if self.ids.dtype == object:
            return self._rows.get(id)
        row = int(np.searchsorted(self.ids, id)) if isinstance(id, int) else len(self)
        return row if row < len(self) and self.ids[row] == id else None

    def rows(self, ids: list) -> np.ndarray:
        """(k,) int: the row of the image with each of k keys, as stored; -1 where there is none."""
        if self.ids.dtype == object or not len(self):
            return np.array([self._rows.get(id, -1) for id in ids], int)
        are_whole = np.array([type(id) is int for id in ids], bool)
        whole = np.array([id if type(id) is int else 0 for id in ids], np.int64)
        places = np.searchsorted(self.ids, whole).clip(max=len(self) - 1)
        return np.where(are_whole & (self.ids[places] == whole), places, -1)

    def selected(self, ids: Iterable) -> np.ndarray:
        """(n,) bool: which images have one of these keys, as stored."""
        selected = np.zeros(len(self), bool)
        if self.ids.dtype == object:
            rows = [row for row in map(self._rows.get, ids) if row is not None]
        else:
            whole = np.fromiter((id for id in ids if type(id) is int), np.int64)
            places = np.searchsorted(self.ids, whole).clip(max=len(self) - 1)
            rows = places[self.ids[places] == whole]
        selected[rows] = True
        return selected

    @functools.cached_property
    def _rows(self) -> dict:
        return {id: row for row, id in enumerate(self.ids)}

    def same_places(self, other: Atlas) -> bool:
        """Whether both maps have the same images at the same positions."""
        return (
            np.array_equal(self.ids, other.ids)
            and np.array_equal(self.positions, other.positions)
            and np.array_equal(self.fitted, other.fitted)
        )


def load(conn: sqlite3.Connection, space: Space) -> Atlas:
    """Reads the map of a space; it is empty if there is none yet."""
    ids, positions, fitted = read_atlas(conn, space)
    are_whole = all(type(id) is int for id in ids)
    return Atlas(space, np.array(ids, np.int64 if are_whole else object), positions, fitted)


class Atlases:
    """The maps of one database that are in memory. Safe to call from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None):
        """`connect` opens a private connection without a time limit; without it, maps are empty."""
        self.connect = connect
        self.cache: Cache[Atlas] = Cache()

    def ready(self, space: Space) -> Atlas | None:
        """Like `get`, but without waiting: None if no map of the space is in memory."""
        return None if self.cache.newest(space.identity) is None else self.get(space)

    def get(self, space: Space) -> Atlas:
        """The map of a space, empty if there is none yet; waits for the first load.

        `space` must be fresh from the database: its generation shows whether the map in memory is
        outdated. An outdated map is returned while a newer one is loaded in the background. Raises
        ImgsimError, and errors of SQLite.
        """
        try:
            return self.cache.get(
                space.identity, space.generation, functools.partial(self._load, space)
            )
        except NotLoaded as ex:
            raise ImgsimError(f"The map of the space {space.name!r} {ex}") from ex.load.error

    def _load(self, space: Space, progress: Progress) -> tuple[int, Atlas]:
        if self.connect is None:
            return space.generation, Atlas(space, np.array([]), np.empty((0, 2)), np.array([]))
        with closing(self.connect()) as conn:
            self.cache.keep({existing.identity for existing in all_spaces(conn)})
            atlas = load(conn, space)
        old = self.cache.newest(space.identity)
        if old is not None and old.same_places(atlas):
            return space.generation, old
        atlas.map, atlas.wall  # noqa: B018  (computed now, in this thread)
        return space.generation, atlas
