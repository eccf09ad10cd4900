"""Why two pictures are alike: the heat of all cells adds up to the score, and lies where it is."""

import io

import numpy as np
import pytest
from helpers.networks import BUNDLED, by_level, drawn, network
from PIL import Image

from datasette_imgsim.explore import heat
from datasette_imgsim.explore.why import heats
from datasette_imgsim.ingest.resize import RESIZE, region
from datasette_imgsim.models.pooling import POOLINGS, along, pooled

LEVELS = {
    "vgg16-oxford": ["pool2", "conv5_3", "pool5"],
    "efficientnet-lite": ["stage2", "stage5", "head"],
    "vgg11": ["pool1", "pool4"],
    "toy": ["pool1", "pool2"],
}


def score(network, centre, weights, pair):
    """The score of two pictures by what a score is: the weighted mean of the levels' cosines."""
    units, _ = network.vectors(pair)
    total = 0
    for weight, level, middle in zip(weights, by_level(network, units), by_level(network, centre)):
        one, other = level.astype(float) - middle
        total += weight * one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return total


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", LEVELS)
def test_the_heat_of_either_picture_adds_up_to_the_score(name, pooling, weights, toy):
    own = weights if name == "vgg11" else None
    size = None if name == "toy" else 96
    net = network(name, LEVELS[name], pooling=pooling, weights=own, size=size)
    pictures = drawn(net.size)
    centre = net.vectors(pictures)[0].mean(axis=0, keepdims=True)
    mirrored = np.stack([pictures[0], pictures[0][:, ::-1]])
    for pair, shares in ((pictures[:2], [0.2, 0.3, 0.5]), (mirrored, [1, 0, 0])):
        level_weights = np.array(shares[: len(net.levels)]) / sum(shares[: len(net.levels)])
        found = heats(net, centre[0], level_weights, pair)
        expected = score(net, centre, level_weights, pair)
        for number in (0, 1):
            total = sum(each.heats[number].sum() for each in found)
            assert total == pytest.approx(expected, abs=1e-4)
        assert sum(each.share for each in found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("pooling", ["avg", "gem", "max"])
@pytest.mark.parametrize("name", BUNDLED)
def test_pictures_that_share_a_part_are_alike_in_that_part(name, pooling):
    net = network(name, pooling=pooling)
    size = net.size
    slope, board, _ = drawn(size)
    third = size // 3
    one, other = np.full((2, size, size, 3), 128, np.uint8)
    one[:third, :third] = board[:third, :third]
    other[-third:, -third:] = board[:third, :third]
    weights = np.full(len(net.levels), 1 / len(net.levels))
    centre = net.vectors(np.stack([slope, np.full_like(slope, 128)]))[0].mean(axis=0)
    found = heats(net, centre, weights, np.stack([one, other]))
    first, second = (
        heat.laid_out([each.heats[number] for each in found], (0, 0, 1, 1), size, size)
        for number in (0, 1)
    )
    half = len(first) // 2
    assert first[:half, :half].mean() > 3 * first[half:, half:].mean()
    assert second[half:, half:].mean() > 1.5 * second[:half, :half].mean()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_shares_of_cells_by_hand(pooling):
    maps = np.array([[[0, 1], [1, 2]], [[-1, 3], [0, 0]]], float)
    vector = pooled(maps[None], pooling)[0]
    direction = np.arange(1, 1 + len(vector), dtype=float)
    found = along(maps, pooling, direction)
    assert found.sum() == pytest.approx(vector @ direction)
    expected = {
        "avg": [[-0.5, 1.75], [0.25, 0.5]],
        "max": [[0, 6], [0, 2]],
        "flatten": [[-5, 20], [3, 8]],
    }
    if pooling in expected:
        assert found == pytest.approx(np.array(expected[pooling]))
    else:  # by its cubes: 0, 1, 1 and 8 of 10, and all of the second channel at one place
        assert found[1] == pytest.approx(vector[0] * np.array([0.1, 0.8]))
        assert found[0] == pytest.approx([0, vector[0] * 0.1 + 2 * vector[1]])


def test_equal_largest_cells_share():
    assert along(np.full((1, 2, 2), 3.0), "max", np.ones(1)) == pytest.approx(np.full((2, 2), 0.75))


@pytest.mark.parametrize("resize", RESIZE)
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (200, 200)])
def test_heat_lies_over_what_the_network_saw(resize, size):
    """A white spot in a black picture is where the network's input is brightest."""
    picture = Image.new("RGB", size)
    spot = (120, 100, 140, 120)
    picture.paste("white", spot)
    cells = np.asarray(RESIZE[resize](picture, 64).convert("L"), float)
    if resize == "pad":
        cells[np.asarray(RESIZE[resize](Image.new("RGB", size), 64).convert("L")) > 0] = 0
    found = heat.laid_out([cells], region(resize, *size), *size)
    assert found.shape[1] / found.shape[0] == pytest.approx(size[0] / size[1], rel=1e-3)
    y, x = np.unravel_index(found.argmax(), found.shape)
    scale = max(size) / max(found.shape)
    assert x * scale == pytest.approx(130, abs=15) and y * scale == pytest.approx(110, abs=15)


@pytest.mark.parametrize(
    "cells, expected",
    [
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], "all over it"),
        ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], "mostly the upper left"),
        ([[0, 0, 0], [0, 4, 0], [0, 5, -9]], "mostly the bottom"),
        ([[2, 0, 0], [2, 2, 2], [0, 0, 0]], "mostly the upper left and left"),
        ([[-1, -1, -1], [0, 0, 0], [0, 0, 0]], "nowhere"),
    ],
)
def test_where_heat_is_in_words(cells, expected):
    found = np.kron(np.array(cells, float), np.ones((10, 10)))
    assert heat.in_words(found) == expected


def test_heat_is_drawn_brighter_the_more_it_is():
    drawn_heat = heat.as_png(np.linspace(-0.2, 1, 60, dtype=np.float32)[None].repeat(2, axis=0))
    overlay = Image.open(io.BytesIO(drawn_heat))
    for ground in ("black", "gray", "white"):
        picture = Image.new("RGBA", overlay.size, ground)
        picture.alpha_composite(overlay)
        values = np.asarray(picture.convert("L"), float)[0]
        assert values[-1] > values[0] + 25
        assert (np.diff(values) >= -3).all() or ground == "white"
    nothing = Image.open(io.BytesIO(heat.as_png(np.full((2, 2), -1, np.float32))))
    assert nothing.getpixel((0, 0)) == heat.COLOURS[0][1]
