"""Draws a part of the map: a square grid of cells with one thumbnail each."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

TILE = 256
BACKGROUND = "#22272e"
MISSING = "#3a424d"
FAINT = 0.2
"""How much of a faint picture is left."""
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
    is_faint: bool = False
    """Whether it is not among the images that were selected."""


def draw(pictures: Iterable[Picture], cells: int, side: int) -> Image.Image:
    """An RGB image of side x side pixels, a grid of cells x cells cells."""
    image = Image.new("RGB", (side, side), BACKGROUND)
    edges = [round(place * side / cells) for place in range(cells + 1)]
    for picture in pictures:
        x, y = picture.column, picture.line
        _draw_cell(image, picture, (edges[x], edges[y], edges[x + 1], edges[y + 1]))
    return image


def encoded(image: Image.Image) -> bytes:
    """The bytes of an image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _draw_cell(image: Image.Image, picture: Picture, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    gap = max(1, round((right - left) * GAP))
    room = (right - left - 2 * gap, bottom - top - 2 * gap)
    thumbnail = _thumbnail(picture.jpeg, room)
    width, height = thumbnail.size
    corner = (left + (right - left - width) // 2, top + (bottom - top - height) // 2)
    if picture.is_faint:
        ground = Image.new("RGB", thumbnail.size, BACKGROUND)
        thumbnail = Image.blend(ground, thumbnail.convert("L").convert("RGB"), FAINT)
    image.paste(thumbnail, corner)
    pen = ImageDraw.Draw(image)
    if picture.frame and not picture.is_faint:
        thickness = max(2, round((right - left) * FRAME))
        inner = (*corner, corner[0] + width - 1, corner[1] + height - 1)
        pen.rectangle(inner, outline=picture.frame, width=thickness)
    if picture.more:
        _draw_badge(pen, f"+{picture.more:,}", (right - gap, bottom - gap), right - left)


def _thumbnail(jpeg: bytes | None, room: tuple[int, int]) -> Image.Image:
    """The thumbnail, as large as fits into the room; a plain square if it is missing or damaged."""
    try:
        if jpeg is not None:
            with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
                image.draft("RGB", room)
                return _fitted(image.convert("RGB"), room)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass
    return Image.new("RGB", room, MISSING)


def _fitted(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    share = min(room[0] / image.width, room[1] / image.height)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)


def _draw_badge(pen: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], cell: int) -> None:
    """Draws a label into the lower right corner of a cell."""
    font = ImageFont.load_default(max(9, cell // 5))
    width, height = font.getbbox(text)[2:]
    pad = max(2, cell // 24)
    right, bottom = corner
    box = (right - width - 2 * pad, bottom - height - 2 * pad, right, bottom)
    pen.rounded_rectangle(box, radius=pad, fill="#000000")
    pen.text((box[0] + pad, box[1] + pad), text, font=font, fill="#ffffff")
