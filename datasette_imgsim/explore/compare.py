"""Compares thumbnails: whether two pictures are one, though resized, cropped, turned or written on.

It goes from coarse to fine, so that most pairs cost next to nothing:

1. Of each thumbnail there are the lowest frequencies of its brightness (its *spectrum*), whole and
   of 35 crops. Turning and mirroring only permute them and change their signs, so the spectra of
   two pictures are compared in all eight orientations at once.
2. Where they agree, one picture is laid onto the other: its place and size are refined by
   Gauss-Newton steps (Baker and Matthews 2004, Lucas-Kanade 20 Years On), together with brightness
   and contrast.
3. Then the details are compared square by square. In the same picture nearly all squares agree,
   whatever was written over some of them. In pictures that are only alike they do not.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..limits import LIMITS

SIDE, FINE_SIDE = 32, 64
"""Pixels of the side of the squares in which thumbnails are compared, coarsely and finely."""
FREQUENCIES = 8
SQUARE = 4
"""Pixels of the side of the squares in which details are compared."""
SMALL = 48
"""A thumbnail with a shorter side shows no details beyond those of SIDE pixels."""
DISTURBED, DISTURBED_ROUGHLY = 0.35, 0.5
"""The share of the squares that may differ, such as those that were written on. In the coarse
picture, in which there are fewer squares, writing disturbs more of them."""
GREY = 3.0
"""Less colour than this, Cb and Cr off their middle, counts as none."""
FLAT = 2.0
"""A square with less contrast (standard deviation, 0..255) shows nothing that can be compared."""
STEPS, FINE_STEPS = 6, 3
LARGEST_STEP = 0.06
"""A window moves by no more of its length at once."""
HELD = np.array([1, 0.1, 1, 0.1, 0.01, 1e-4], np.float32)
"""How much moves, stretches, contrast and brightness are held back, for each pixel: where there is
little to be seen, they are not determined."""
LENGTHS = 0.5, 1.5
"""The shortest and the longest window, as shares of a side."""

MIRRORED, FLIPPED, TRANSPOSED = 1, 2, 4
"""An orientation is a sum of these: transposed first, then flipped left to right, top to bottom."""
ORIENTATIONS = (
    "", "mirrored", "mirrored and turned by 180°", "turned by 180°",
    "mirrored and turned by 90°", "turned by 90°", "turned by 90°", "mirrored and turned by 90°",
)  # fmt: skip
"""The eight orientations in words, which do not say to which side a picture is turned."""


def oriented(picture: np.ndarray, orientation: int) -> np.ndarray:
    """A picture (height, width, …), laid in one of the eight orientations."""
    if orientation & TRANSPOSED:
        picture = picture.swapaxes(0, 1)
    if orientation & MIRRORED:
        picture = picture[:, ::-1]
    return picture[::-1] if orientation & FLIPPED else picture


def _orientations_of_spectra() -> tuple[np.ndarray, np.ndarray]:
    """(places (8, 64), signs (8, 64)): spectrum[places[o]] * signs[o] is that of orientation o."""
    places = np.arange(FREQUENCIES**2).reshape(FREQUENCIES, FREQUENCIES)
    sign = (-1.0) ** np.arange(FREQUENCIES)
    of_all = [
        (
            places.T if orientation & TRANSPOSED else places,
            np.outer(
                sign if orientation & FLIPPED else sign**2,
                sign if orientation & MIRRORED else sign**2,
            ),
        )
        for orientation in range(len(ORIENTATIONS))
    ]
    return (
        np.stack([place.ravel() for place, _ in of_all]),
        np.stack([signs.ravel() for _, signs in of_all]).astype(np.float32),
    )


PLACES, SIGNS = _orientations_of_spectra()
WINDOWS = [
    (float(start), 1 - cut)
    for cut, starts in ((0, 1), (0.08, 3), (0.16, 3), (0.24, 4))
    for start in np.linspace(0, cut, starts)
]
"""(start, length) of the parts of a side that crops keep, as shares of it."""
BOXES = [
    (x, y)
    for x, (_, width) in enumerate(WINDOWS)
    for y, (_, height) in enumerate(WINDOWS)
    if width == height
]
"""The crops: a window of the width and one of the height. The first is the whole picture."""


def _cosines() -> np.ndarray:
    """The cosines of the lowest frequencies in each window of a side, (windows, 8, SIDE)."""
    edges = np.arange(SIDE + 1) / SIDE
    bases = np.empty((len(WINDOWS), FREQUENCIES, SIDE), np.float32)
    for number, (start, length) in enumerate(WINDOWS):
        within = np.clip((edges - start) / length, 0, 1)
        middle, share = (within[1:] + within[:-1]) / 2, np.diff(within)
        bases[number] = np.cos(np.pi * np.outer(np.arange(FREQUENCIES), middle)) * share
    return bases


COSINES = _cosines()


def pixels(jpeg: bytes | None, side: int) -> tuple[np.ndarray, bool] | None:
    """(the thumbnail squeezed into a square (side, side, 3) uint8, whether it is a small one)

    The numbers are brightness, Cb and Cr. None if the thumbnail is missing, damaged, or none of
    ours: a database may come from elsewhere.
    """
    if jpeg is None or len(jpeg) > LIMITS.bytes_of_thumbnail:
        return None
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if max(image.size) > LIMITS.side_of_thumbnail or "progressive" in image.info:
                return None
            is_small = min(image.size) < SMALL
            image.draft("YCbCr", (side, side))
            image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
            return np.asarray(image.convert("YCbCr")), is_small
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def spectra(brightness: np.ndarray, whole_only: bool = False) -> np.ndarray:
    """The spectra of pictures (n, SIDE, SIDE), each of length 1 or 0: (n, boxes, 64) float32.

    Of a picture that is all of one brightness they are 0.
    """
    boxes = BOXES[:1] if whole_only else BOXES
    values = brightness.astype(np.float32)
    columns = values[:, None] @ COSINES[: 1 if whole_only else None].swapaxes(1, 2)
    found = np.stack([COSINES[y] @ columns[:, x] for x, y in boxes], axis=1)
    found = found.reshape(*found.shape[:2], FREQUENCIES**2)
    found[:, :, 0] = 0
    # The mean brightness of a crop that is not whole pixels leaks into the other frequencies.
    lengths = np.linalg.norm(found, axis=2, keepdims=True)
    return np.where(lengths > FLAT, found / np.maximum(lengths, 1e-6), 0)


@dataclass(frozen=True)
class Rough:
    """How alike pairs of pictures are by their spectra, and how the second lies on the first."""

    likeness: np.ndarray
    """(pairs,) -1..1."""
    orientation: np.ndarray
    """(pairs,) of the second picture."""
    box: np.ndarray
    """(pairs,) the crop of the first picture that the whole second one is most like."""


def rough(crops: np.ndarray, wholes: np.ndarray) -> Rough:
    """Compares the crops (pairs, boxes, 64) of first pictures with second ones (pairs, 64)."""
    turned = wholes[:, PLACES] * SIGNS
    products = crops @ turned.swapaxes(1, 2)
    flat = products.reshape(len(products), -1)
    best = flat.argmax(axis=1)
    return Rough(
        flat[np.arange(len(flat)), best], best % len(ORIENTATIONS), best // len(ORIENTATIONS)
    )


def placed(first: np.ndarray, second: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lays second pictures, in their right orientation, onto crops of first ones.

    Both are brightnesses (pairs, SIDE, SIDE), and `box` is (pairs,). Gives the windows of the first
    pictures (pairs, 4) that the second ones show, and how their coarse details agree (pairs,).
    """
    first, second = (each.astype(np.float32) for each in (first, second))
    windows = np.array([[*WINDOWS[x], *WINDOWS[y]] for x, y in BOXES], np.float32)[box]
    windows = _refined(first, second, windows, STEPS)
    laid, inside = _laid(first, windows)
    return windows, _agreement(laid, second, inside, DISTURBED_ROUGHLY)


@dataclass(frozen=True)
class Match:
    """How pairs of pictures agree when the second is laid onto the first, (pairs,) each."""

    agreement: np.ndarray
    """-1..1: the correlation of the pixels that all but DISTURBED of the squares reach."""
    overlap: np.ndarray
    """0..1: the share of the first picture that the second covers, times that of the second which
    lies on the first."""
    colours: np.ndarray
    """-1..1: the cosine of the colours of their squares; 1 where one of them is grey."""


def match(first: np.ndarray, second: np.ndarray, windows: np.ndarray, small: np.ndarray) -> Match:
    """Compares the details of pictures that `placed` has laid onto each other.

    Both are (pairs, FINE_SIDE, FINE_SIDE, 3) as `pixels` gives them. Only half of that resolution
    is compared where `small` (pairs,) is true.
    """
    one, two = (each.astype(np.float32) for each in (first, second))
    windows = _refined(one[..., 0], two[..., 0], windows, FINE_STEPS)
    laid, inside = _laid(one[..., 0], windows)
    colours = np.stack([_laid(one[..., n], windows)[0] for n in (1, 2)], axis=3)
    agreement = np.where(
        small,
        _agreement(_halved(laid), _halved(two[..., 0]), _halved(inside) == 1),
        _agreement(laid, two[..., 0], inside),
    )
    same_colours = _same_colours(colours, two[..., 1:], inside)
    return Match(agreement, _overlap(windows, inside), same_colours)


def _halved(values: np.ndarray) -> np.ndarray:
    n, side, _ = values.shape
    return values.reshape(n, side // 2, 2, side // 2, 2).mean(axis=(2, 4))


def _weights(start: np.ndarray, length: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(linear interpolation at the pixels of a window (n, side, side), which are inside (n, side))

    `start` and `length` (n,) are shares of the side.
    """
    middles = (np.arange(side, dtype=np.float32) + 0.5) / side
    places = (start[:, None] + length[:, None] * middles) * side - 0.5
    inside = (places > -0.5) & (places < side - 0.5)
    places = places.clip(0, side - 1)
    distances = np.abs(places[:, :, None] - np.arange(side, dtype=np.float32))
    return np.maximum(1 - distances, 0), inside


def _laid(values: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the windows of pictures, (n, side, side); where they are inside of these, likewise)"""
    side = values.shape[1]
    across, inside_x = _weights(windows[:, 0], windows[:, 1], side)
    down, inside_y = _weights(windows[:, 2], windows[:, 3], side)
    return down @ values @ across.swapaxes(1, 2), inside_y[:, :, None] & inside_x[:, None, :]


def _refined(values: np.ndarray, wanted: np.ndarray, windows: np.ndarray, steps: int) -> np.ndarray:
    """The windows (n, 4) of pictures that are most like the wanted ones, after so many steps."""
    n, side, _ = values.shape
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    for _ in range(steps):
        laid, inside = _laid(values, windows)
        down, across = np.gradient(laid, axis=(1, 2))
        # How the window changes if it is moved and stretched, in pixels; contrast and brightness.
        columns = np.stack(
            [across, across * place, down, down * place[:, None], laid - 128, np.ones_like(laid)],
            axis=1,
        ).reshape(n, 6, -1)
        weighted = columns * inside.reshape(n, 1, -1)
        normal = weighted @ columns.swapaxes(1, 2)
        normal += np.eye(6, dtype=np.float32) * (1e-3 * normal + HELD * side**2)
        solved = np.linalg.solve(normal, weighted @ wanted.reshape(n, -1, 1))
        windows = _moved(windows, solved[:, :4, 0], solved[:, 4], side)
    return windows


def _moved(windows: np.ndarray, moves: np.ndarray, contrast: np.ndarray, side: int) -> np.ndarray:
    """The windows after (n, 4) moves and stretches in pixels, seen in this contrast (n, 1)."""
    steps = moves / np.where(np.abs(contrast) > 0.1, contrast, np.inf) / side
    steps = steps.clip(-LARGEST_STEP, LARGEST_STEP) * np.repeat(windows[:, 1::2], 2, axis=1)
    changed = windows + steps
    # They are stretched around their middles.
    changed[:, ::2] -= steps[:, 1::2] / 2
    changed[:, 1::2] = changed[:, 1::2].clip(*LENGTHS)
    return changed


def _agreement(
    laid: np.ndarray, wanted: np.ndarray, inside: np.ndarray, disturbed: float = DISTURBED
) -> np.ndarray:
    """The correlation (n,) that all but a share of the squares reach; -1 if none shows anything.

    Where only one of both shows anything in a square, that is 0.
    """
    one, other, whole = (_squares(each) for each in (laid, wanted, inside))
    one, other = (each - each.mean(axis=2, keepdims=True) for each in (one, other))
    spread = np.sqrt((one**2).mean(axis=2)), np.sqrt((other**2).mean(axis=2))
    shown = (np.maximum(*spread) > FLAT) & whole.all(axis=2)
    correlation = (one * other).mean(axis=2) / np.maximum(spread[0] * spread[1], FLAT**2 / 4)
    ordered = np.sort(np.where(shown, correlation, np.inf), axis=1)
    count = shown.sum(axis=1)
    place = (disturbed * (count - 1)).astype(int).clip(0)
    return np.where(count > 0, ordered[np.arange(len(ordered)), place], -1)


def _squares(values: np.ndarray) -> np.ndarray:
    """Pictures (n, side, side) as squares, (n, squares, pixels of a square)."""
    n, side, _ = values.shape
    squares = side // SQUARE
    parts = values.reshape(n, squares, SQUARE, squares, SQUARE).swapaxes(2, 3)
    return parts.reshape(n, squares**2, SQUARE**2)


def _overlap(windows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    share = inside.mean(axis=(1, 2))
    return share * np.minimum(1, windows[:, 1] * windows[:, 3] * share)


def is_grey(pixels: np.ndarray) -> bool:
    """Whether a picture (side, side, 3) has no colours."""
    return bool(np.abs(pixels[..., 1:].astype(int) - 128).mean() < GREY)


def _same_colours(laid: np.ndarray, wanted: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The cosine (n,) of the colours of the squares; 1 where one of the pictures is grey.

    `laid` and `wanted` are Cb and Cr, (n, side, side, 2).
    """
    one, other = (
        np.concatenate(
            [_squares(np.where(inside, each[..., n] - 128, 0)).mean(axis=2) for n in (0, 1)], axis=1
        )
        for each in (laid, wanted)
    )
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    has_none = np.minimum(*lengths) < GREY * np.sqrt(one.shape[1] / 2)
    cosine = (one * other).sum(axis=1) / np.maximum(lengths[0] * lengths[1], 1e-6)
    return np.where(has_none, 1, cosine)
