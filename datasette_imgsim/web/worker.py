"""The one thread in which the network computes, and who may wait for it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..db.spaces import Space
from ..errors import ImgsimError
from ..ingest import settings
from ..ingest.originals import Unseen
from ..ingest.refusals import NotAPicture, TooLarge, TooSmall
from .options import Options, chosen_space
from .refused import Refused
from .source import Source

WAITING = 3
"""How many requests may wait for the model."""

# The model has its own thread, so that SQL queries and other pages continue while it computes.
_model = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-model")
# Acquired when all that is needed is here: slow clients must not keep others out.
_places = threading.Semaphore(1 + WAITING)
# Held by a request that the network be loaded: it takes no place, and one is enough.
_preparing = threading.Semaphore(1)


def too_many() -> Refused:
    return Refused(429, "Too many images are being looked at: try again soon", {"retry-after": "5"})


def usable_space(conn: sqlite3.Connection, source: Source, options: Options) -> Space:
    """The space that a request names. Raises Refused if its network is not on this machine."""
    space = chosen_space(conn, source, options)
    sentence = settings.unavailable(space, source.folder)
    if sentence:
        raise Refused(503, sentence)
    return space


def prepare(space: Space, base: Path) -> bool:
    """Whether the network of a space is loaded; if not, the model's thread soon loads it."""
    from ..ingest import query

    if query.is_ready(space):
        return True
    if _preparing.acquire(blocking=False):
        try:
            work = _model.submit(query.prepare, space, base)
        except RuntimeError:  # threads cannot start: the first picture waits for it
            _preparing.release()
        else:
            # Why it cannot be loaded is told to who sends a picture.
            work.add_done_callback(lambda _work: _preparing.release())
    return False


async def with_network(space: Space, compute, *arguments):
    """What `compute(*arguments)` gives, in the model's thread. Raises Refused, also if it is busy.

    What `ingest` refuses of a picture becomes Refused; any other ImgsimError is about the network.
    """
    if not _places.acquire(blocking=False):
        raise too_many()
    try:
        work = _model.submit(_computed, space, compute, *arguments)
    except RuntimeError:  # threads cannot start
        _places.release()
        return _computed(space, compute, *arguments)
    # Also if the client disconnects now: the place is freed when the work is done or was dropped.
    work.add_done_callback(lambda _work: _places.release())
    return await asyncio.wrap_future(work)


def _computed(space: Space, compute, *arguments):
    try:
        return compute(*arguments)
    except TooLarge as ex:
        raise Refused(413, f"The image is too large: {ex}") from ex
    except NotAPicture as ex:
        raise Refused(415, f"The image cannot be read: {ex}") from ex
    except TooSmall as ex:
        raise Refused(400, str(ex)) from ex
    except Unseen as ex:
        raise Refused(404, str(ex)) from ex
    except ImgsimError as ex:
        # The sentence may contain a path, so it is only for the server's log.
        print(f"datasette-imgsim: {ex}", file=sys.stderr)
        raise Refused(
            503,
            "Looking at pictures does not work here: the network of the space "
            f"{space.name!r} cannot be loaded (see the server's log)",
        ) from ex
