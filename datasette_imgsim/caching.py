"""A cache of values that are slow to load: outdated ones are reloaded in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from .limits import LIMITS
from .progress import Advance, Progress

Value = TypeVar("Value")


def start_thread(target: Callable, *arguments) -> bool:
    """Starts a thread that does not outlive the program; False where threads cannot start.

    In a browser (Datasette Lite) there are none.
    """
    try:
        threading.Thread(target=target, args=arguments, daemon=True).start()
    except RuntimeError:
        return False
    return True


class NotLoaded(Exception):
    """There is no value yet: it is being loaded, or loading failed (see `load.error`)."""

    def __init__(self, load: Load):
        super().__init__(load.state)
        self.load = load


class Load:
    """One attempt to load a value, running or finished."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds = 0.0
        """How long it took, once finished."""
        self.share = 0.0
        """How much is done, 0..1."""
        self.error: Exception | None = None
        self.done = threading.Event()

    @contextmanager
    def progress(self, total: int, unit: str = "", what: str | None = None) -> Iterator[Advance]:
        """A Progress that is recorded in `share`."""
        steps = 0

        def advance(count: int) -> None:
            nonlocal steps
            steps += count
            self.share = steps / max(1, total)

        yield advance

    def end(self) -> None:
        """Marks the load as finished."""
        self.seconds = time.monotonic() - self.started
        self.done.set()

    def may_be_repeated(self, least_pause: float) -> bool:
        """Whether this load is finished and another may begin.

        It must have begun at least `least_pause` seconds ago. The pause grows with the time a load
        takes, or a large value that changes all the time would be loaded without end.
        """
        pause = max(least_pause, self.seconds / LIMITS.share_of_reloads)
        return self.done.is_set() and time.monotonic() - self.started >= pause

    @property
    def state(self) -> str:
        """The state of the load in words, to follow the value's name in a sentence."""
        if self.error is not None:
            return f"cannot be loaded: {self.error}"
        if self.done.is_set():
            return "will be loaded soon"
        return f"is loading, {100 * self.share:.0f} %"


class Entry(Generic[Value]):
    """The newest value of one key with its version, and the key's newest load."""

    def __init__(self) -> None:
        self.loaded: tuple[Hashable, Value] | None = None
        self.load: Load | None = None


class Cache(Generic[Value]):
    """The newest loaded value of each key. Safe to call from any thread."""

    def __init__(self, least_pause: float | None = None) -> None:
        """Loads of a key begin at least `least_pause` seconds apart.

        None stands for LIMITS.seconds_between_reloads.
        """
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
        """The value of a key: at `version` if that is in memory, else an older one.

        A missing or older value is loaded in a thread: `load` returns the version it read, and the
        value. If there is no value yet, or `accept_older` is False, the call waits for the load,
        at most `wait` seconds. Raises NotLoaded.
        """
        with self.lock:
            entry = self.entries.setdefault(key, Entry())
            held = entry.loaded
            if held is not None and held[0] == version:
                return held[1]
            current = entry.load
            if current is None or current.may_be_repeated(self._pause):
                current = entry.load = Load()
                is_started = start_thread(self._load, entry, current, load)
            else:
                is_started = True
        if not is_started:
            self._load_value(entry, current, load)
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
        """The value of a key if it is in memory at this version, else None."""
        entry = self.entries.get(key)
        loaded = entry.loaded if entry else None
        return loaded[1] if loaded is not None and loaded[0] == version else None

    def newest(self, key: Hashable) -> Value | None:
        """The value of a key that is in memory, at any version, or None."""
        entry = self.entries.get(key)
        return entry.loaded[1] if entry and entry.loaded else None

    def newest_load(self, key: Hashable) -> Load | None:
        """The load of a key that began last, or None."""
        entry = self.entries.get(key)
        return entry.load if entry else None

    def put(self, key: Hashable, version: Hashable, value: Value) -> None:
        """Stores a value that the caller has loaded."""
        with self.lock:
            self.entries.setdefault(key, Entry()).loaded = version, value

    def keep(self, keys: Collection[Hashable]) -> None:
        """Drops the values of all other keys."""
        with self.lock:
            self.entries = {key: entry for key, entry in self.entries.items() if key in keys}

    @classmethod
    def _load(
        cls, entry: Entry[Value], current: Load, load: Callable[[Progress], tuple[Hashable, Value]]
    ) -> None:
        old = entry.loaded
        cls._load_value(entry, current, load)
        if old is not None:
            # A running statement may still use the old value: this reference keeps it in memory.
            time.sleep(LIMITS.seconds_a_statement)

    @staticmethod
    def _load_value(
        entry: Entry[Value], current: Load, load: Callable[[Progress], tuple[Hashable, Value]]
    ) -> None:
        try:
            entry.loaded = load(current.progress)
        except Exception as ex:  # any error is for the callers of `get`
            current.error = ex
        finally:
            current.end()
