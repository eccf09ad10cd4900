"""What became of the items that a run read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from .decode import Picture
from .sources import Item


@dataclass(frozen=True)
class Read:
    """An item whose content has a vector already, and nothing else is to be read of it."""

    item: Item
    sha256: str


@dataclass(frozen=True)
class Decoded(Read):
    """An item that was decoded: its content is new, or something else is to be read of it."""

    picture: Picture


@dataclass(frozen=True)
class Failed:
    """An item that cannot be embedded; it has a hash if its bytes could be read."""

    item: Item
    error: str
    sha256: str | None = None


Outcome: TypeAlias = "Read | Failed"
"""What became of a pending item."""


def no_numbers(outcome: Outcome) -> Failed:
    """The failure of a picture of which the network gives no usable numbers."""
    # Without size and mtime the next run tries it again, perhaps with another network.
    item = replace(outcome.item, size=None, mtime_ns=None)
    return Failed(item, "the network gives no finite numbers for it", outcome.sha256)
