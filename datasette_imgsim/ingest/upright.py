"""From a decoder's pixels to upright RGB in sRGB."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .colour import to_srgb
from .greys import Greys, greys_of, is_wide
from .orientation import TURNS
from .resize import WHITE

# A picture is shrunk to no less than this many times the size that is needed.
SHRINK_MARGIN = 3
PIXELS_AT_ONCE = 4_000_000
BLACK = (0, 0, 0)
# What differs less from white, in 8 bits, cannot be made out on it: a white drawing needs black.
FAINT = 24
SAMPLE_SIDE = 256


def upright_rgb(
    image: Image.Image,
    orientation: int,
    needed: tuple[int, int],
    box: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """A loaded picture as upright RGB in sRGB, transparency over a ground, 16 bits as 8.

    Of one with a `box`, only these pixels are left. A large one is shrunk first, so that no step
    needs much memory. It is left large enough to make a picture of the size `needed`, as it is
    stored, from it.
    """
    small = to_srgb(_shrunk(image, needed, box), image.info.get("icc_profile"))
    if small.mode == "RGBA":
        ground = Image.new("RGBA", small.size, _ground(small))
        small = Image.alpha_composite(ground, small).convert("RGB")
    turn = TURNS.get(orientation)
    return small.transpose(turn) if turn is not None else small


def _shrunk(
    image: Image.Image, needed: tuple[int, int], box: tuple[int, int, int, int] | None
) -> Image.Image:
    """A picture in a plain mode, averaged over squares of pixels; one strip after the other."""
    greys = greys_of(image) if is_wide(image) else None
    if box:
        image = image.crop(box)
    factor = min(side // (SHRINK_MARGIN * least) for side, least in zip(image.size, needed))
    if factor <= 1:
        return _plain(image, greys)
    size = math.ceil(image.width / factor), math.ceil(image.height / factor)
    rows = factor * max(1, PIXELS_AT_ONCE // (image.width * factor))
    small: Image.Image | None = None
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip = _plain(strip, greys).reduce(factor)
        small = small or Image.new(strip.mode, size)
        small.paste(strip, (0, top // factor))
    assert small is not None
    return small


def _ground(image: Image.Image) -> tuple[int, int, int]:
    """The colour against which what is visible of an RGBA image shows: white, if it can."""
    size = min(image.width, SAMPLE_SIDE), min(image.height, SAMPLE_SIDE)
    sample = np.asarray(image.resize(size, Image.Resampling.NEAREST), float)
    visible, darkness = sample[..., 3], 255 - sample[..., :3].min(axis=-1)
    if not visible.any():
        return WHITE
    return WHITE if np.average(darkness**2, weights=visible) >= FAINT**2 else BLACK


def _plain(image: Image.Image, greys: Greys | None) -> Image.Image:
    """A picture in one of the modes L, LA, RGB, RGBA and CMYK, whose pixels can be averaged."""
    if greys:
        return greys.eight_bits(image)
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
