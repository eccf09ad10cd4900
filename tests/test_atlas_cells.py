"""Which images the map shows at each zoom."""

import numpy as np
import pytest

from datasette_imgsim.atlas.cells import SIDE, Cells, interleaved, separated

random = np.random.default_rng(0)
SPREAD = random.random((3000, 2)) * SIDE
CROWDED = np.clip(128 + random.standard_normal((500, 2)), 0, 255)
POSITIONS = {
    "none": np.empty((0, 2)),
    "one": np.array([[0.0, 255.99]]),
    "two": np.array([[64, 128], [192, 128]]),
    "spread": SPREAD,
    "crowded": CROWDED,
    "copies": np.full((100, 2), 200.5),
    "corners": np.array([[0, 0], [0, 255.999999], [255.999999, 0], [255.999999, 255.999999]]),
}
positions_of = pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)


def cells_of(positions, zoom):
    return np.floor(positions / (SIDE / (4 << zoom))).astype(int)


def listed(shown):
    """(row, count, column, line) of each cell."""
    return zip(shown.rows, shown.counts, shown.columns, shown.lines)


@positions_of
def test_each_cell_shows_one_of_its_images_for_all_of_them(positions):
    cells = Cells(positions)
    for zoom in range(cells.deepest + 1):
        shown = cells.of_zoom(zoom)
        own = cells_of(positions[shown.rows], zoom)
        assert np.array_equal(own, np.column_stack([shown.columns, shown.lines]))
        everybody = [tuple(cell) for cell in cells_of(positions, zoom).tolist()]
        assert {tuple(cell): count for cell, count in zip(own.tolist(), shown.counts)} == {
            cell: everybody.count(cell) for cell in set(everybody)
        }


@positions_of
def test_what_is_shown_stays_when_one_zooms_in(positions):
    cells = Cells(positions)
    for zoom in range(1, cells.deepest + 1):
        before, after = (set(cells.of_zoom(z).rows.tolist()) for z in (zoom - 1, zoom))
        assert before <= after
        for row in before:
            assert cells.first_zoom(row, positions[row]) < zoom
        for row in after - before:
            assert cells.first_zoom(row, positions[row]) == zoom


@positions_of
def test_tiles_show_what_their_zoom_shows(positions):
    cells = Cells(positions)
    for zoom in range(min(cells.deepest, 3) + 1):
        found = [
            (row, count, column, line)
            for y in range(1 << zoom)
            for x in range(1 << zoom)
            for row, count, column, line in listed(cells.of_tile(zoom, x, y))
            if (column // 4, line // 4) == (x, y)
        ]
        assert sorted(found) == sorted(listed(cells.of_zoom(zoom)))


@pytest.mark.parametrize(
    "bounds",
    [
        (0, 0, 256, 256),
        (100, 3, 140, 250),
        (127.9, 127.9, 128.1, 128.1),
        (64, 64, 64, 64),
        (70.5, 70.5, 70.5, 70.5),
        (-9, 255, 2, 400),
        (300, 300, 400, 400),
        (0, 0, float("inf"), 1),
    ],
)
@positions_of
def test_a_rectangle_shows_the_cells_that_it_touches(positions, bounds):
    cells = Cells(positions)
    x0, y0, x1, y1 = bounds
    for zoom in range(cells.deepest + 1):
        cell = SIDE / (4 << zoom)
        wanted = [
            (row, count, column, line)
            for row, count, column, line in listed(cells.of_zoom(zoom))
            if x0 < (column + 1) * cell and column * cell < x1
            if y0 < (line + 1) * cell and line * cell < y1
        ]
        assert sorted(listed(cells.within(zoom, bounds))) == sorted(wanted)


def test_an_image_near_the_middle_stands_for_its_cell():
    around = [[30 + x, 30 + y] for x in (-9, 0, 9) for y in (-9, 0, 9)]
    cells = Cells(np.array([*around, [140, 140], [250, 3]]))
    shown = cells.of_zoom(0)
    assert around[shown.rows[0]] == [30, 30] and shown.counts[0] == 9


@pytest.mark.parametrize("copies", [0, 7])
def test_at_the_deepest_zoom_only_equal_places_share_a_cell(copies):
    grid = np.array([[8 * x + y / 8, 8 * y] for x in range(20) for y in range(20)])
    cells = Cells(np.concatenate([grid, grid[:copies]]))
    counts = cells.of_zoom(cells.deepest).counts
    assert sorted(counts.tolist()) == [1] * (400 - copies) + [2] * copies


def test_what_lies_closer_than_the_deepest_zoom_can_show_is_a_stack():
    cells = Cells(np.array([[10, 10], [10.001, 10], [200, 200]]))
    assert sorted(cells.of_zoom(cells.deepest).counts.tolist()) == [1, 2]


def test_nobody_need_zoom_in_where_nothing_more_is_shown():
    assert Cells(POSITIONS["copies"]).deepest == Cells(POSITIONS["one"]).deepest == 2
    assert Cells(np.array([[10, 10], [13, 10], [200, 200]])).deepest == 4


def test_numbers_of_cells_can_be_taken_apart():
    columns, lines = random.integers(0, 2**18, (2, 1000)).astype(np.uint64)
    numbers = interleaved(columns, lines)
    assert np.array_equal(separated(numbers), columns)
    assert np.array_equal(separated(numbers >> np.uint64(1)), lines)
    assert interleaved(np.array([3], np.uint64), np.array([5], np.uint64)).tolist() == [0b100111]


@positions_of
def test_a_cell_shows_a_wanted_image_if_it_has_one_and_keeps_it_when_one_zooms_in(positions):
    cells = Cells(positions)
    wanted = np.arange(len(positions)) % 7 == 0
    before = set()
    for zoom in range(cells.deepest + 1):
        shown = cells.of_zoom(zoom, wanted)
        places = cells_of(positions, zoom)
        for row, count, column, line in zip(shown.rows, shown.wanted, shown.columns, shown.lines):
            inside = (places == (column, line)).all(axis=1)
            assert inside[row] and count == np.count_nonzero(wanted & inside)
            assert wanted[row] == (count > 0)
        assert np.array_equal(shown.counts, cells.of_zoom(zoom).counts)
        now = {row for row in shown.rows.tolist() if wanted[row]}
        assert before <= now
        before = now
