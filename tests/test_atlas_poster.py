"""The whole map as one picture: `map --png`."""

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import change, lay_out, make_space, random_vectors, rows
from PIL import Image

from datasette_imgsim.atlas.cells import Cells
from datasette_imgsim.atlas.poster import apart

random = np.random.default_rng(0)


@pytest.fixture
def crowded(copy_photos):
    """A copy of `photos` whose images all lie close together."""
    ids = rows(copy_photos / "photos.db", "select id from images")
    lay_out(copy_photos / "photos.db", {id: (100 + id / 10, 100) for id in ids})
    return copy_photos


def coloured(path):
    """How many of the pixels are no background."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.array(image.convert("RGB"), int)
    return pixels.shape[:2], (np.abs(pixels - (34, 39, 46)).sum(axis=2) > 60).mean()


def test_every_image_is_drawn_beside_the_others(crowded):
    poster = crowded / "poster.png"
    printed = imgsim("map", crowded / "photos.db", "--png", poster, "--size", 400)
    assert f"{poster} shows 24 of 24 images." in printed
    size, share = coloured(poster)
    # 24 of 8 x 8 cells, thumbnails of 4:3 with a gap around them
    assert size == (400, 400) and 0.2 < share < 24 / 64


@pytest.mark.parametrize("jpeg", ["'text'", "cast(x'ffd8' as text)", "5"])
def test_a_thumbnail_that_is_no_picture_is_a_plain_square(crowded, jpeg):
    change(crowded / "photos.db", f"update imgsim_thumbnails set jpeg = {jpeg} where image_key = 3")
    poster = crowded / "poster.png"
    printed = imgsim("map", crowded / "photos.db", "--png", poster, "--size", 400)
    assert "shows 24 of 24 images." in printed


def test_where_there_is_no_room_some_stand_for_the_others(crowded):
    poster = crowded / "poster.png"
    printed = imgsim("map", crowded / "photos.db", "--png", poster, "--size", 64)
    assert "of 24 images" in printed and "shows 24" not in printed
    assert coloured(poster)[0] == (64, 64)


@pytest.mark.parametrize(
    "size, shown, height, filled",
    [(400, 24, 400, 24 / 25), (120, 24, 120, 24 / 25), (90, 8, 90, 8 / 9), (64, 8, 64, 8 / 9)],
)
def test_the_wall_has_no_gaps(crowded, size, shown, height, filled):
    poster = crowded / "poster.png"
    printed = imgsim("map", crowded / "photos.db", "--png", poster, "--wall", "--size", size)
    assert f"{poster} shows {shown} of 24 images." in printed
    drawn, share = coloured(poster)
    assert drawn == (height, size) and abs(share - filled) < 0.02


def test_a_wall_is_no_higher_than_its_lines(tmp_path):
    path = make_space(tmp_path / "photos.db", random_vectors(5))
    lay_out(path, {id: (40 * id, 20 * id) for id in range(1, 6)})
    imgsim("map", path, "--png", tmp_path / "wall.png", "--wall", "--size", 300)
    with Image.open(tmp_path / "wall.png") as image:
        assert image.size == (300, 200)


def test_a_wall_needs_a_file_to_be_drawn_in(crowded):
    printed = imgsim("map", crowded / "photos.db", "--wall", exit_code=2)
    assert "--wall is about the picture of the map: name it with --png FILE" in printed


def test_a_picture_that_cannot_be_written_is_a_sentence(crowded):
    poster = crowded / "no such folder" / "poster.png"
    printed = imgsim("map", crowded / "photos.db", "--png", poster, exit_code=1)
    assert f"{poster} cannot be written (No such file or directory): name another" in printed


@pytest.mark.parametrize(
    "positions, cells",
    [
        (np.full((16, 2), 3.0), 4),
        (np.full((9, 2), 255.9), 5),
        (random.random((300, 2)) * 256, 30),
    ],
)
def test_each_image_has_a_cell_of_its_own(positions, cells):
    found = apart(positions, cells)
    assert len({tuple(cell) for cell in found.tolist()}) == len(positions)
    assert found.min() >= 0 and found.max() < cells


def test_an_image_lies_where_it_is_on_the_map_if_nobody_else_does():
    positions = np.array([[x * 32 + 9.0, y * 32 + 20] for x in range(8) for y in range(8)])
    assert np.array_equal(apart(positions, 8), np.floor(positions / 32).astype(int))


def test_those_who_make_room_stay_near():
    positions = np.concatenate([np.full((9, 2), 112.0), [[16.0, 16.0]]])
    found = apart(positions, 8)
    assert np.abs(found[:9] - 3).max() == 1 and found[9].tolist() == [0, 0]


@pytest.mark.parametrize("most, shown", [(1, 4), (4, 4), (15, 4), (16, 16), (10**6, 16)])
def test_the_zoom_with_most_images_is_chosen(most, shown):
    corners = [[x + dx, y + dy] for x in (1, 65) for y in (1, 65) for dx in (0, 9) for dy in (0, 9)]
    assert len(Cells(np.array(corners, float)).of_most(most).rows) == shown
