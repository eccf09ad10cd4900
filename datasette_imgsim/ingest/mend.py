"""Leaves out of a picture file what keeps Pillow from reading it, where browsers do show it.

What belongs to metadata, or stands after the last pixel, never costs the picture.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from . import heif
from .jpeg import START_OF_SCAN, segments

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
# Pillow reads profiles up to this size from PNG files.
PNG_PROFILE = 1_000_000
# Segments of a JPEG file that matter for its pixels, their first bytes, and the shortest length.
JPEG_KEPT = {
    0xE0: (b"JFIF\0", 16),
    0xE1: (b"Exif\0\0", 16),
    0xE2: (b"ICC_PROFILE\0", 16),
    0xEE: (b"Adobe", 14),
}
# So many segments or chunks are looked at in a moment. What has more is not mended.
MOST_PARTS = 100_000
APP0, APP15, COMMENT = 0xE0, 0xEF, 0xFE
JPEG_END = b"\xff\xd9"
# What libjpeg puts where pixels are missing. Inks are stored inverted.
MISSING_GREYS = (127, 128)
# So much of the lowest row may be missing: nobody sees it, and so do browsers show it.
MISSING_SHARE = 0.25
WEBP_KEPT = {b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"}
# Where the header of a WebP file says that there is a profile, EXIF, and XMP.
WEBP_ICC, WEBP_EXIF, WEBP_XMP = 0x20, 0x08, 0x04


def mended(data: bytes) -> bytes | None:
    """The file without metadata that may be damaged, and with an end; None for other formats."""
    if data.startswith(PNG_START):
        return b"".join([PNG_START, *_png_chunks(data)])
    if data.startswith(b"\xff\xd8"):
        return _jpeg_without_metadata(data).rstrip(b"\xff") + JPEG_END
    if data.startswith(b"RIFF"):
        return _webp_without_metadata(data)
    if data[4:8] == b"ftyp":
        return heif.without_metadata(data)
    return None


def lacks_pixels(image: Image.Image) -> bool:
    """Whether pixels are missing in a loaded JPEG whose end was mended: they are a middle grey."""
    if image.format not in ("JPEG", "MPO"):
        return False
    lowest = np.asarray(image.crop((0, image.height - 1, image.width, image.height)), int)
    right = lowest.reshape(image.width, -1)[-math.ceil(image.width * MISSING_SHARE) :]
    return bool(np.isin(right, MISSING_GREYS).all())


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at = len(PNG_START)
    for _ in range(MOST_PARTS):
        if at + 12 > len(data):
            break
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunk = data[at : at + 12 + size]
        kind, content = chunk[4:8], chunk[8:-4]
        sound = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        if kind in PNG_PIXELS or (
            sound and (kind == b"eXIf" or (kind == b"iCCP" and _is_profile(content)))
        ):
            yield chunk
        at += len(chunk)


def _is_profile(content: bytes) -> bool:
    """Whether Pillow can read what a chunk iCCP contains: a name, a method, and a profile."""
    _, _, rest = content.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(rest[1:], PNG_PROFILE + 1)
    except zlib.error:
        return False
    return rest[:1] == b"\0" and len(profile) <= PNG_PROFILE


def _jpeg_without_metadata(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    for segment in itertools.islice(segments(data), MOST_PARTS):
        if segment.marker == START_OF_SCAN:
            at += segment.filling
            break
        at += segment.filling + len(segment.data)
        start, least = JPEG_KEPT.get(segment.marker, (b"", 0))
        is_metadata = APP0 <= segment.marker <= APP15 or segment.marker == COMMENT
        if not is_metadata or (
            start and segment.data[4:].startswith(start) and len(segment.data) >= 2 + least
        ):
            kept.append(segment.data)
    return b"".join([*kept, data[at:]])


def _webp_without_metadata(data: bytes) -> bytes:
    kept, at = [], 12
    while at + 8 <= len(data):
        (size,) = struct.unpack("<I", data[at + 4 : at + 8])
        chunk = data[at : at + 8 + size]
        if chunk[:4] in WEBP_KEPT and len(chunk) == 8 + size:
            kept.append(chunk + bytes(size % 2))
        at += 8 + size + size % 2
    kinds = {chunk[:4] for chunk in kept}
    absent = WEBP_XMP
    absent |= 0 if b"ICCP" in kinds else WEBP_ICC
    absent |= 0 if b"EXIF" in kinds else WEBP_EXIF
    if kept and kept[0].startswith(b"VP8X"):
        kept[0] = kept[0][:8] + bytes([kept[0][8] & ~absent]) + kept[0][9:]
    content = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(content)) + content
