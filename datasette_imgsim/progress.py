"""How long-running work reports its progress: one convention for all of it."""

from __future__ import annotations

import signal
import threading
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


@contextmanager
def interruptible(progress: Progress) -> Iterator[Progress]:
    """A Progress whose Advance raises KeyboardInterrupt if Ctrl-C was pressed since this began.

    Python raises it wherever it is at that moment, but in a callback of compiled code the exception
    is dropped, and the work would go on.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield progress
        return
    pressed = threading.Event()

    def remember(number, frame):
        pressed.set()
        before(number, frame)

    @contextmanager
    def watched(total: int, unit: str = " images", what: str | None = None) -> Iterator[Advance]:
        with progress(total, unit, what) as advance:

            def checked(count: int) -> None:
                if pressed.is_set():
                    raise KeyboardInterrupt
                advance(count)

            yield checked

    signal.signal(signal.SIGINT, remember)
    try:
        yield watched
    finally:
        signal.signal(signal.SIGINT, before)
