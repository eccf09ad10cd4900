"""HEIC pictures: opening them, and refusing those that would end the process."""

from __future__ import annotations

import re

from .refusals import NotAPicture

# An item of a HEIF file (ISO/IEC 23008-12, infe) up to its type and names.
ITEM = re.compile(rb"infe(?:\x02.{7}|\x03.{9})", re.DOTALL)


def refuse_fatal(data: bytes) -> None:
    """Raises NotAPicture for item names that are not UTF-8: they crash pi-heif 1.4 (SIGSEGV)."""
    looked_at = 0
    for item in ITEM.finditer(data):
        box = item.start() - 4
        end = min(box + int.from_bytes(data[max(0, box) : box + 4], "big"), len(data))
        # Items lie beside each other. If they claim more than the file, looking at all that they
        # claim would take as long as its square.
        looked_at += max(0, end - item.end())
        if looked_at > len(data):
            raise NotAPicture("the picture is damaged (its items overlap)")
        try:
            str(memoryview(data)[item.end() : end], "utf-8")
        except UnicodeDecodeError:
            raise NotAPicture("the picture is damaged (an item's name is no text)") from None
