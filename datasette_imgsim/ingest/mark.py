"""Leaves a mark while a picture is decoded that needs much memory.

If that ends the whole run, as where the system ends a container that has too little memory, the
next run knows what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .decode import one_at_a_time
from .sources import Item

SUFFIX = "-decoding"
REASON = "the run before was ended while it decoded this; --retry-failed tries it again"


class Marked(NamedTuple):
    """The picture that ended a run."""

    table: str
    """The source table of the run."""
    name: str
    """Of the picture, as in `imgsim_failures`."""
    stamp: list
    """That of its item."""


class Mark:
    """A file beside the database, there for as long as a large picture is decoded."""

    def __init__(self, database: Path):
        self.file = database.with_name(database.name + SUFFIX)

    @contextmanager
    def on(self, table: str, item: Item) -> Iterator[None]:
        """Marks an item of a run over a table, once no other large picture is decoded."""
        with one_at_a_time():
            try:
                self.file.write_text(json.dumps(Marked(table, str(item.name), [*item.stamp])))
            except OSError:
                pass  # without a mark, all else is as it would be
            try:
                yield
            finally:
                self._remove()

    def take(self) -> Marked | None:
        """What an earlier run left, if it was ended; it is there only once."""
        try:
            return Marked(*json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError):  # absent, or the system ended, too
            return None
        finally:
            self._remove()

    def _remove(self) -> None:
        try:
            self.file.unlink(missing_ok=True)
        except OSError:
            pass
