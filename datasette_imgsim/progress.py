"""How long-running work reports its progress: one convention for all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[int], object]
"""Called with the number of steps done since the last call."""


class Progress(Protocol):
    """Shows the progress of one piece of work, such as a bar in a terminal."""

    def __call__(
        self, total: int, unit: str = " images", what: str | None = None
    ) -> AbstractContextManager[Advance]:
        """The context in which `total` steps are done.

        `unit` is shown after the number of steps, and `what` names the work.
        """


@contextmanager
def silent(total: int, unit: str = " images", what: str | None = None) -> Iterator[Advance]:
    """A Progress that shows nothing."""
    yield ignore


def ignore(count: int) -> None:
    """An Advance that does nothing."""
