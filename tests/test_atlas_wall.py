"""The wall: a full grid on which neighbours of the map stay neighbours."""

import numpy as np
import pytest

from datasette_imgsim.atlas import wall
from datasette_imgsim.atlas.cells import SIDE
from datasette_imgsim.atlas.load import MAP, WALL, Atlas

random = np.random.default_rng(0)


def atlas_of(positions):
    return Atlas(None, np.arange(len(positions)), positions, np.ones(len(positions), bool))


def places(count):
    return random.random((count, 2)) * SIDE


@pytest.mark.parametrize(
    "count, columns, lines",
    [(0, 0, 0), (1, 1, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (24, 5, 5), (100, 10, 10)],
)
def test_the_wall_is_about_square(count, columns, lines):
    assert wall.sides(count) == (columns, lines)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 10, 12, 13, 17, 90, 101, 1000, 5000])
@pytest.mark.parametrize("spread", [1, 0], ids=["apart", "all on one spot"])
def test_every_image_has_a_cell_and_only_the_last_line_ends_early(count, spread):
    cells = wall.assigned(places(count) * spread)
    columns, lines = wall.sides(count)
    numbers = cells[:, 1] * columns + cells[:, 0]
    assert sorted(numbers.tolist()) == list(range(count))
    assert cells[:, 0].max(initial=-1) < max(1, columns) and cells[:, 1].max(initial=-1) < lines


def test_images_on_a_grid_stay_where_they_are():
    grid = np.array([[x, y] for y in range(13) for x in range(13)])
    shuffled = random.permutation(grid)
    assert np.array_equal(wall.assigned(shuffled * 19.0), shuffled)


def test_neighbours_stay_neighbours():
    positions = places(2500)
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:6]
    cells = wall.assigned(positions)
    steps = np.abs(cells[nearest] - cells[:, None]).max(axis=2)
    assert (steps <= 3).mean() > 0.8
    by_chance = np.abs(cells[random.permutation(nearest)] - cells[:, None]).max(axis=2)
    assert (by_chance <= 3).mean() < 0.1


def test_the_same_map_gives_the_same_wall():
    positions = places(777)
    assert np.array_equal(wall.assigned(positions), wall.assigned(positions.copy()))


@pytest.mark.parametrize("count", [1, 3, 24, 300, 1025])
def test_each_cell_of_each_zoom_shows_an_image(count):
    view = atlas_of(places(count)).view(WALL)
    columns, lines = wall.sides(count)
    for zoom in range(view.cells.finest, -1, -1):
        shown = view.cells.of_zoom(zoom)
        assert shown.counts.sum() == count
        line_lengths = np.bincount(shown.lines)
        assert (line_lengths[:-1] == columns).all() and len(line_lengths) == lines
        columns, lines = (columns + 1) // 2, (lines + 1) // 2
    assert view.cells.of_zoom(view.cells.finest).counts.max() == 1


@pytest.mark.parametrize("count", [1, 24, 300])
def test_the_last_zoom_shows_one_picture_a_tile(count):
    view = atlas_of(places(count)).view(WALL)
    cells, deepest = view.cells, view.cells.deepest
    assert [cells.cells_a_tile(zoom) for zoom in range(deepest - 2, deepest + 1)] == [4, 2, 1]
    found = []
    for row, (x, y) in enumerate(view.positions.tolist()):
        tile = SIDE / 2**deepest
        found += cells.of_tile(deepest, int(x / tile), int(y / tile)).rows.tolist()
        assert found[-1] == row
        (alone,) = cells.within(deepest, (x, y, x, y)).rows
        assert alone == row
    assert sorted(found) == list(range(count))


def test_what_is_inside_a_rectangle_of_the_wall():
    atlas = atlas_of(places(24))
    view = atlas.view(WALL)
    assert len(view.inside(0, 0, view.width, view.height)) == 24
    assert len(view.inside(0, 0, view.width, view.height / 5)) == 5
    assert len(view.inside(view.width, 0, SIDE, SIDE)) == 0
    assert atlas.view(MAP).positions is atlas.positions
