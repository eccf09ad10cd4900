"""The wall: every image of a map in a cell of a full grid, so that neighbours stay neighbours."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

Part: TypeAlias = tuple[int, int, int]
"""The shape of a part of the grid: its columns, its lines, and how many cells are missing at the
end of its last line."""


def sides(count: int) -> tuple[int, int]:
    """(columns, lines) of the wall of `count` images: a square, but for its last line."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / max(1, columns))


def assigned(positions: np.ndarray) -> np.ndarray:
    """The column and the line of each image's cell, (n, 2) int32, from `positions` (n, 2).

    The grid is halved across its longer side, the images are divided between the halves in the
    order of their coordinate along that side, and so on with each half, as in a k-d tree (Bentley
    1975). Each cell of the lines of `sides` has one image, and the last line is filled from the
    left.

    Parts of one shape are divided together, a row of an array each: at each step there are only a
    few different shapes.
    """
    count = len(positions)
    columns, lines = sides(count)
    coordinates = np.ascontiguousarray(positions.T, np.float32)
    cells = np.empty((count, 2), np.int32)
    whole = np.arange(count, dtype=np.int32)[None]
    parts: dict[Part, tuple[np.ndarray, np.ndarray]] = {}
    if count:
        parts[columns, lines, columns * lines - count] = whole, np.zeros((1, 2), np.int32)
    while parts:
        halves: dict[Part, list] = {}
        for part, (rows, corners) in parts.items():
            if rows.shape[1] == 1:
                cells[rows[:, 0]] = corners
                continue
            axis, first, second = halved(part)
            size = first[0] * first[1] - first[2]
            if size < rows.shape[1]:
                order = np.argpartition(coordinates[axis][rows], size, axis=1)
                rows = np.take_along_axis(rows, order, axis=1)
                beyond = corners + np.array([first[0] * (axis == 0), first[1] * axis], np.int32)
                halves.setdefault(second, []).append((rows[:, size:], beyond))
            halves.setdefault(first, []).append((rows[:, :size], corners))
        parts = {
            shape: (
                np.concatenate([rows for rows, _ in found]),
                np.concatenate([at for _, at in found]),
            )
            for shape, found in halves.items()
        }
    return cells


def halved(part: Part) -> tuple[int, Part, Part]:
    """(the axis across which a part is cut, its half at the left or top, and the other half).

    The axis is 0 where columns are divided and 1 where lines are. The second half may be empty.
    """
    columns, lines, missing = part
    if columns >= lines:
        left = (columns + 1) // 2
        missing_right = min(missing, columns - left)
        return (
            0,
            (left, lines, missing - missing_right),
            (columns - left, lines, missing_right),
        )
    top = (lines + 1) // 2
    return 1, (columns, top, 0), (columns, lines - top, missing)
