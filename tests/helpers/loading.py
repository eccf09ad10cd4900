"""Values that are loaded in the background: how far a load is, what is in memory."""

from contextlib import contextmanager

from datasette_imgsim.limits import LIMITS

from .waiting import LONG


def reload_at_once(monkeypatch):
    """Lets what has changed be loaded again without a pause."""
    monkeypatch.setattr(LIMITS, "seconds_between_reloads", 0)
    monkeypatch.setattr(LIMITS, "share_of_reloads", 1e9)


def newest_load(indexes, space):
    """The load of a space that began last; None where there was none yet."""
    return indexes.cache.newest_load(space.identity)


def finish(indexes, space):
    """Waits for the load of a space that began last."""
    assert newest_load(indexes, space).done.wait(LONG)


def loads_begun(indexes):
    """The newest load of each space."""
    return [entry.load for entry in indexes.cache.entries.values() if entry.load]


def values_held(cached):
    """What is in memory of the spaces or maps of a database."""
    entries = cached.cache.entries.values()
    return [entry.loaded[1] for entry in entries if entry.loaded is not None]


class Told:
    """A Progress that calls `tell` with the share that is done whenever some more is."""

    def __init__(self, tell):
        self.tell, self.done = tell, 0

    @contextmanager
    def __call__(self, total, unit="", what=None):
        def advance(count):
            self.done += count
            self.tell(self.done / total)

        yield advance


def stand_at(progress, share):
    """Makes it known that so much is done."""
    with progress(100) as advance:
        advance(round(100 * share))
