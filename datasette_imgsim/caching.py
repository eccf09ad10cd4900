"""Values that are slow to load: held in memory, loaded again in the background when outdated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from .limits import LIMITS
from .progress import Advance, Progress

Value = TypeVar("Value")


class NotLoaded(Exception):
    """There is no value to give: it is being loaded, or loading failed."""

    def __init__(self, load: Load):
        super().__init__(load.state)
        self.load = load


class Load:
    """A load of one value, under way or over."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds = 0.0
        """How long it took."""
        self.share = 0.0
        """How much is done, 0..1."""
        self.error: Exception | None = None
        self.done = threading.Event()

    @contextmanager
    def progress(self, total: int, unit: str = "", what: str | None = None) -> Iterator[Advance]:
        """What is done is seen in `share`."""
        steps = 0

        def advance(count: int) -> None:
            nonlocal steps
            steps += count
            self.share = steps / max(1, total)

        yield advance

    def end(self) -> None:
        self.seconds = time.monotonic() - self.started
        self.done.set()

    def may_be_repeated(self, least_pause: float) -> bool:
        """Whether it is over, and began long enough ago (seconds) for another one to begin.

        Loads may take only a share of the time, or a large value that changes all the time would
        be loaded without end.
        """
        pause = max(least_pause, self.seconds / LIMITS.share_of_reloads)
        return self.done.is_set() and time.monotonic() - self.started >= pause

    @property
    def state(self) -> str:
        """What follows the name of the value in a sentence."""
        if self.error is not None:
            return f"cannot be loaded: {self.error}"
        if self.done.is_set():
            return "will be loaded soon"
        return f"is loading, {100 * self.share:.0f} %"


class Entry(Generic[Value]):
    """What is known of one key: the newest value with its version, and the newest load."""

    def __init__(self) -> None:
        self.loaded: tuple[Hashable, Value] | None = None
        self.load: Load | None = None


class Cache(Generic[Value]):
    """The newest loaded value of each key. Safe to call from any thread."""

    def __init__(self, least_pause: float | None = None) -> None:
        """Between the beginnings of two loads lie `least_pause` seconds, by default the limit's."""
        self.least_pause = least_pause
        self.lock = threading.Lock()
        self.entries: dict[Hashable, Entry[Value]] = {}

    def get(
        self,
        key: Hashable,
        version: Hashable,
        load: Callable[[Progress], tuple[Hashable, Value]],
        wait: float | None = None,
        accept_older: bool = True,
    ) -> Value:
        """The value of a key, at `version` where that is loaded; else the older one there is.

        A missing or older value is loaded in a thread by `load`, which gives the version it found
        and the value. Where there is none yet, or no older one is accepted while it is loaded,
        waits for it, `wait` seconds at most. Raises NotLoaded.
        """
        with self.lock:
            entry = self.entries.setdefault(key, Entry())
            held = entry.loaded
            if held is not None and held[0] == version:
                return held[1]
            current = entry.load
            if current is None or current.may_be_repeated(self._pause):
                current = entry.load = Load()
                arguments = (entry, current, load)
                threading.Thread(target=self._load, args=arguments, daemon=True).start()
        if held is None or not accept_older:
            current.done.wait(wait)
            held = entry.loaded
        if held is None:
            raise NotLoaded(current)
        return held[1]

    @property
    def _pause(self) -> float:
        return LIMITS.seconds_between_reloads if self.least_pause is None else self.least_pause

    def held(self, key: Hashable, version: Hashable) -> Value | None:
        """The value of a key, if it is in memory at this version."""
        entry = self.entries.get(key)
        loaded = entry.loaded if entry else None
        return loaded[1] if loaded is not None and loaded[0] == version else None

    def newest(self, key: Hashable) -> Value | None:
        """The value of a key that is in memory, at whatever version."""
        entry = self.entries.get(key)
        return entry.loaded[1] if entry and entry.loaded else None

    def newest_load(self, key: Hashable) -> Load | None:
        entry = self.entries.get(key)
        return entry.load if entry else None

    def put(self, key: Hashable, version: Hashable, value: Value) -> None:
        """Holds a value that the caller has loaded."""
        with self.lock:
            self.entries.setdefault(key, Entry()).loaded = version, value

    def keep(self, keys: Collection[Hashable]) -> None:
        """Lets all values go but those of some keys."""
        with self.lock:
            self.entries = {key: entry for key, entry in self.entries.items() if key in keys}

    @staticmethod
    def _load(
        entry: Entry[Value], current: Load, load: Callable[[Progress], tuple[Hashable, Value]]
    ) -> None:
        old = entry.loaded
        try:
            entry.loaded = load(current.progress)
        except Exception as ex:  # whatever it is belongs to the caller who waits for it
            current.error = ex
        finally:
            current.end()
        if old is not None:
            # A statement that began with the old value may go on with it: this variable keeps it.
            time.sleep(LIMITS.seconds_a_statement)
