"""What the server keeps in memory for each database: indexes, maps, tiles and recent reads."""

from __future__ import annotations

import functools
import os
import threading
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Hashable

from cachetools import LRUCache, TTLCache
from datasette.utils.sqlite import sqlite3

from ..atlas.load import Atlases
from ..caching import Cache
from ..errors import ImgsimError
from ..limits import LIMITS
from ..search import functions
from ..search.indexes import Indexes
from . import config
from .urls import TableUrls

SECONDS_REMEMBERED = 2
"""A table page asks the same for each of its cells."""
TILE_OVERHEAD_BYTES = 500


class State:
    """The state of one database. It has no reference to Datasette's, so that both can be freed."""

    def __init__(self, db):
        self.file = _file_of(db)
        """Which file the database is, whatever its name is given to later."""
        self.connect = connector(db)
        self.indexes = Indexes(self.connect)
        self.atlases = Atlases(self.connect)
        self.legends: Cache = Cache(least_pause=0)
        """The legends of the map, by column."""
        self.tiles: LRUCache = LRUCache(
            LIMITS.bytes_of_tiles, lambda tile: len(tile[1]) + TILE_OVERHEAD_BYTES
        )
        """(ETag, JPEG) of the map tiles that were requested last."""
        self.under_way: dict = {}
        """The tasks of the tiles that are being drawn, by the same keys."""
        self.remembered: TTLCache = TTLCache(1_000, SECONDS_REMEMBERED)
        """Recent results of `remember`, by name."""
        self.hidden: list[str] = []
        """The tables that Datasette's lists of tables leave out."""

    def check_file(self, db) -> None:
        """Raises ImgsimError if there is another file under the name of the database.

        Old connections would go on reading the file that was replaced, and new ones the other.
        """
        if None not in (self.file, _file_of(db)) and self.file != _file_of(db):
            raise ImgsimError(
                f"The file of the database {db.name!r} was replaced by another one: "
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


def _file_of(db) -> tuple[int, int] | None:
    """The device and number of a database file; None if it has none, or is away."""
    try:
        stat = os.stat(db.path)
    except (OSError, TypeError):
        return None
    return stat.st_dev, stat.st_ino


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
            get_state(db).indexes.warm(config.read_config(datasette, name).space)


def register_functions(conn: sqlite3.Connection, database: str, datasette) -> None:
    """Adds the SQL functions to a connection of Datasette."""
    db = datasette.databases.get(database)
    if db is None or database == "_internal":
        return
    # The connection must not keep Datasette alive, which keeps the connection.
    here = weakref.ref(datasette)
    functions.register(
        conn,
        get_state(db).indexes,
        config.read_config(datasette, database).space,
        lambda table, id: TableUrls(here(), database, table).thumbnail(id),
    )
