"""The whole map as one picture, in which no image lies on another."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from ..db.images import read_thumbnail
from ..db.spaces import Space
from ..errors import ImgsimError
from . import load, tiles
from .cells import SIDE

SMALLEST_CELL = 24
FILLED = 0.4
"""The share of the picture that images take."""
TRIED_AT_ONCE = 64


def save(conn: sqlite3.Connection, space: Space, path: Path, side: int) -> int:
    """Writes the map of a space as a PNG file, `side` pixels wide; gives how many images it shows.

    All of them, if there is room for thumbnails of 24 pixels; else some that stand for the others.
    Raises ImgsimError.
    """
    atlas = load.load(conn, space)
    room = int(FILLED * (side // SMALLEST_CELL) ** 2)
    rows = np.arange(len(atlas)) if len(atlas) <= room else atlas.cells.of_most(room).rows
    cells = int(np.ceil(np.sqrt(len(rows) / FILLED)))
    pictures = (
        tiles.Picture(column, line, read_thumbnail(conn, space.source_table, atlas.id(row)))
        for row, (column, line) in zip(rows, apart(atlas.positions[rows], cells).tolist())
    )
    image = tiles.draw(pictures, cells, side)
    try:
        image.save(path, "PNG")
    except OSError as ex:
        raise ImgsimError(f"{path} cannot be written ({ex.strerror or ex}): name another") from ex
    return len(rows)


def apart(positions: np.ndarray, cells: int) -> np.ndarray:
    """(n, 2) the column and line of a cell of its own for each position (n, 2), near to it.

    One after another, from the middle of all outwards, takes the nearest of the `cells` x `cells`
    that is free: those further out make room. n must not exceed the number of cells.
    """
    wanted = positions * (cells / SIDE) - 0.5
    reach = np.arange(-cells, cells + 1)
    offsets = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    offsets = offsets[np.argsort(np.square(offsets).sum(axis=1), kind="stable")]
    free = np.ones((cells, cells), bool)
    cells_taken = np.empty((len(positions), 2), int)
    taken: dict[bytes, int] = {}  # up to which offset there is nothing free around a cell
    from_middle = np.square(wanted - np.mean(wanted, axis=0)).sum(axis=1)
    for place in np.argsort(from_middle, kind="stable"):
        nearest = np.rint(wanted[place]).astype(int)
        for start in range(taken.get(nearest.tobytes(), 0), len(offsets), TRIED_AT_ONCE):
            some = nearest + offsets[start : start + TRIED_AT_ONCE]
            some = some[((some >= 0) & (some < cells)).all(axis=1)]
            some = some[free[some[:, 0], some[:, 1]]]
            if len(some):
                # The offsets are sorted from the cell's middle, not from the position itself.
                best = some[np.square(some - wanted[place]).sum(axis=1).argmin()]
                free[tuple(best)] = False
                cells_taken[place], taken[nearest.tobytes()] = best, start
                break
    return cells_taken
