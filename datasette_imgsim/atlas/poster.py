"""The whole map, or the whole wall, as one picture in which no thumbnails overlap."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from ..db.images import read_thumbnail
from ..db.spaces import Space
from ..errors import ImgsimError
from . import load, tiles, wall
from .cells import SIDE

SMALLEST_CELL = 24
FILLED = 0.4
"""The share of the picture's cells that show a thumbnail."""
TRIED_AT_ONCE = 64


def save(conn: sqlite3.Connection, space: Space, path: Path, width: int, is_wall: bool) -> int:
    """Writes the map of a space, or its wall, as a PNG file `width` pixels wide.

    It shows all images if there is room for thumbnails of 24 pixels, else images that represent
    their neighbourhood. Returns how many it shows. Raises ImgsimError.
    """
    atlas = load.load(conn, space)
    rows, places, columns, lines = (_on_wall if is_wall else _on_map)(atlas, width)
    pictures = (
        tiles.Picture(column, line, read_thumbnail(conn, space.source_table, atlas.id(row)))
        for row, (column, line) in zip(rows, places.tolist())
    )
    image = tiles.draw(pictures, columns, lines, width, is_wall)
    try:
        image.save(path, "PNG")
    except OSError as ex:
        raise ImgsimError(f"{path} cannot be written ({ex.strerror or ex}): name another") from ex
    return len(rows)


def _on_map(atlas: load.Atlas, side: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(the rows that are shown, their columns and lines (n, 2), and how many there are of both)."""
    room = int(FILLED * (side // SMALLEST_CELL) ** 2)
    is_small = len(atlas) <= room
    rows = np.arange(len(atlas)) if is_small else atlas.map.cells.of_most(room).rows
    cells = int(np.ceil(np.sqrt(len(rows) / FILLED)))
    return rows, apart(atlas.positions[rows], cells), cells, cells


def _on_wall(atlas: load.Atlas, width: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The same of the finest zoom whose cells are large enough, else of zoom 0."""
    cells = atlas.wall.cells
    zoom, columns = cells.finest, wall.sides(len(atlas))[0]
    while zoom > 0 and columns * SMALLEST_CELL > width:
        zoom, columns = zoom - 1, (columns + 1) // 2
    shown = cells.of_zoom(zoom)
    places = np.column_stack([shown.columns, shown.lines])
    return shown.rows, places, columns, int(shown.lines.max(initial=0)) + 1


def apart(positions: np.ndarray, cells: int) -> np.ndarray:
    """Assigns each position (n, 2) a cell of its own near it: columns and lines (n, 2).

    There are cells x cells cells, at least n. From the middle of all positions outwards, each one
    takes the nearest free cell, so those further out make room.
    """
    targets = positions * (cells / SIDE) - 0.5
    reach = np.arange(-cells, cells + 1)
    offsets = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    offsets = offsets[np.argsort(np.square(offsets).sum(axis=1), kind="stable")]
    free = np.ones((cells, cells), bool)
    cells_taken = np.empty((len(positions), 2), int)
    tried: dict[bytes, int] = {}  # the number of offsets around a cell that lead to no free one
    from_middle = np.square(targets - np.mean(targets, axis=0)).sum(axis=1)
    for row in np.argsort(from_middle, kind="stable"):
        nearest = np.rint(targets[row]).astype(int)
        for start in range(tried.get(nearest.tobytes(), 0), len(offsets), TRIED_AT_ONCE):
            nearby = nearest + offsets[start : start + TRIED_AT_ONCE]
            nearby = nearby[((nearby >= 0) & (nearby < cells)).all(axis=1)]
            nearby = nearby[free[nearby[:, 0], nearby[:, 1]]]
            if len(nearby):
                # The offsets are sorted from the cell's middle, not from the position itself.
                best = nearby[np.square(nearby - targets[row]).sum(axis=1).argmin()]
                free[tuple(best)] = False
                cells_taken[row], tried[nearest.tobytes()] = best, start
                break
    return cells_taken
