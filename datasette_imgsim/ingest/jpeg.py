"""The markers of a JPEG file, looked at before it is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..limits import LIMITS
from .refusals import TooLarge

# A marker; those of restarts belong to the pixels. What stands before it, such as 0xFF, is filling.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
START_OF_SCAN, END = 0xDA, 0xD9
WITHOUT_CONTENT = {0x01, 0xD8, END}
# The headers of frames; the other numbers there are tables.
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}


class Segment(NamedTuple):
    """A marker and what follows it."""

    marker: int
    filling: int
    """How many bytes stand between the segment before and this one."""
    data: bytes


def segments(data: bytes, at: int = 2) -> Iterator[Segment]:
    """The segments of a JPEG file from a position on, in linear time; pixels count as filling."""
    while found := MARKER.search(data, at):
        start, end = found.start(), found.end()
        if found[1][0] not in WITHOUT_CONTENT:
            length = int.from_bytes(data[end : end + 2], "big")
            end += max(2, length)
        yield Segment(found[1][0], start - at, data[start:end])
        at = end


def is_progressive(start: bytes) -> bool:
    """Whether a file that begins like this is progressive, or it cannot be told."""
    frame = next((each.marker for each in segments(start) if each.marker in FRAMES), None)
    return frame is None or frame in PROGRESSIVE


def refuse_slow(data: bytes) -> None:
    """Raises TooLarge for a file with more scans than any program makes, each of all its pixels.

    Raises ValueError for one with so much filling or so many segments that Pillow, which reads
    them one by one, would take long: without them it can be decoded.
    """
    scans = filling = pixels = 0
    components = 1
    has_more_scans = False
    for number, segment in enumerate(segments(data)):
        if number > LIMITS.jpeg_segments:
            raise ValueError(f"more than {LIMITS.jpeg_segments:,} segments")
        if not scans:
            filling += segment.filling
            if filling > LIMITS.jpeg_filling:
                raise ValueError(f"more than {LIMITS.jpeg_filling:,} bytes of filling")
        if segment.marker in FRAMES and len(segment.data) >= 10:
            height, width, components = struct.unpack(">HHB", segment.data[5:10])
            pixels, has_more_scans = width * height, segment.marker in PROGRESSIVE
        elif segment.marker == START_OF_SCAN:
            scans += 1
            if scans > LIMITS.jpeg_scans or scans * pixels > LIMITS.jpeg_pixels_of_scans:
                raise TooLarge(f"the picture has too many scans ({scans:,} of {pixels:,} pixels)")
            # An ordinary photo has one scan of all components: nothing follows.
            if not has_more_scans and segment.data[4:5] == bytes([components]):
                return
        elif segment.marker == END:
            return
