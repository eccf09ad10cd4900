"""What pictures look like, in words: their colours and their shape, from their thumbnails."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..db.tables import SourceTable, column_names
from .compare import is_grey
from .pairs import Thumbnails

IMAGES, SIDE = 24, 16
"""So many images of a group are looked at, each as a square of so many pixels."""
DARK, BRIGHT = 75, 190
"""Brightness, 0..255."""
COLOURLESS = 14
"""A pixel whose Cb and Cr are no further from their middle has no colour."""
MOST = 0.5
"""A share of the pixels, or of the images, from which it is most of them."""
COLOURED, ALONE = 0.25, 0.4
"""With fewer coloured pixels, a group has no colour; with fewer of them in one colour, many."""
TALL, WIDE = 0.8, 1.7
"""Width by height; most photos have 4:3 or 3:2."""
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")
HUES = np.array([15, 45, 70, 165, 188, 260, 310, 345])
"""The hue in degrees up to which a colour goes; red begins again after the last one."""
BROWN = 150
"""Orange or yellow of a lower value (the most of red, green and blue, 0..255) is called brown."""
DEEP = 140
"""Another colour of a lower value is called dark."""


@dataclass(frozen=True)
class Looks:
    """Words for what the pictures of a group have in common, the most telling first."""

    colours: list[str]
    shape: str | None

    def names(self) -> list[str]:
        """Names that say ever more."""
        if not self.colours:
            return [self.shape] if self.shape else []
        first, *others = self.colours
        names = [first, *(f"{first} and {other}" for other in others if " and " not in first)]
        return names + ([f"{first}, {self.shape}"] if self.shape else [])


def looks_of(conn: sqlite3.Connection, table: SourceTable, keys: Sequence) -> Looks:
    """What some images of a group look like; without words if none has a sound thumbnail."""
    step = max(1, len(keys) // IMAGES)
    chosen = list(keys[::step][:IMAGES])
    thumbnails = Thumbnails(conn, table.name, chosen).read(range(len(chosen)), SIDE)
    pictures = [pixels for _, pixels, _ in thumbnails]
    return Looks(_colours(pictures) if pictures else [], _shape(conn, table, chosen))


def _colours(pictures: list[np.ndarray]) -> list[str]:
    """The colours of pictures (side, side, 3), as brightness, Cb and Cr."""
    if np.mean([is_grey(pixels) for pixels in pictures]) > MOST:
        return ["black and white"]
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]).astype(float)
    brightness = pixels[:, 0]
    is_coloured = np.hypot(*(pixels[:, 1:] - 128).T) > COLOURLESS
    plain = {
        "white": ~is_coloured & (brightness > BRIGHT),
        "black": ~is_coloured & (brightness < DARK),
        "grey": ~is_coloured & (brightness >= DARK) & (brightness <= BRIGHT),
    }
    plain_share = {name: float(marked.mean()) for name, marked in plain.items()}
    named, values = _named(pixels[is_coloured])
    found = []
    for name in sorted({*named}, key=lambda name: -(named == name).mean()):
        if (named == name).mean() >= ALONE / 2:
            found.append(_shade(name, values[named == name]))
    largest = max(plain_share, key=plain_share.__getitem__)
    if plain_share[largest] > MOST:
        return [f"mostly {largest}", *found[:2]]
    if is_coloured.mean() < COLOURED:
        return [largest, *found[:2]]
    if (named == _most_common(named)).mean() < ALONE:
        return ["colourful", *found[:2]]
    return [*found[:3], largest]


def _most_common(values: np.ndarray) -> str:
    names, counts = np.unique(values, return_counts=True)
    return names[counts.argmax()]


def _named(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The names (n,) of the colours of pixels (n, 3), and their values (n,), 0..255."""
    brightness, blue, red = pixels[:, 0], pixels[:, 1] - 128, pixels[:, 2] - 128
    rgb = np.stack(  # ITU-T T.871, the conversion of JPEG files
        [
            brightness + 1.402 * red,
            brightness - 0.344136 * blue - 0.714136 * red,
            brightness + 1.772 * blue,
        ],
        axis=1,
    ).clip(0, 255)
    high, low = rgb.max(axis=1), rgb.min(axis=1)
    spread = np.maximum(high - low, 1e-9)
    r, g, b = rgb.T
    sector = np.select(
        [high == r, high == g], [(g - b) / spread, 2 + (b - r) / spread], 4 + (r - g) / spread
    )
    colour = np.searchsorted(HUES, sector * 60 % 360, side="right") % len(COLOURS)
    names = np.array([*COLOURS, "brown"])
    red, orange, yellow = (colour == COLOURS.index(name) for name in ("red", "orange", "yellow"))
    is_brown = (orange | yellow) & (high < BROWN)
    is_brown |= (red | orange) & (spread < high / 2)  # skin, sand, wood
    return names[np.where(is_brown, len(COLOURS), colour)], high


def _shade(name: str, values: np.ndarray) -> str:
    return f"dark {name}" if name != "brown" and np.median(values) < DEEP else name


def _shape(conn: sqlite3.Connection, table: SourceTable, keys: Sequence) -> str | None:
    """Tall or wide if most images are, by the columns width and height; else None."""
    if not {"width", "height"} <= {name.lower() for name in column_names(conn, table.name)}:
        return None
    sides = [dict(table.values(conn, name, list(keys))) for name in ("width", "height")]
    shapes = [
        sides[0][key] / sides[1][key]
        for key in keys
        if all(type(side.get(key)) in (int, float) and side[key] > 0 for side in sides)
    ]
    if len(shapes) * 2 > len(keys):
        if np.median(shapes) < TALL:
            return "tall"
        if np.median(shapes) > WIDE:
            return "wide"
    return None
