"""Draws a part of the map or of the wall: a grid of cells with one thumbnail each."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

TILE = 256
BACKGROUND = "#22272e"
MISSING = "#3a424d"
GAP = 1 / 24
"""The space between a cell's edge and its thumbnail, as a share of the cell."""
FRAME = 1 / 20
"""The thickness of a frame, as a share of the cell."""
QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """What one cell shows."""

    column: int
    line: int
    """Counted from the left and from the top of the part that is drawn."""
    jpeg: bytes | None
    """The thumbnail; a plain square is drawn for None."""
    frame: str | None = None
    """The frame's colour, such as '#1f77b4'."""
    more: int = 0
    """How many other images are in the same cell; 0 draws nothing."""


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
    image.paste(thumbnail, corner)
    pen = ImageDraw.Draw(image)
    if picture.frame:
        thickness = max(2, round((right - left) * FRAME))
        inner = (*corner, corner[0] + width - 1, corner[1] + height - 1)
        pen.rectangle(inner, outline=picture.frame, width=thickness)
    if picture.more:
        _draw_badge(pen, f"+{picture.more:,}", (right - gap, bottom - gap), right - left)


def _thumbnail(jpeg: bytes | None, room: tuple[int, int], is_filling: bool) -> Image.Image:
    """The thumbnail, as large as fits into the room, or its middle, filling the room.

    A plain square if it is missing or damaged.
    """
    try:
        if jpeg is not None:
            with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
                image.draft("RGB", room)
                return (_filling if is_filling else _fitted)(image.convert("RGB"), room)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass
    return Image.new("RGB", room, MISSING)


def _fitted(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    share = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)


def _filling(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(image, room, Image.Resampling.BICUBIC)


def _draw_badge(pen: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], cell: int) -> None:
    """Draws a label into the lower right corner of a cell."""
    font = ImageFont.load_default(max(9, cell // 5))
    width, height = font.getbbox(text)[2:]
    pad = max(2, cell // 24)
    right, bottom = corner
    box = (right - width - 2 * pad, bottom - height - 2 * pad, right, bottom)
    pen.rounded_rectangle(box, radius=pad, fill="#000000")
    pen.text((box[0] + pad, box[1] + pad), text, font=font, fill="#ffffff")
