"""What the pictures of a group look like, in words: their colours and shape, by thumbnails."""

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
BLACK, WHITE = 75, 190
"""What has no colour and is darker, or brighter (0..255), is black or white, else grey."""
COLOURLESS = 14
"""A pixel whose Cb and Cr are no further from their middle has no colour."""
DEEP, PALE = 140, 180
"""A colour of a lower value (the most of red, green and blue) is dark; one of a higher value, of
which less than a third is not white, is pale."""
BROWN = 150
"""Orange or yellow of a lower value is brown."""
MOST = 0.5
"""A share of the pixels, or of the images, from which it is most of them."""
ALONE, SOME = 0.3, 0.08
"""The smallest share of the pixels of a colour that is named alone, and of one that is named."""
OF_PLAIN = 0.5
"""Black, grey and white tell less than colours do."""
TALL, WIDE = 0.8, 1.7
"""Width by height; most photos have 4:3 or 3:2."""
PLAIN = ("black", "grey", "white")
HUES = {
    "red": 15, "orange": 45, "yellow": 70, "green": 165, "teal": 188, "blue": 260, "purple": 310,
    "pink": 345,
}  # fmt: skip
"""The hue in degrees up to which a colour goes; red begins again after the last one."""
SHADES = ("dark ", "", "pale ")
NAMES = (*PLAIN, "brown", *(shade + hue for hue in HUES for shade in SHADES))


@dataclass(frozen=True)
class Looks:
    """What the pictures of a group look like."""

    shares: np.ndarray
    """(NAMES,) the share of their pixels that has each colour; 0 without thumbnails."""
    is_grey: bool
    """Whether most of them have no colours."""
    shape: str | None
    """Tall or wide, if most of them are."""

    def names(self, everywhere: np.ndarray) -> list[str]:
        """Names that fit, those that say more behind; `everywhere` are the shares of all groups.

        The first colours are those that are more frequent than elsewhere.
        """
        more = self.shares - everywhere
        more[: len(PLAIN)] *= OF_PLAIN
        order = [place for place in np.argsort(-more, kind="stable") if self.shares[place] >= SOME]
        colours = [NAMES[place] for place in order]
        if self.is_grey:
            colours = ["black and white"]
        elif not colours:
            return [self.shape] if self.shape else []
        elif self.shares[order[0]] > MOST and colours[0] in PLAIN:
            colours[0] = f"mostly {colours[0]}"
        first, *others = colours
        names = [f"{first} and {other}" for other in others[:3]]
        if not names or self.is_grey or self.shares[order[0]] >= ALONE:
            names.insert(0, first)
        return [*names, *(f"{name}, {self.shape}" for name in names if self.shape)]


def looks_of(conn: sqlite3.Connection, table: SourceTable, keys: Sequence) -> Looks:
    """What some images of a group look like."""
    step = max(1, len(keys) // IMAGES)
    chosen = list(keys[::step][:IMAGES])
    thumbnails = Thumbnails(conn, table.name, chosen).read(range(len(chosen)), SIDE)
    pictures = [pixels for _, pixels, _ in thumbnails]
    shares, grey = np.zeros(len(NAMES)), False
    if pictures:
        named = _colours(np.concatenate([picture.reshape(-1, 3) for picture in pictures]))
        shares = np.bincount(named, minlength=len(NAMES)) / len(named)
        grey = bool(np.mean([is_grey(pixels) for pixels in pictures]) > MOST)
    return Looks(shares, grey, _shape(conn, table, chosen))


def _colours(pixels: np.ndarray) -> np.ndarray:
    """The colours of pixels (n, 3), which are brightness, Cb and Cr: (n,) places in NAMES."""
    brightness, blue, red = (pixels - np.array([0.0, 128, 128])).T
    rgb = np.stack(  # ITU-T T.871, the conversion of JPEG files
        [
            brightness + 1.402 * red,
            brightness - 0.344136 * blue - 0.714136 * red,
            brightness + 1.772 * blue,
        ]
    ).clip(0, 255)
    value, low = rgb.max(axis=0), rgb.min(axis=0)
    spread = np.maximum(value - low, 1e-9)
    r, g, b = rgb
    sector = np.select(
        [value == r, value == g], [(g - b) / spread, 2 + (b - r) / spread], 4 + (r - g) / spread
    )
    hue = np.searchsorted([*HUES.values()], sector * 60 % 360, side="right") % len(HUES)
    is_pale = (value > PALE) & (spread < value / 3)
    shade = np.where(value < DEEP, 0, np.where(is_pale, 2, 1))
    is_warm, is_yellow = hue <= 1, hue == 2
    is_brown = ((hue == 1) | is_yellow) & (value < BROWN)
    is_brown |= is_warm & (spread < value / 2)  # skin, sand, wood
    colour = np.where(is_brown, len(PLAIN), len(PLAIN) + 1 + len(SHADES) * hue + shade)
    plain = np.digitize(brightness, [BLACK, WHITE])
    return np.where(np.hypot(blue, red) > COLOURLESS, colour, plain)


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
