"""Loads spaces into memory, and keeps the indexes of one database."""

from __future__ import annotations

import functools
import math
import sqlite3
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TypeAlias

import numpy as np

from .. import sqlite_errors
from ..caching import Cache, NotLoaded, start_thread
from ..db import schema, versions
from ..db.spaces import Space, all_spaces
from ..db.tables import SourceTable
from ..errors import ImgsimError, Loading
from ..limits import LIMITS
from ..progress import Progress, silent
from .calibration import sampled
from .engine import Engine, InEngine, opened
from .graph import Graphs
from .index import Index, InMemory, ReductionOnly, WithReduction
from .reduction import Reduction
from .vectors import VECTOR_SQL, centred, decoded, sample, sound_centre

SAMPLE, BYTES_OF_SAMPLE = 4_000, 64_000_000
"""The most vectors from which a reduction is made, and their most bytes."""
TRIES_WITHOUT_LOCK = 3
Connect: TypeAlias = Callable[[], sqlite3.Connection]


class CannotLoad(ImgsimError):
    """The space could not be loaded."""


def load(
    conn: sqlite3.Connection, space: Space, progress: Progress = silent, centring: bool = True
) -> Index:
    """Loads a space; without `centring`, its vectors are not centred.

    It is read in pieces, so that a writer need not wait, and once more if it has changed
    meanwhile. A space that changes all the time is in the end read in one transaction. Raises
    ImgsimError.
    """
    for _ in range(TRIES_WITHOUT_LOCK):
        index = _read(conn, space, progress, centring)
        if _latest(conn, space).generation == index.space.generation:
            return index
    conn.execute("begin")
    try:
        return _read(conn, space, progress, centring)
    finally:
        conn.execute("commit")


def _latest(conn: sqlite3.Connection, space: Space) -> Space:
    """The space as it is now in the database. Raises ImgsimError if it is gone."""
    for existing in all_spaces(conn):
        if existing.identity == space.identity:
            return existing
    raise ImgsimError("it was removed, or the database file was replaced")


def _read(conn: sqlite3.Connection, space: Space, progress: Progress, centring: bool) -> Index:
    space = _latest(conn, space)
    table = SourceTable.read(conn, space.source_table)
    centre = sound_centre(conn, space) if centring else None
    sql = "select count(*) from imgsim_vectors where space_id = ?"
    (count,) = conn.execute(sql, [space.id]).fetchone()
    size = 4 * space.dimensions * count
    matrix = reduction = reduced = None
    if size <= LIMITS.bytes_in_memory:
        matrix = np.empty((count, space.dimensions), np.float32)
    if size > min(LIMITS.bytes_scanned, LIMITS.bytes_in_memory):
        vectors = sample(conn, space, centre, SAMPLE, BYTES_OF_SAMPLE)
        reduction = Reduction(space.levels, vectors)
        reduced = np.empty((count, reduction.numbers), np.float32)
    ids: array | list = array("q")
    damaged = []
    with progress(count) as advance:
        for keys, blobs in pieces(conn, space, table, count):
            raw, usable = decoded(space, blobs)
            start, usable_ids = len(ids), [id for id, is_usable in zip(keys, usable) if is_usable]
            if isinstance(ids, array) and not all(isinstance(id, int) for id in usable_ids):
                ids = list(ids)
            ids.extend(usable_ids)
            damaged += [id for id, is_usable in zip(keys, usable) if not is_usable]
            vectors, piece = centred(space, centre, raw), slice(start, len(ids))
            if matrix is not None:
                matrix[piece] = vectors
            if reduction is not None and reduced is not None:
                reduction.reduce(vectors, out=reduced[piece])
            advance(len(keys))
    common = (space, table, centre, ids, damaged)
    matrix = None if matrix is None else matrix[: len(ids)]
    if reduction is not None and reduced is not None:
        reduced = reduced[: len(ids)]
        if matrix is None:
            return ReductionOnly(*common, reduction=reduction, reduced=reduced)
        return WithReduction(*common, matrix=matrix, reduction=reduction, reduced=reduced)
    assert matrix is not None  # a space without a reduction is small
    return InMemory(*common, matrix=matrix)


def pieces(
    conn: sqlite3.Connection, space: Space, table: SourceTable, count: int
) -> Iterator[tuple[tuple, tuple]]:
    """(ids, BLOBs) of the images that are in their table, in order of id, piece by piece.

    They are at most `count`: further ones belong to a later generation.
    """
    begin = f"""
        select v.image_key, {table.key_sql}, {VECTOR_SQL} from imgsim_vectors v
        cross join {table.rows_sql} on {table.key_sql} = v.image_key
        where v.space_id = :space and typeof({table.key_sql}) in ('integer', 'text')
    """
    after, last = "", None
    rows_a_read = max(1, LIMITS.bytes_a_read // (4 * space.dimensions))
    while rows := conn.execute(
        f"{begin} {after} order by v.image_key limit :limit",
        {"space": space.id, "last": last, "limit": min(count, rows_a_read)},
    ).fetchall():
        image_ids, keys, blobs = zip(*rows)
        yield keys, blobs
        after, last = "and v.image_key > :last", image_ids[-1]
        count -= len(rows)


class Indexes:
    """The spaces of one database that are in memory. Safe to call from any thread."""

    def __init__(self, connect: Connect | None):
        """`connect` opens a private connection without a time limit, for a loading thread.

        Without it, spaces are loaded with the caller's connection while the caller waits.
        """
        self.connect = connect
        self.engine: Callable[[], Engine] | None = None
        self.cache: Cache[Index] = Cache()
        self.graphs = Graphs(connect)

    def use(self, engine: Callable[[], Engine] | None) -> None:
        """Makes the vectors those of an engine, to which `engine` connects; only the first time."""
        if engine and self.engine is None:
            self.engine = functools.cache(engine)

    def get(self, conn: sqlite3.Connection, space: Space, wait: float = 0.5) -> Index:
        """The index of a space.

        `space` must be fresh from the database: its generation shows whether the index in memory
        is outdated. While a newer generation is loaded, the older index is returned. Raises
        Loading if there is no index within `wait` seconds, and CannotLoad if loading failed.
        """
        if self.connect is None:
            return self._load_now(conn, space)
        try:
            if self.engine:
                return self._in_engine(self.connect, self.engine, space, wait)
            load = functools.partial(self._load, self.connect, space)
            return self.cache.get(space.identity, space.generation, load, wait)
        except NotLoaded as ex:
            kind = CannotLoad if ex.load.error else Loading
            raise kind(f"The space {space.name!r} {ex}") from ex.load.error

    def _in_engine(
        self, connect: Connect, engine: Callable[[], Engine], space: Space, wait: float
    ) -> Index:
        """The index on the version in the engine, which is looked up now and then."""
        held, now = self.cache.newest(space.identity), time.monotonic()
        age = now - held.checked if isinstance(held, InEngine) else math.inf
        if held is not None and age < LIMITS.seconds_between_reloads:
            return held
        load = functools.partial(self._look_up, connect, engine, space)
        # An old version is soon gone: who comes late waits a moment for the new one.
        accept_older = age < LIMITS.seconds_of_old_version / 2
        return self.cache.get(space.identity, now, load, wait, accept_older)

    def _look_up(
        self, connect: Connect, engine: Callable[[], Engine], space: Space, progress: Progress
    ) -> tuple[float, Index]:
        held = self.cache.newest(space.identity)
        with closing(connect()) as conn:
            index = opened(conn, space, engine(), held if isinstance(held, InEngine) else None)
            sampled(conn, index)
            self.cache.keep({existing.identity for existing in all_spaces(conn)})
        return index.checked, index

    def newer(self, space: Space) -> str:
        """What is known, in words, of a generation that is newer than the index."""
        if self.engine:
            return "has not been pushed yet"
        load = self.cache.newest_load(space.identity)
        return load.state if load else ""

    def warm(self, configured: str | None = None) -> None:
        """Starts loading each table's default space, or the configured one, in the background."""
        if self.connect is not None:
            # Where threads cannot start, the first query loads.
            start_thread(self._warm, self.connect, configured)

    def _warm(self, connect: Connect, configured: str | None = None) -> None:
        # The first query will have the same error and report it.
        with suppress(ImgsimError, *sqlite_errors.Error), closing(connect()) as conn:
            if "imgsim_spaces" not in schema.tables(conn):
                return
            versions.check_version(conn)
            for space in _used_by_default(all_spaces(conn), configured):
                self._start_loading(conn, space)

    def _start_loading(self, conn: sqlite3.Connection, space: Space) -> None:
        try:
            self.get(conn, space, wait=0)
        except (Loading, CannotLoad):
            pass

    def _load(self, connect: Connect, space: Space, progress: Progress) -> tuple[int, Index]:
        with closing(connect()) as conn:
            index = load(conn, space, progress)
            sampled(conn, index)  # now, rather than when the first query needs it
            # This drops the indexes of spaces that were removed.
            self.cache.keep({existing.identity for existing in all_spaces(conn)})
        return index.space.generation, index

    def _load_now(self, conn: sqlite3.Connection, space: Space) -> Index:
        held = self.cache.held(space.identity, space.generation)
        if held is not None:
            return held
        try:
            index = load(conn, space)
        except Exception as ex:
            if is_interrupt(ex):
                raise
            raise CannotLoad(f"The space {space.name!r} cannot be loaded: {ex}") from ex
        self.cache.put(space.identity, index.space.generation, index)
        self.cache.keep({existing.identity for existing in all_spaces(conn)})
        return index


def _used_by_default(spaces: list[Space], configured: str | None) -> list[Space]:
    """Each table's default space, or the configured space in place of its table's default."""
    replaced = {space.source_table for space in spaces if space.name == configured}
    return [
        space
        for space in spaces
        if (space.name == configured if space.source_table in replaced else space.is_default)
    ]


def is_interrupt(ex: Exception) -> bool:
    """Whether an error means that a query was ended, such as by a time limit."""
    return isinstance(ex, sqlite_errors.OperationalError) and ex.args == ("interrupted",)
