"""Opens picture files by their content, without decoding pixels.

Pillow's own `Image.open` has a limit on pixels that only a variable of the whole process can
change, and knows AVIF and HEIC by the first of their brands alone. So its formats are called here.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from . import heif
from .refusals import NotAPicture, TooLarge

Opener: TypeAlias = "Callable[[BinaryIO], Image.Image]"


class _TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF file that is decoded without regard to Pillow's own limit on pixels."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)
        super().load_prepare()


# The first bytes of a file, and what opens it.
OPENERS: list[tuple[bytes, Opener]] = [
    (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    *((prefix, _TiffFile) for prefix in TiffImagePlugin.PREFIXES),
]
AVIF = {b"avif", b"avis"}
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
EITHER = {b"mif1", b"msf1", b"miaf"}
MOST_BRANDS = 100


def open_image(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Opens a picture file without decoding its pixels.

    Raises NotAPicture or TooLarge, and nearly any error for a damaged file.
    """
    opener = _opener(file)
    file.seek(0)
    image = opener(file)
    refuse_pixels(image.size, max_pixels)
    return image


def refuse_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Raises TooLarge for a picture of this size with more pixels than are allowed."""
    width, height = size
    pixels = width * height
    if pixels > max_pixels:
        raise TooLarge(f"{width} x {height} is {pixels:,} pixels, over the limit of {max_pixels:,}")


def _opener(file: BinaryIO) -> Opener:
    """What opens a file with these first bytes. Raises NotAPicture if nothing does."""
    start = file.read(16)
    if not start:
        raise NotAPicture("the file is empty")
    for prefix, opener in OPENERS:
        if start.startswith(prefix):
            return opener
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    brands = _brands(start, file) if start[4:8] == b"ftyp" else set()
    if brands & AVIF:
        return AvifImagePlugin.AvifImageFile
    if brands & (HEIC | EITHER):
        return _open_heif
    raise NotAPicture(
        "not a picture: its content is no JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC"
    )


def _brands(start: bytes, file: BinaryIO) -> set[bytes]:
    """The brands that a file in the form of ISO/IEC 14496-12 names at its start."""
    (size,) = struct.unpack(">I", start[:4])
    brands = start[8:12] + file.read(min(max(0, size - 16), 4 * MOST_BRANDS))
    return {brands[at : at + 4] for at in range(0, len(brands), 4)}


def _open_heif(file: BinaryIO) -> Image.Image:
    opener = heif_opener()
    if opener is None:
        raise NotAPicture("HEIC pictures need a package: pip install pi-heif")
    heif.refuse_fatal(file.read())
    file.seek(0)
    return opener(file)


@functools.cache
def heif_opener() -> Opener | None:
    """What opens HEIC pictures; None unless pi-heif is installed."""
    try:
        import pi_heif
    except ImportError:
        return None
    return pi_heif.HeifImageFile
