"""Opens picture files by their content, without decoding pixels.

Pillow's own `Image.open` has a limit on pixels that only a variable of the whole process can
change, and knows AVIF and HEIC by the first of their brands alone. So its formats are called here.
"""

from __future__ import annotations

import functools
import io
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

from ..limits import LIMITS
from . import heif, jpeg, mend
from .cost import BYTES_OF_COLOURS, BYTES_OF_COPIES, refuse_pixels
from .refusals import NotAPicture, TooLarge

# Of a photo, what stands before its pixels fits into this.
JPEG_START = 500_000
# Programs write pixels in chunks of some thousand bytes.
PNG_SMALL = 1_000
# A tag of TIFF, and its bits for a smaller version of another page and for a mask.
SUBFILE_TYPE, REDUCED_OR_MASK = 254, 1 | 4
Opener: TypeAlias = "Callable[[BinaryIO], Image.Image]"


class _TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF file that is decoded without regard to Pillow's own limit on pixels."""

    def _setup(self) -> None:
        for tag in (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS):
            parts = self.tag_v2.get(tag, ())
            # Pillow makes objects of them, one by one.
            if isinstance(parts, tuple) and len(parts) > LIMITS.tiff_parts:
                raise TooLarge(f"the picture has too many tiles or strips ({len(parts):,})")
        super()._setup()

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.core.new(self.mode, self._tile_size)
        super().load_prepare()


def _whole(file: BinaryIO) -> bytes:
    """The bytes of a file that is read as a whole. Raises TooLarge."""
    # Python takes the memory for as many bytes as it is told to read, before it reads them.
    if file.seek(0, io.SEEK_END) > LIMITS.bytes_of_file:
        raise TooLarge(f"the file is larger than {LIMITS.bytes_of_file / 1e9:g} GB")
    file.seek(0)
    data = file.read()
    file.seek(0)
    return data


def _open_jpeg(file: BinaryIO) -> Image.Image:
    jpeg.refuse_slow(_whole(file))
    return JpegImagePlugin.jpeg_factory(file)


def _open_png(file: BinaryIO) -> Image.Image:
    """Raises ValueError for very many chunks, which Pillow reads one by one."""
    file.seek(len(mend.PNG_START))
    others = 0
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4], "big")
        others += head[4:] != b"IDAT" or size < PNG_SMALL
        if others > LIMITS.png_chunks:
            raise ValueError(f"more than {LIMITS.png_chunks:,} chunks")
        file.seek(size + 4, io.SEEK_CUR)
    file.seek(0)
    return PngImagePlugin.PngImageFile(file)


def _open_webp(file: BinaryIO) -> Image.Image:
    _whole(file)
    return WebPImagePlugin.WebPImageFile(file)


def _webp_size(start: bytes) -> tuple[int, int]:
    """The size that the first 30 bytes of a WebP file tell; (0, 0) if they do not."""
    kind, content = start[12:16], int.from_bytes(start[20:30], "little")
    if kind == b"VP8X":
        return (content >> 32 & 0xFFFFFF) + 1, (content >> 56 & 0xFFFFFF) + 1
    if kind == b"VP8 ":
        return content >> 48 & 0x3FFF, content >> 64 & 0x3FFF
    if kind == b"VP8L":
        return (content >> 8 & 0x3FFF) + 1, (content >> 22 & 0x3FFF) + 1
    return 0, 0


def _open_avif(file: BinaryIO) -> Image.Image:
    _whole(file)
    return AvifImagePlugin.AvifImageFile(file)


def _open_tiff(file: BinaryIO) -> Image.Image:
    """Opens the page that is the picture: the first, unless that is a thumbnail of another."""
    image = _TiffFile(file)
    sizes: list[int] = []
    try:
        for number in range(LIMITS.tiff_pages):
            image.seek(number)
            is_picture = not image.tag_v2.get(SUBFILE_TYPE, 0) & REDUCED_OR_MASK
            sizes.append(image.width * image.height * is_picture)
    except Exception:  # after the last page, and also if one is damaged
        pass
    chosen = next((n for n, size in enumerate(sizes) if size * 2 >= max(sizes)), 0)
    # Opened anew, since a damaged page leaves traces.
    file.seek(0)
    image = _TiffFile(file)
    image.seek(chosen)
    return image


# The first bytes of a file, and what opens it.
OPENERS: list[tuple[bytes, Opener]] = [
    (b"\xff\xd8\xff", _open_jpeg),
    (mend.PNG_START, _open_png),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    *((prefix, _open_tiff) for prefix in TiffImagePlugin.PREFIXES),
]
AVIF = {b"avif", b"avis"}
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
EITHER = {b"mif1", b"msf1", b"miaf"}
MOST_BRANDS = 100


def open_image(file: BinaryIO, max_pixels: int, make_room: Callable[[int], None]) -> Image.Image:
    """Opens a picture file without decoding its pixels.

    `make_room` is called with the bytes that opening it allocates, where these are many. Raises
    NotAPicture or TooLarge, and nearly any error for a damaged file.
    """
    opener = _opener(file)
    file.seek(0)
    if opener is _open_webp:
        # The decoder allocates pixels when it is made, before Pillow knows the size.
        width, height = _webp_size(file.read(30))
        refuse_pixels((width, height), max_pixels)
        make_room(width * height * (BYTES_OF_COPIES["WEBP"] + BYTES_OF_COLOURS))
        file.seek(0)
    image = opener(file)
    refuse_pixels(image.size, max_pixels)
    return image


def is_ordinary(file: BinaryIO) -> bool:
    """Whether a file is small and of a format whose decoder never runs long or crashes.

    Some 100,000 mutated files showed it. Others may do: HEIC, AVIF, TIFF, progressive JPEG, and the
    lists of commands that GIF and BMP may be.
    """
    opener = _opener(file)
    if opener not in (_open_jpeg, _open_png, _open_webp):
        return False
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if opener is _open_jpeg and jpeg.is_progressive(file.read(JPEG_START)):
        return False
    file.seek(0)
    return size <= LIMITS.bytes_of_ordinary


def _opener(file: BinaryIO) -> Opener:
    """What opens a file with these first bytes. Raises NotAPicture if nothing does."""
    start = file.read(16)
    if not start:
        raise NotAPicture("the file is empty")
    for prefix, opener in OPENERS:
        if start.startswith(prefix):
            return opener
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _open_webp
    brands = _brands(start, file) if start[4:8] == b"ftyp" else set()
    if brands & AVIF:
        return _open_avif
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
    heif.refuse_fatal(_whole(file))
    return opener(file)


@functools.cache
def heif_opener() -> Opener | None:
    """What opens HEIC pictures; None unless pi-heif is installed."""
    try:
        import pi_heif
    except ImportError:
        return None
    return pi_heif.HeifImageFile
