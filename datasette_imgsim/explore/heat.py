"""Heat over a picture, as a transparent picture to lay on it and in words."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import listed
from ..ingest.part import Box

SIDES = range(256, 320)
"""Of the drawn heat in pixels; browsers enlarge it."""
CELLS = 16
"""Smaller cells are drawn as if there were so many in a row: what a cell sees is larger than it."""
# Share of the largest heat -> red, green, blue and opacity: from a dark veil over clear to amber.
# Its brightness rises all the way, so it needs no eye for colours, on pictures dark and bright.
COLOURS = (
    (0.0, (8, 12, 36, 185)),
    (0.2, (36, 16, 64, 150)),
    (0.45, (200, 70, 40, 70)),
    (0.7, (255, 150, 30, 90)),
    (1.0, (255, 220, 80, 150)),
)
NAMES = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
GAP = 8
"""Pixels between two pictures."""
HALF, EVEN = 0.5, 0.2
"""The parts named carry half of the heat; it is even where no ninth of a picture has more."""


def laid_out(heats: Sequence[np.ndarray], region: Box, width: int, height: int) -> np.ndarray:
    """The heats of all levels together, over a picture of width x height pixels: (h, w) float32.

    It has the picture's proportions as exactly as SIDES allow. A value of 1 is what every place
    would have if a score of 1 were spread evenly over the network's square, which is the `region`
    of the picture.
    """
    narrow = min(width, height) / max(width, height)
    longer = min(SIDES, key=lambda side: abs(side * narrow - round(side * narrow)))
    shorter = max(1, round(longer * narrow))
    across, down = (longer, shorter) if width >= height else (shorter, longer)
    left, top, right, bottom = region
    size = (max(1, round((right - left) * across)), max(1, round((bottom - top) * down)))
    found = np.zeros((down, across), np.float32)
    for cells in heats:
        dense = Image.fromarray((cells * cells.size).astype(np.float32))
        if max(dense.size) > CELLS:
            dense = dense.resize((CELLS, CELLS), Image.Resampling.BOX)
        whole = Image.new("F", (across, down))
        place = round(left * across), round(top * down)
        whole.paste(dense.resize(size, Image.Resampling.BILINEAR), place)
        found += np.asarray(whole)
    return found


def as_png(heat: np.ndarray) -> bytes:
    """A laid-out heat as a PNG file with transparency, brightest where it is largest."""
    largest = max(float(heat.max()), np.finfo(np.float32).tiny)
    shares = np.clip(heat / largest, 0, 1)
    steps = [step for step, _ in COLOURS]
    channels = [
        np.interp(shares, steps, channel) for channel in zip(*(colour for _, colour in COLOURS))
    ]
    image = Image.fromarray(np.stack(channels, axis=2).round().astype(np.uint8), "RGBA")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def side_by_side(pictures: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Pictures, each with its heat laid over it, side by side as a PNG file.

    Each is (a picture file, the heat as `as_png` draws it).
    """
    drawn = []
    for file, overlay in pictures:
        picture = Image.open(io.BytesIO(file)).convert("RGBA")
        heat = Image.open(io.BytesIO(overlay)).resize(picture.size, Image.Resampling.BICUBIC)
        drawn.append(Image.alpha_composite(picture, heat).convert("RGB"))
    width = sum(each.width for each in drawn) + GAP * (len(drawn) - 1)
    sheet = Image.new("RGB", (width, max(each.height for each in drawn)), "white")
    left = 0
    for each in drawn:
        sheet.paste(each, (left, 0))
        left += each.width + GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def in_words(heat: np.ndarray) -> str:
    """Where a laid-out heat is: 'mostly the middle and upper left'."""
    warm = np.maximum(heat, 0)
    rows = [band.sum(axis=0) for band in np.array_split(warm, 3)]
    shares = {
        name: float(block.sum())
        for row, names in zip(rows, NAMES)
        for block, name in zip(np.array_split(row, 3), names)
    }
    total = sum(shares.values())
    if not total:
        return "nowhere"
    best = sorted(shares, key=lambda name: -shares[name])
    if shares[best[0]] < EVEN * total:
        return "all over it"
    named, found = [], 0.0
    for name in best:
        named.append(name)
        found += shares[name]
        if found >= HALF * total:
            break
    return f"mostly the {listed(named)}"
