"""A rectangle of a picture, which is searched with as if it were a picture of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ..errors import ImgsimError
from .refusals import TooSmall

Box: TypeAlias = "tuple[float, float, float, float]"
"""Left, top, right and bottom edge, as shares of the upright picture's width and height."""
DECIMALS = 3
"""In an address; of a picture 4,000 pixels wide, the last one stands for 4 pixels."""
LEAST_PIXELS = 16
"""Of a side: in fewer pixels there is nothing to be seen, by people or by networks."""
WHOLE = (0.0, 0.0, 1.0, 1.0)


def parse_box(text: str) -> Box | None:
    """'.1,.25,.5,.75' -> (0.1, 0.25, 0.5, 0.75); None for the whole picture. Raises ImgsimError."""
    return checked_box(text.split(","), text)


def checked_box(edges: Sequence, given: object = None) -> Box | None:
    """The rectangle with these edges, rounded; None for the whole picture. Raises ImgsimError.

    An error names what was `given`, the edges unless it says otherwise.
    """
    try:
        left, top, right, bottom = (round(float(edge), DECIMALS) + 0.0 for edge in edges)
    except (TypeError, ValueError, OverflowError):
        left = top = right = bottom = math.nan
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):  # also for a NaN
        raise ImgsimError(
            "crop is x0,y0,x1,y1 with x0 < x1 and y0 < y1: shares of the picture's width and "
            f"height, 0 to 1, not {repr(edges if given is None else given):.60}"
        )
    box = left, top, right, bottom
    return None if box == WHOLE else box


def box_text(box: Box) -> str:
    """A rectangle as in an address: 0.1,0.25,0.5,0.75."""
    return ",".join(f"{edge:g}" for edge in box)


def within(outer: Box, inner: Box) -> Box:
    """The rectangle `inner` of the part `outer`, as a rectangle of the whole picture."""
    left, top, right, bottom = outer
    width, height = right - left, bottom - top
    x0, y0, x1, y1 = inner
    return left + width * x0, top + height * y0, left + width * x1, top + height * y1


def smallest_side(box: Box) -> float:
    """The shorter side, as a share of the picture's."""
    left, top, right, bottom = box
    return min(right - left, bottom - top)


def check_pixels(box: Box, width: int, height: int) -> None:
    """Raises TooSmall if a part of a picture with so many pixels is too small."""
    left, top, right, bottom = box
    sides = [math.ceil((right - left) * width), math.ceil((bottom - top) * height)]
    if min(sides) < LEAST_PIXELS:
        raise TooSmall(
            f"The part has {sides[0]} x {sides[1]} pixels: choose one of at least "
            f"{LEAST_PIXELS} x {LEAST_PIXELS}"
        )
