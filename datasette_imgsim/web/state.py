"""What the server keeps in memory for each database: indexes, maps, tiles and recent reads."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Executor
from contextlib import closing

from cachetools import LRUCache, TTLCache
from datasette.utils.sqlite import sqlite3

from ..atlas.load import Atlases
from ..caching import Cache, NotLoaded
from ..errors import ImgsimError
from ..limits import LIMITS
from ..search import functions
from ..search.indexes import Indexes
from . import config
from .held import HeldPictures
from .threads import in_thread
from .urls import TableUrls

SECONDS_REMEMBERED = 2
"""A table page asks the same for each of its cells."""
TILE_OVERHEAD_BYTES = 500


class State:
    """The state of one database. It has no reference to Datasette's, so that both can be freed."""

    def __init__(self, db):
        self.name, self.path = db.name, db.path
        self.file = _file_of(db.path)
        """Which file the database is, whatever its name is given to later."""
        self.connect = connector(db)
        self.indexes = Indexes(self.connect)
        self.atlases = Atlases(self.connect)
        self.legends: Cache = Cache(least_pause=0)
        """The legends of the map, by column."""
        self.groups: Cache = Cache(least_pause=0)
        """The groups of each space, and where their names stand on its map and wall."""
        self.tiles: LRUCache = LRUCache(
            LIMITS.bytes_of_tiles, lambda tile: len(tile[1]) + TILE_OVERHEAD_BYTES
        )
        """(ETag, JPEG) of the map tiles that were requested last."""
        self.under_way: dict = {}
        """The tasks of what `once` finds, by name."""
        self.masks: TTLCache = TTLCache(
            LIMITS.bytes_of_masks, LIMITS.seconds_of_masks, getsizeof=len
        )
        """Which images of a map pass a filter or have a value, (n,) bool, and how many of each
        value pass."""
        self.remembered: TTLCache = TTLCache(1_000, SECONDS_REMEMBERED)
        """Recent results of `remember`, by name."""
        self.held = HeldPictures()
        self.parts: LRUCache = LRUCache(LIMITS.bytes_of_parts, lambda part: part.bytes)
        """The parts of pictures that were searched with last."""
        self.whys: LRUCache = LRUCache(LIMITS.bytes_of_whys, lambda why: why.size)
        """Why two pictures are alike, of the pairs that were asked about last."""
        self.hidden: list[str] = []
        """The tables that Datasette's lists of tables leave out."""

    @property
    def is_replaced(self) -> bool:
        """Whether there is another file under the path of the database.

        Datasette keeps a connection for each of its threads. Old ones go on reading the file that
        was replaced, and new ones read the other.
        """
        return None not in (self.file, now := _file_of(self.path)) and self.file != now

    def check_file(self) -> None:
        """Raises ImgsimError if the file of the database was replaced."""
        if self.is_replaced:
            raise ImgsimError(
                f"The file of the database {self.name!r} was replaced by another one: "
                "start Datasette again"
            )

    async def remember(self, db, name: str, read: Callable):
        """The result of `read(conn)`, at most SECONDS_REMEMBERED old."""
        return await self.remember_found(name, lambda: db.execute_fn(read))

    async def remember_found(self, name: Hashable, find: Callable[[], Awaitable]):
        """What `find()` found, at most SECONDS_REMEMBERED ago."""
        value = self.remembered.get(name, self)
        if value is self:  # not remembered
            value = self.remembered[name] = await find()
        return value

    async def loaded(
        self, pool: Executor, cache: Cache, key: Hashable, version: Hashable, read: Callable
    ):
        """The value of a key in a cache: at this version, or what `read(conn)` makes in a pool.

        That has no time limit. A value that takes long is not made anew all the time: an older one
        may be given for some times as long.
        """

        def load(progress):
            with closing(self.connect()) as conn:
                return version, read(conn)

        def get():
            try:
                return cache.get(key, version, load, accept_older=False)
            except NotLoaded as ex:
                raise ex.load.error from ex

        value = cache.held(key, version)
        return await in_thread(pool, get) if value is None else value

    async def once(self, name: Hashable, find: Callable[[], Awaitable]):
        """What `find()` finds; who asks for the same meanwhile waits for it."""
        task = self.under_way.get(name)
        if task is None:
            task = self.under_way[name] = asyncio.ensure_future(find())
            task.add_done_callback(lambda _: self.under_way.pop(name))
        # A client that disconnects must not cancel it for the others.
        return await asyncio.shield(task)


def _file_of(path: str | None) -> tuple[int, int] | None:
    """The device and number of a database file; None if there is none, or it is away."""
    try:
        stat = os.stat(path)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None
    return stat.st_dev, stat.st_ino


def file_stamps(db) -> tuple:
    """A value that changes when a database file or its write-ahead log is written to."""
    stamps: list[tuple | None] = []
    for path in (db.path, f"{db.path}-wal") if db.path else ():
        try:
            stat = os.stat(path)
            stamps.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


_lock = threading.Lock()
_states: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def get_state(db) -> State:
    """The state of a Datasette database. It exists as long as the Database object."""
    with _lock:
        if db not in _states:
            _states[db] = State(db)
        return _states[db]


def connector(db) -> Callable[[], sqlite3.Connection] | None:
    """A function that opens private connections to a database, which only the caller closes.

    When Datasette stops, it closes all connections it knows: during a load, that would crash the
    process. None for a nameless database in memory, where each connection has its own tables.
    """
    if db.memory_name:
        uri = f"file:{db.memory_name}?mode=memory&cache=shared"
    elif db.is_memory:
        return None
    else:
        mode = "mode=ro" if db.is_mutable else "immutable=1"
        if db.is_mutable and db.ds.nolock:
            mode += "&nolock=1"
        uri = f"file:{urllib.parse.quote(str(db.path))}?{mode}"
    return functools.partial(sqlite3.connect, uri, uri=True, check_same_thread=False)


def warm(datasette) -> None:
    """Starts loading the default spaces, so that the first query need not wait."""
    for name, db in datasette.databases.items():
        if name != "_internal":
            settings = config.read_config(datasette, name)
            indexes = get_state(db).indexes
            indexes.use(config.opener(db, settings))
            indexes.warm(settings.space)


def register_functions(conn: sqlite3.Connection, database: str, datasette) -> None:
    """Adds the SQL functions to a connection of Datasette."""
    db = datasette.databases.get(database)
    if db is None or database == "_internal":
        return
    # A connection keeps these functions, which must not keep Datasette.
    state, settings = get_state(db), config.read_config(datasette, database)
    state.indexes.use(config.opener(db, settings))
    here = weakref.ref(datasette)

    def configured(conn: sqlite3.Connection) -> str | None:
        state.check_file()
        return settings.space_in(conn)

    def address(table: str, id) -> str:
        return TableUrls(here(), database, table).thumbnail(id)

    functions.register(conn, state.indexes, configured, address)
