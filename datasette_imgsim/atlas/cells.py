"""Which images stand for their neighbourhood at each zoom of the map.

The map is a square of 256 x 256 units. At zoom z it is 2^z x 2^z tiles of 4 x 4 cells, and a cell
that is not empty shows one image. Cells are numbered along a Z-order curve (Morton 1966): those
that one larger cell covers follow on each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 256
CELLS_A_TILE = 4
CELL_BITS = 2
MORE_THAN_AVERAGE = 4
"""The deepest zoom has so many zooms more than evenly spread images would need."""
SHALLOWEST, DEEPEST = 2, 16
"""Between these the deepest zoom lies: at zoom 2 the map fills a screen."""


@dataclass(frozen=True)
class ShownImages:
    """The images that one part of the map shows at one zoom; arrays of the same length.

    rows: which image, as a place in the atlas · counts: how many images it stands for, itself
    included · columns, lines: its cell, counted from the left and from the top of the whole map.
    """

    rows: np.ndarray
    counts: np.ndarray
    columns: np.ndarray
    lines: np.ndarray


class Cells:
    """The cells of all zooms, from 0 to `deepest`."""

    def __init__(self, positions: np.ndarray):
        """`positions` (n, 2) are x and y, 0 <= x, y < 256."""
        self.deepest = deepest_zoom(len(positions))
        codes = self._codes(positions)
        self.order = np.argsort(codes, kind="stable").astype(np.int32)
        self.codes = codes[self.order]
        self._drop_needless_zooms()
        self.firsts, self.chosen = [], []
        points = positions[self.order].astype(np.float64)
        chosen = np.empty(0, np.int32)
        for zoom in range(self.deepest + 1):
            firsts = self._firsts(zoom)
            chosen = representatives(points, firsts, chosen)
            self.firsts.append(firsts.astype(np.int32))
            self.chosen.append(chosen.astype(np.int32))

    def _codes(self, positions: np.ndarray) -> np.ndarray:
        """(n,) the number of the cell of each position at the deepest zoom."""
        cells = 1 << (self.deepest + CELL_BITS)
        places = (np.asarray(positions, np.float64) * (cells / SIDE)).astype(np.uint64)
        return interleaved(places[:, 0], places[:, 1])

    def _drop_needless_zooms(self) -> None:
        """Lets the deepest zoom be one that shows images which no other zoom does."""
        cells = len(self._firsts(self.deepest))
        while self.deepest > SHALLOWEST and len(self._firsts(self.deepest - 1)) == cells:
            self.codes >>= np.uint64(2)
            self.deepest -= 1

    def _firsts(self, zoom: int) -> np.ndarray:
        """Where in `order` each cell that is not empty begins."""
        numbers = self.codes >> np.uint64(2 * (self.deepest - zoom))
        return np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]])[: len(numbers)])

    def of_tile(self, zoom: int, x: int, y: int) -> ShownImages:
        """What the tile in column x and line y shows."""
        return self._of_square(zoom, zoom, x, y)

    def of_zoom(self, zoom: int) -> ShownImages:
        """What the whole map shows, tile by tile."""
        return self._of_square(zoom, 0, 0, 0)

    def within(self, zoom: int, bounds: tuple[float, float, float, float]) -> ShownImages:
        """What the cells show that a rectangle x0, y0, x1, y1 touches."""
        x0, y0, x1, y1 = np.clip(bounds, 0, SIDE).tolist()
        # Squares no smaller than the rectangle: it touches four of them at most.
        coarse = int(np.log2(SIDE / max(x1 - x0, y1 - y0, SIDE / 2**zoom)))
        square, last = SIDE / 2**coarse, 2**coarse - 1
        columns, lines = (
            range(min(last, int(start / square)), min(last, int(stop / square)) + 1)
            for start, stop in ((x0, x1), (y0, y1))
        )
        parts = [vars(self._of_square(zoom, coarse, x, y)) for y in lines for x in columns]
        shown = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        cell = SIDE / (CELLS_A_TILE << zoom)
        x, y = shown["columns"] * cell, shown["lines"] * cell
        touched = (x + cell > x0) & (x < x1) & (y + cell > y0) & (y < y1)
        return ShownImages(**{name: values[touched] for name, values in shown.items()})

    def of_most(self, count: int) -> ShownImages:
        """What the deepest zoom shows that shows at most so many images; zoom 0, if none does."""
        zooms = [zoom for zoom, firsts in enumerate(self.firsts) if len(firsts) <= count]
        return self.of_zoom(max(zooms, default=0))

    def first_zoom(self, row: int, position: np.ndarray) -> int:
        """The shallowest zoom at which an image (2,) is shown; the deepest, if it is at none."""
        code = self._codes(position[None])[0]
        start, stop = np.searchsorted(self.codes, [code, code + np.uint64(1)])
        place = start + int(np.flatnonzero(self.order[start:stop] == row)[0])
        for zoom, (firsts, chosen) in enumerate(zip(self.firsts, self.chosen)):
            if chosen[np.searchsorted(firsts, place, "right") - 1] == place:
                return zoom
        return self.deepest

    def _of_square(self, zoom: int, coarse: int, x: int, y: int) -> ShownImages:
        """What a zoom shows in the square that is the tile x, y of a `coarse` zoom."""
        shift = 2 * (self.deepest - coarse + CELL_BITS)
        number = int(interleaved(np.array([x], np.uint64), np.array([y], np.uint64))[0])
        bounds = np.array([number << shift, ((number + 1) << shift) - 1], np.uint64)
        start = np.searchsorted(self.codes, bounds[0], "left")
        stop = np.searchsorted(self.codes, bounds[1], "right")
        part = slice(*np.searchsorted(self.firsts[zoom], [start, stop]))
        chosen = self.chosen[zoom][part]
        numbers = self.codes[chosen] >> np.uint64(2 * (self.deepest - zoom))
        return ShownImages(
            self.order[chosen],
            np.diff(np.append(self.firsts[zoom][part], stop)),
            separated(numbers),
            separated(numbers >> np.uint64(1)),
        )


def deepest_zoom(count: int) -> int:
    """How far one can zoom into a map of so many images."""
    evenly = np.ceil(np.log2(max(CELLS_A_TILE, np.sqrt(count)) / CELLS_A_TILE))
    return int(min(DEEPEST, evenly + MORE_THAN_AVERAGE))


def representatives(points: np.ndarray, firsts: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Of each cell's points, the one nearest to their centre of mass, as a place in `points`.

    points (n, 2) are sorted by cell, and `firsts` says where each cell begins. A point that is
    shown already, at the zoom before, goes on standing for its cell: what one sees stays when one
    zooms in.
    """
    if not len(points):
        return firsts
    counts = np.diff(np.append(firsts, len(points)))
    centres = np.add.reduceat(points, firsts) / counts[:, None]
    distances = np.square(points - np.repeat(centres, counts, axis=0)).sum(axis=1)
    distances[shown] = -1
    least = np.minimum.reduceat(distances, firsts)
    nearest = np.flatnonzero(distances == np.repeat(least, counts))
    return nearest[np.searchsorted(nearest, firsts)]


def interleaved(columns: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The numbers on the Z-order curve of cells, uint64; both below 2^32."""
    return _spread(columns) | (_spread(lines) << np.uint64(1))


_STEPS = [
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    )
]


def _spread(values: np.ndarray) -> np.ndarray:
    """Puts a 0 before each binary digit."""
    for shift, mask in _STEPS:
        values = (values | (values << shift)) & mask
    return values


def separated(numbers: np.ndarray) -> np.ndarray:
    """Every second binary digit, from the last one on: the column; of numbers >> 1, the line."""
    values = numbers & _STEPS[-1][1]
    masks = [mask for _, mask in reversed(_STEPS[:-1])] + [np.uint64(0x00000000FFFFFFFF)]
    for (shift, _), mask in zip(reversed(_STEPS), masks):
        values = (values | (values >> shift)) & mask
    return values.astype(np.int64)
