"""How a picture becomes the network's input, and a thumbnail."""

from __future__ import annotations

import io

from PIL import Image

WHITE = (255, 255, 255)


def _squash(image: Image.Image, size: int) -> Image.Image:
    """The whole picture, stretched to a square."""
    return _resized(image, (size, size))


def _crop(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _resized(image, (size, size), (left, top, left + side, top + side))


def _pad(image: Image.Image, size: int) -> Image.Image:
    """The whole picture in its proportions, with white borders."""
    small = _resized(image, _fitting(image.size, size))
    square = Image.new("RGB", (size, size), WHITE)
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return square


RESIZE = {"squash": _squash, "crop": _crop, "pad": _pad}


def region(resize: str, width: float, height: float) -> tuple[float, float, float, float]:
    """Which part of a picture the network's square is: left, top, right and bottom edge.

    They are shares of its width and height, below 0 and above 1 where there are borders.
    """
    sides = {"squash": (width, height), "crop": [min(width, height)] * 2}
    across, down = sides.get(resize, [max(width, height)] * 2)
    left, top = (1 - across / width) / 2, (1 - down / height) / 2
    return left, top, 1 - left, 1 - top


def _resized(image: Image.Image, size: tuple[int, int], box=None) -> Image.Image:
    # Bilinear with antialiasing is what torchvision's weights were trained with.
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    width, height = (max(1, round(length * scale)) for length in size)
    return width, height


def small_jpeg(image: Image.Image, side: int, quality: int) -> bytes:
    """An RGB image as a JPEG file that fits into side x side pixels, without metadata.

    It is never enlarged. `quality` is 0 to 100.
    """
    if max(image.size) > side:
        image = _resized(image, _fitting(image.size, side))
    buffer = io.BytesIO()
    # Without `comment`, Pillow would copy the comment of the original.
    image.save(buffer, "JPEG", quality=quality, comment=b"")
    return buffer.getvalue()
