"""Greys of more than 8 bits as 8 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

# What instruments store as white in wider numbers: 8, 10, 12, 14, 16, 31 and 32 bits.
WHITES = [2**bits - 1 for bits in (8, 10, 12, 14, 16, 31, 32)]
WHITE_IS_ZERO = 0
# The share of values, in percent, that count at either end: a few odd ones must not set the range.
OUTLIERS = 0.1
# Of floating numbers between 0 and 1, more may be over 1: the glare of lamps.
GLARE = 5
# A picture whose lightest value is below this part of white is not taken to be that dark.
DARKEST = 8
SAMPLE_SIDE = 1000
MOST = float(np.finfo(np.float32).max)


class Greys(NamedTuple):
    """Which values of a picture are black and white."""

    black: float
    white: float
    is_unsigned: bool = False
    """Whether values of 32 bits have no sign, as Pillow takes them to have."""

    def eight_bits(self, image: Image.Image) -> Image.Image:
        """A strip of the picture in mode L. Values without a meaning (NaN) become black."""
        values = _values(image, self.is_unsigned)
        values = np.nan_to_num(values, nan=self.black, posinf=MOST, neginf=-MOST)
        scaled = (values - self.black) * (255 / (self.white - self.black))
        return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def is_wide(image: Image.Image) -> bool:
    """Whether a picture is of greys of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def greys_of(image: Image.Image) -> Greys:
    """What is black and white in a loaded picture of wide greys.

    A PNG is shown by browsers, which take the full range. No browser shows a TIFF, whose values
    may be anything: bits of an instrument, heights, or temperatures.
    """
    if image.format == "PNG":
        return Greys(0, 65535)
    tags: Mapping = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    is_unsigned = image.mode == "I" and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 1
    sample = image.resize(
        (min(image.width, SAMPLE_SIDE), min(image.height, SAMPLE_SIDE)), Image.Resampling.NEAREST
    )
    values = _values(sample, is_unsigned)
    black, white = _range(values[np.isfinite(values)], image.mode == "F")
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        black, white = white, black
    return Greys(black, white, is_unsigned)


def _values(image: Image.Image, is_unsigned: bool) -> np.ndarray:
    values = np.asarray(image)
    return (values.view(np.uint32) if is_unsigned else values).astype(np.float64)


def _range(values: np.ndarray, are_floating: bool) -> tuple[float, float]:
    """Which values are black and white: the usual ones if they fit, or the range that is used."""
    if not len(values):
        return 0, 1
    low, glare, high = np.percentile(values, [OUTLIERS, 100 - GLARE, 100 - OUTLIERS])
    if low >= 0:
        if are_floating and glare <= 1:
            return 0, 1
        white = next((white for white in WHITES if high <= white), math.inf)
        if high * DARKEST > white and (white == WHITES[0] or not are_floating):
            return 0, white
    # Of one value all over, nothing is known: it becomes black if it is 0, and else white.
    return (low, high) if low < high else (min(low, 0), max(low, 1))
