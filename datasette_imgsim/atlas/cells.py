"""Which images stand for their neighbourhood at each zoom of the map, or of the wall.

Both lie in a square of 256 x 256 units. At zoom z it has 2^z x 2^z tiles of 4 x 4 cells, and each
cell that is not empty shows one image. Cells are numbered along a Z-order curve (Morton 1966), so
the cells inside a cell of an earlier zoom have consecutive numbers. After the finest zoom there may
be some that only enlarge its cells, so that a tile has fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 256
CELLS_A_TILE = 4
CELL_BITS = 2
MORE_THAN_AVERAGE = 4
"""How many zooms deeper the map goes than evenly spread images would need."""
SHALLOWEST, DEEPEST = 2, 16
"""The range of the finest zoom of a map. At zoom 2 the map fills a screen."""


@dataclass(frozen=True)
class ShownImages:
    """The images that one part of the map or the wall shows at one zoom; arrays (shown,)."""

    rows: np.ndarray
    """The image, as a row of the atlas."""
    counts: np.ndarray
    """How many images it stands for, itself included."""
    columns: np.ndarray
    """The column of its cell, counted from the left of the whole square."""
    lines: np.ndarray
    """The line of its cell, counted from the top of the whole square."""
    wanted: np.ndarray
    """How many of them are wanted; all, if nobody asks for some of them."""


class Cells:
    """The cells of all zooms, from 0 to `finest`; from there to `deepest` they are enlarged.

    `order` (n,) holds the rows of the atlas sorted by cell, and `codes` (n,) the numbers of their
    cells at the finest zoom. For each zoom up to it, `firsts` (cells,) are the places in `order`
    where cells begin, and `chosen` (cells,) the places of the images they show.
    """

    def __init__(self, positions: np.ndarray, finest: int | None = None, enlarged: int = 0):
        """`positions` (n, 2) are x and y of each row of the atlas, 0 <= x, y < 256.

        Without `finest`, it follows from how many images there are. `enlarged` is the number of
        zooms after it, at most 2.
        """
        self.finest = finest_zoom(len(positions)) if finest is None else finest
        codes = self._codes(positions)
        self.order = np.argsort(codes, kind="stable").astype(np.int32)
        self.codes = codes[self.order]
        if finest is None:
            self._drop_needless_zooms()
        self.deepest = self.finest + enlarged
        self.firsts, self.chosen = [], []
        points = positions[self.order].astype(np.float64)
        chosen = np.empty(0, np.int32)
        for zoom in range(self.finest + 1):
            firsts = self._firsts(zoom)
            chosen = representatives(points, firsts, chosen)
            self.firsts.append(firsts.astype(np.int32))
            self.chosen.append(chosen.astype(np.int32))

    def _codes(self, positions: np.ndarray) -> np.ndarray:
        """The number of each position's cell at the finest zoom, (n,) uint64."""
        cells = 1 << (self.finest + CELL_BITS)
        columns_lines = (np.asarray(positions, np.float64) * (cells / SIDE)).astype(np.uint64)
        return interleaved(columns_lines[:, 0], columns_lines[:, 1])

    def _drop_needless_zooms(self) -> None:
        """Drops finest zooms that have no more cells than the zoom before."""
        cells = len(self._firsts(self.finest))
        while self.finest > SHALLOWEST and len(self._firsts(self.finest - 1)) == cells:
            self.codes >>= np.uint64(2)
            self.finest -= 1

    def _firsts(self, zoom: int) -> np.ndarray:
        """The places in `order` where the cells of a zoom begin, without empty ones."""
        numbers = self.codes >> np.uint64(2 * (self.finest - zoom))
        return np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]])[: len(numbers)])

    def cells_a_tile(self, zoom: int) -> int:
        """How many cells each side of a tile has."""
        return CELLS_A_TILE >> max(0, zoom - self.finest)

    # `wanted` (n,) bool marks the rows of the atlas to which a cell that has some gives its place.

    def of_tile(self, zoom: int, x: int, y: int, wanted: np.ndarray | None = None) -> ShownImages:
        """The images on the tile in column x and line y."""
        return self._of_square(min(zoom, self.finest), zoom, x, y, wanted)

    def of_zoom(self, zoom: int, wanted: np.ndarray | None = None) -> ShownImages:
        """The images of the whole square, tile by tile."""
        return self._of_square(min(zoom, self.finest), 0, 0, 0, wanted)

    def within(
        self,
        zoom: int,
        bounds: tuple[float, float, float, float],
        wanted: np.ndarray | None = None,
    ) -> ShownImages:
        """The images in the cells that a rectangle x0, y0, x1, y1 (in map units) touches."""
        zoom = min(zoom, self.finest)
        x0, y0, x1, y1 = np.clip(bounds, 0, SIDE).tolist()
        # These squares are no smaller than the rectangle, so it touches at most four of them.
        coarse = int(np.log2(SIDE / max(x1 - x0, y1 - y0, SIDE / 2**zoom)))
        square, last = SIDE / 2**coarse, 2**coarse - 1
        columns, lines = (
            range(min(last, int(start / square)), min(last, int(stop / square)) + 1)
            for start, stop in ((x0, x1), (y0, y1))
        )
        parts = [vars(self._of_square(zoom, coarse, x, y, wanted)) for y in lines for x in columns]
        shown = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        cell = SIDE / (CELLS_A_TILE << zoom)
        x, y = shown["columns"] * cell, shown["lines"] * cell
        touched = (x + cell > x0) & (x < x1) & (y + cell > y0) & (y < y1)
        return ShownImages(**{name: values[touched] for name, values in shown.items()})

    def of_most(self, count: int) -> ShownImages:
        """The images of the finest zoom that shows at most `count` of them, else of zoom 0."""
        zooms = [zoom for zoom, firsts in enumerate(self.firsts) if len(firsts) <= count]
        return self.of_zoom(max(zooms, default=0))

    def first_zoom(self, row: int, position: np.ndarray) -> int:
        """The first zoom that shows the image in `row`, at `position` (2,); else the finest."""
        code = self._codes(position[None])[0]
        start, stop = np.searchsorted(self.codes, [code, code + np.uint64(1)])
        place = start + int(np.flatnonzero(self.order[start:stop] == row)[0])
        for zoom, (firsts, chosen) in enumerate(zip(self.firsts, self.chosen)):
            if chosen[np.searchsorted(firsts, place, "right") - 1] == place:
                return zoom
        return self.finest

    def _of_square(
        self, zoom: int, coarse: int, x: int, y: int, wanted: np.ndarray | None
    ) -> ShownImages:
        """The images that a zoom shows inside the tile x, y of a `coarse` zoom."""
        shift = 2 * (self.finest - coarse + CELL_BITS)
        number = int(interleaved(np.array([x], np.uint64), np.array([y], np.uint64))[0])
        bounds = np.array([number << shift, ((number + 1) << shift) - 1], np.uint64)
        start = np.searchsorted(self.codes, bounds[0], "left")
        stop = np.searchsorted(self.codes, bounds[1], "right")
        part = slice(*np.searchsorted(self.firsts[zoom], [start, stop]))
        chosen = self.chosen[zoom][part]
        numbers = self.codes[chosen] >> np.uint64(2 * (self.finest - zoom))
        rows = self.order[chosen]
        counts = np.diff(np.append(self.firsts[zoom][part], stop))
        columns, lines = separated(numbers), separated(numbers >> np.uint64(1))
        if wanted is None:
            return ShownImages(rows, counts, columns, lines, counts)
        # The first of a cell is also the first of a later zoom's cell: it stays visible.
        places = start + np.flatnonzero(wanted[self.order[start:stop]])
        before = np.searchsorted(places, np.append(self.firsts[zoom][part], stop))
        found = np.diff(before)
        instead = found > 0
        rows[instead] = self.order[places[before[:-1][instead]]]
        return ShownImages(rows, counts, columns, lines, found)


def finest_zoom(count: int) -> int:
    """The finest zoom of a map of `count` images."""
    evenly = np.ceil(np.log2(max(CELLS_A_TILE, np.sqrt(count)) / CELLS_A_TILE))
    return int(min(DEEPEST, evenly + MORE_THAN_AVERAGE))


def representatives(points: np.ndarray, firsts: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The places (cells,) in `points` of the points that represent their cells.

    `points` (n, 2) are sorted by cell, and `firsts` (cells,) are the places where cells begin. A
    cell is represented by the point nearest to the centre of mass of its points, unless one of
    them is `shown`, at the zoom before: visible images stay visible when one zooms in.
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
    """The Z-order numbers (uint64) of cells, from their columns and lines (uint64, below 2^32)."""
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
    """Inserts a 0 before each bit."""
    for shift, mask in _STEPS:
        values = (values | (values << shift)) & mask
    return values


def separated(numbers: np.ndarray) -> np.ndarray:
    """Every second bit of Z-order numbers, as int64: the columns, or the lines of numbers >> 1."""
    values = numbers & _STEPS[-1][1]
    masks = [mask for _, mask in reversed(_STEPS[:-1])] + [np.uint64(0x00000000FFFFFFFF)]
    for (shift, _), mask in zip(reversed(_STEPS), masks):
        values = (values | (values >> shift)) & mask
    return values.astype(np.int64)
