"""HEIC pictures: refusing those that would end the process, and mending their metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .refusals import NotAPicture

# An item of a HEIF file (ISO/IEC 23008-12, infe) up to its type and names.
ITEM = re.compile(rb"infe(?:\x02.{7}|\x03.{9})", re.DOTALL)
METADATA = re.compile(rb"(%b)(?:Exif|mime)" % ITEM.pattern, re.DOTALL)
# What refers from metadata to the item that it describes (cdsc), in a box of less than 64 KB.
REFERENCE = re.compile(rb"(\0\0..)cdsc", re.DOTALL)


def refuse_fatal(data: bytes) -> None:
    """Raises ValueError for item names that are not UTF-8: they crash pi-heif 1.4 (SIGSEGV).

    Raises NotAPicture if they cannot be mended.
    """
    for item in _items(data):
        try:
            str(memoryview(data)[item], "utf-8")
        except UnicodeDecodeError:
            raise ValueError("an item's name is no text") from None


def without_metadata(data: bytes) -> bytes:
    """A HEIF or AVIF file whose metadata is hidden, and whose names of items are text."""
    hidden = bytearray(REFERENCE.sub(rb"\1skip", METADATA.sub(rb"\1skip", data)))
    for item in _items(data):
        hidden[item] = bytes(byte if byte < 128 else ord("_") for byte in hidden[item])
    return bytes(hidden)


def _items(data: bytes) -> Iterator[slice]:
    """Where the types and names of items are. Raises NotAPicture for overlapping ones."""
    looked_at = 0
    for item in ITEM.finditer(data):
        box = item.start() - 4
        end = min(box + int.from_bytes(data[max(0, box) : box + 4], "big"), len(data))
        # Items lie beside each other. If they claim more than the file, looking at all that they
        # claim would take as long as its square.
        looked_at += max(0, end - item.end())
        if looked_at > len(data):
            raise NotAPicture("the picture is damaged (its items overlap)")
        yield slice(item.end(), end)
