"""What became of the items that a run read, one by one and in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .decode import Picture
from .sources import Item

NO_NUMBERS = "the network gives no finite numbers for it"


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
    return Failed(item, NO_NUMBERS, outcome.sha256)


@dataclass
class Summary:
    """What a run did, in numbers of images."""

    embedded: int = 0
    unchanged: int = 0
    read_again: int = 0
    """Those of the unchanged ones whose facts or thumbnail were read again."""
    renamed: int = 0
    copied: int = 0
    failed: int = 0
    failed_before: int = 0
    pruned: int = 0
    kept: int = 0
    """Images that were not pruned, since nothing is left of their folder: it may be away."""
    missing_folder: str | None = None
    """One of these folders, as stored paths name it."""
    without_key: int = 0
    """Rows of a table that were skipped, since their key is null."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of other suffixes, and folders that no person made, by suffix or name."""
    ended_before: str | None = None
    """What an earlier run decoded when it was ended: it is left out now."""
    interrupted: bool = False
    space: str | None = None
    """The name of the space of the run; None if there was nothing to embed."""
    default_space: str | None = None
    """The name of the default space of the same table."""
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """The number of images that are new or other ones."""
        return self.embedded + self.renamed + self.copied

    @property
    def nothing_worked(self) -> bool:
        """Whether there were failures and no successes."""
        return self.failed > 0 and not self.changed
