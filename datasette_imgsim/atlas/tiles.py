"""Draws a part of the map or of the wall: a grid of cells with one thumbnail each."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..limits import LIMITS

TILE = 256
BACKGROUND = "#22272e"
MISSING = "#3a424d"
GAP = 1 / 24
"""The space between a cell's edge and its thumbnail, as a share of the cell."""
FRAME = 1 / 20
"""The thickness of a frame, as a share of the cell."""
QUALITY = 82
DIMMED = 0.75
"""How much of the background shows through what is dimmed."""


class Frame(NamedTuple):
    """How the frame around a thumbnail looks."""

    color: str
    """Such as '#1f77b4'."""
    dashed: bool = False


@dataclass(frozen=True)
class Picture:
    """What one cell shows."""

    column: int
    line: int
    """Counted from the left and from the top of the part that is drawn."""
    jpeg: bytes | None
    """The thumbnail; a plain square is drawn for None."""
    frame: Frame | None = None
    more: int = 0
    """How many other images are in the same cell; 0 draws nothing."""
    dimmed: bool = False
    """Whether it steps back behind others."""


def draw(
    pictures: Iterable[Picture], columns: int, lines: int, width: int, is_wall: bool
) -> Image.Image:
    """An RGB image of a grid of columns x lines square cells, `width` pixels wide.

    On the map, thumbnails are whole, with a gap around them. On a wall they fill their cells.
    """
    edges = [round(place * width / columns) for place in range(max(columns, lines) + 1)]
    image = Image.new("RGB", (width, edges[lines]), BACKGROUND)
    for picture in pictures:
        x, y = picture.column, picture.line
        _draw_cell(image, picture, (edges[x], edges[y], edges[x + 1], edges[y + 1]), is_wall)
    return image


def encoded(image: Image.Image) -> bytes:
    """The bytes of an image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _draw_cell(
    image: Image.Image, picture: Picture, box: tuple[int, int, int, int], is_wall: bool
) -> None:
    left, top, right, bottom = box
    gap = 0 if is_wall else max(1, round((right - left) * GAP))
    room = (right - left - 2 * gap, bottom - top - 2 * gap)
    thumbnail = _thumbnail(picture.jpeg, room, is_wall)
    width, height = thumbnail.size
    corner = (left + (right - left - width) // 2, top + (bottom - top - height) // 2)
    if picture.dimmed:
        thumbnail = Image.blend(thumbnail, Image.new("RGB", thumbnail.size, BACKGROUND), DIMMED)
    image.paste(thumbnail, corner)
    pen = ImageDraw.Draw(image)
    if picture.frame and not picture.dimmed:
        thickness = max(2, round((right - left) * FRAME))
        inner = (*corner, corner[0] + width - 1, corner[1] + height - 1)
        pen.rectangle(inner, outline=picture.frame.color, width=thickness)
        if picture.frame.dashed:
            _cut_dashes(pen, inner, thickness)
    if picture.more and not picture.dimmed:
        _draw_badge(pen, f"+{in_short(picture.more)}", (right - gap, bottom - gap), right - left)


def _cut_dashes(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], thickness: int) -> None:
    """Makes dashes of the frame along the inside of a box."""
    left, top, right, bottom = box
    dash = 2 * thickness
    for x in range(left + dash, right, 2 * dash):
        for y in (top, bottom - thickness + 1):
            pen.rectangle((x, y, min(x + dash, right) - 1, y + thickness - 1), fill=BACKGROUND)
    for y in range(top + dash, bottom, 2 * dash):
        for x in (left, right - thickness + 1):
            pen.rectangle((x, y, x + thickness - 1, min(y + dash, bottom) - 1), fill=BACKGROUND)


def in_short(count: int) -> str:
    """A count in at most four characters up to a million: 999, 1.2k, 12k, 1.2M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            tenths = count * 10 // size
            whole = tenths >= 100 or tenths % 10 == 0
            return f"{tenths // 10}{letter}" if whole else f"{tenths / 10:.1f}{letter}"
    return str(count)


def _thumbnail(jpeg: bytes | None, room: tuple[int, int], is_filling: bool) -> Image.Image:
    """The thumbnail, as large as fits into the room, or its middle, filling the room.

    A plain square if it is missing or damaged.
    """
    try:
        if jpeg is not None:
            with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
                _refuse_slow(image, len(jpeg))
                image.draft("RGB", room)
                return (_filling if is_filling else _fitted)(image.convert("RGB"), room)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass
    return Image.new("RGB", room, MISSING)


def _refuse_slow(image: Image.Image, size: int) -> None:
    """Raises ValueError for what is no thumbnail of ours: a database may come from elsewhere."""
    is_large = max(image.size) > LIMITS.side_of_thumbnail or size > LIMITS.bytes_of_thumbnail
    if is_large or "progressive" in image.info:
        raise ValueError("no thumbnail")


def _fitted(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    share = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)


def _filling(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(image, room, Image.Resampling.BICUBIC)


def _draw_badge(pen: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], cell: int) -> None:
    """Draws a label into the lower right corner of a cell."""
    font = ImageFont.load_default(max(9, cell // 6))
    width, height = font.getbbox(text)[2:]
    pad = max(2, cell // 24)
    right, bottom = corner
    box = (right - width - 2 * pad, bottom - height - 2 * pad, right, bottom)
    pen.rounded_rectangle(box, radius=pad, fill="#000000")
    pen.text((box[0] + pad, box[1] + pad), text, font=font, fill="#ffffff")
