"""How long work tells how far it is: one convention for everything that takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[int], object]
"""Called with how many steps were done since the last call."""


class Progress(Protocol):
    """Shows the progress of one piece of work, such as a bar in a terminal."""

    def __call__(
        self, total: int, unit: str = " images", what: str | None = None
    ) -> AbstractContextManager[Advance]:
        """Begins work of `total` steps; `unit` follows their number, `what` names the work."""


@contextmanager
def silent(total: int, unit: str = " images", what: str | None = None) -> Iterator[Advance]:
    """Shows nothing."""
    yield ignore


def ignore(count: int) -> None:
    """An Advance that tells nobody."""
