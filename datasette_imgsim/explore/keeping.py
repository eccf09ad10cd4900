"""Which image of a group to keep and why, and how the others differ from it, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from ..db.duplicates import Facts

WHOLE = 0.9
"""A picture that shows less than this share of another one is a part of it."""
SAME_SIZE = 0.02
"""Sides that differ by less than this share count as equal."""


def moment(facts: Facts) -> datetime | None:
    """When a picture was taken, to the second; None if only the day is known, or nothing."""
    if facts.taken_at is None or "T" not in facts.taken_at:
        return None
    try:
        return datetime.fromisoformat(facts.taken_at).replace(tzinfo=None)
    except ValueError:  # a column of the user's own may hold anything
        return None


def seconds_between(one: datetime | None, other: datetime | None) -> float | None:
    """How many seconds lie between two times; None if one of them is unknown."""
    return None if one is None or other is None else abs((one - other).total_seconds())


# Each: what is best (the smallest value), and why, in words.
REASONS: tuple[tuple[Callable, Callable[[Facts], str]], ...] = (
    (
        lambda facts: -facts.pixels,
        lambda facts: f"it has the most pixels ({facts.width:,} x {facts.height:,})",
    ),
    (
        lambda facts: -(facts.bytes or 0),
        lambda facts: f"it has the largest file ({facts.bytes:,} bytes)",
    ),
    (
        lambda facts: -sum(known is not None for known in (facts.taken_at, facts.camera)),
        lambda facts: "it knows best when and with what it was taken",
    ),
    (
        lambda facts: (facts.mtime_ns is None, facts.mtime_ns or 0),
        lambda facts: "its file is the oldest",
    ),
    (
        lambda facts: (facts.path is None, len(facts.path or "")),
        lambda facts: "its path is the shortest",
    ),
)


def preference(facts: Facts) -> tuple:
    """Sorts images so that the one to keep comes first."""
    values = (best(facts) for best, _ in REASONS)
    return (*values, isinstance(facts.id, str), facts.id)


def why(kept: Facts, others: Sequence[Facts]) -> str:
    """Why an image is the one to keep, as a sentence: what decided."""
    left = list(others)
    of_largest = ""
    for number, (best, words) in enumerate(REASONS):
        still = [each for each in left if best(each) == best(kept)]
        if not still:
            text = of_largest + words(kept)
            return f"{text[0].upper()}{text[1:]}."
        if number == 0 and len(still) < len(left):
            of_largest = "of those with the most pixels "
        left = still
    return "Nothing tells them apart, and it came first."


def differing(
    other: Facts, kept: Facts, *, words: str = "", part: float = 1, is_grey: bool = False
) -> str:
    """How another picture differs from the one to keep, in words.

    `words` are those of its orientation, `part` is the share of the kept one that it shows, more
    than 1 if it shows more, and `is_grey` whether only the other one is grey.
    """
    parts = [words] if words else []
    if part < WHOLE:
        parts.append("a part of it")
    elif part > 1:
        parts.append("with more around it")
    if is_grey:
        parts.append("grey")
    if kept.pixels and other.pixels and part >= WHOLE:
        share = math.sqrt(other.pixels / kept.pixels)
        if abs(1 - share) > SAME_SIZE:
            parts.append(f"{100 * share:.0f} % of its size")
    if not parts and kept.bytes and other.bytes and other.bytes < kept.bytes:
        parts.append(f"{100 * other.bytes / kept.bytes:.0f} % of its bytes")
    return ", ".join(parts) or "the same picture in another file"


def later(other: datetime | None, kept: datetime | None) -> str:
    """How much later than the one to keep another picture was taken, in words."""
    if other is None or kept is None:
        return "of the same moment"
    seconds = round((other - kept).total_seconds())
    if not seconds:
        return "in the same second"
    return f"{abs(seconds)} s {'later' if seconds > 0 else 'earlier'}"
