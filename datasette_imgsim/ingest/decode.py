"""Decodes picture files: upright RGB pixels, a thumbnail, and facts such as EXIF."""

from __future__ import annotations

import functools
import io
import math
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import ImgsimError
from . import heif
from .facts import Facts, read_facts
from .refusals import NotAPicture, TooLarge
from .resize import RESIZE, small_jpeg
from .upright import upright_rgb

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"]
MAX_PIXELS = 250_000_000
LARGE_PIXELS = 40_000_000
_large_picture = threading.Lock()
# A JPEG is decoded at a reduced size, at least this many times the needed one: it is resized again.
DRAFT_MARGIN = 1.5
THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """A decoded picture file."""

    pixels: np.ndarray
    """(size, size, 3) uint8 RGB, upright."""
    thumbnail: bytes
    """A JPEG file without metadata."""
    facts: Facts


def decode(
    file: BinaryIO,
    size: int,
    resize: str = "squash",
    thumbnail_size: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Decodes the first frame of a picture.

    `resize`, a key of RESIZE, is how it becomes size x size pixels. The thumbnail fits into
    thumbnail_size x thumbnail_size. Raises NotAPicture or TooLarge, and OSError if reading fails.
    """
    try:
        with open_image(file, max_pixels) as image, _large_lock(image):
            facts = read_facts(image)
            needed = _needed_size(image.size, size, thumbnail_size)
            width, height = (math.ceil(DRAFT_MARGIN * side) for side in needed)
            image.draft(None, (width, height))
            image.load()
            rgb = upright_rgb(image, needed)
            pixels = np.array(RESIZE[resize](rgb, size))
            return Picture(pixels, small_jpeg(rgb, thumbnail_size, THUMBNAIL_QUALITY), facts)
    except ImgsimError:
        raise
    except Image.DecompressionBombError as ex:
        raise _too_large(ex) from ex
    except MemoryError:
        raise TooLarge("there is not enough memory to decode the picture") from None
    # Decoders raise nearly any error for hostile bytes, and one file must not stop a run.
    except Exception as ex:
        if isinstance(ex, OSError) and ex.errno is not None:
            raise  # an error of the disk, not of the picture
        reason = str(ex).splitlines()[0] if str(ex) else type(ex).__name__
        raise NotAPicture(f"the picture is damaged, cut off or of a rare kind ({reason})") from ex


def _large_lock(image: Image.Image) -> AbstractContextManager:
    """A lock for large pictures: one is decoded at a time, since each needs much memory."""
    return _large_picture if image.width * image.height > LARGE_PIXELS else nullcontext()


def _too_large(ex: Exception) -> TooLarge:
    return TooLarge(f"the picture has too many pixels ({ex})")


def open_image(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Opens a picture file without decoding its pixels. Raises NotAPicture or TooLarge."""
    start = file.read(12)
    file.seek(0)
    if not start:
        raise NotAPicture("the file is empty")
    if _is_heif(start):
        heif.refuse_fatal(file.read())
        file.seek(0)
    # Pillow's own limit is lower than ours. If it was switched off, it stays off.
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        image = Image.open(file, formats=FORMATS + _heif())
    except Image.DecompressionBombError as ex:
        raise _too_large(ex) from ex
    except UnidentifiedImageError:
        if start[4:8] == b"ftyp" and not _heif():
            raise NotAPicture("HEIC pictures need a package: pip install pi-heif") from None
        raise NotAPicture(
            "not a picture: its content is no JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC"
        ) from None
    pixels = image.width * image.height
    if pixels > max_pixels:
        image.close()
        raise TooLarge(
            f"{image.width} x {image.height} is {pixels:,} pixels, over the limit of {max_pixels:,}"
        )
    return image


@functools.cache
def _heif() -> list[str]:
    """Pillow's name of the HEIF format, if pi-heif is installed."""
    try:
        import pi_heif
    except ImportError:
        return []
    pi_heif.register_heif_opener()
    return ["HEIF"]


def _is_heif(start: bytes) -> bool:
    """Whether pi-heif would open a file with these first 12 bytes."""
    if not _heif():
        return False
    import pi_heif

    return pi_heif.is_supported(io.BytesIO(start))


def _needed_size(stored: tuple[int, int], size: int, thumbnail_size: int) -> tuple[int, int]:
    """The size that has every pixel which the network's input and the thumbnail need."""
    shrink = thumbnail_size / max(stored)
    width, height = (math.ceil(max(size, side * shrink)) for side in stored)
    return width, height
