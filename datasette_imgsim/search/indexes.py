"""Reads spaces into memory, and holds those of one database."""

from __future__ import annotations

import functools
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeAlias

import numpy as np

from ..caching import Cache, NotLoaded
from ..db import schema
from ..db.spaces import Space, all_spaces
from ..db.tables import SourceTable
from ..errors import ImgsimError
from ..limits import LIMITS
from ..progress import Progress, silent
from .index import Index, InMemory, ReductionOnly, WithReduction
from .reduction import Reduction
from .vectors import VECTOR_SQL, centred, decoded, sample, sound_centre

SAMPLE, BYTES_OF_SAMPLE = 4_000, 64_000_000
"""From how many vectors a reduction is made, at most."""
TRIES_WITHOUT_LOCK = 3
Connect: TypeAlias = Callable[[], sqlite3.Connection]


class Loading(ImgsimError):
    """The space is being loaded: try again in a moment."""


class CannotLoad(ImgsimError):
    """The space could not be loaded."""


def load(
    conn: sqlite3.Connection, space: Space, progress: Progress = silent, centring: bool = True
) -> Index:
    """Reads a space.

    Reads in pieces, so that a writer need not wait, and starts again where the space was changed
    meanwhile; a space that changes all the time is at last read in one transaction. Raises
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
    for each in all_spaces(conn):
        if each.identity == space.identity:
            return each
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
        some = sample(conn, space, centre, SAMPLE, BYTES_OF_SAMPLE)
        reduction = Reduction(space.levels, some)
        reduced = np.empty((count, reduction.numbers), np.float32)
    ids: array | list = array("q")
    damaged = []
    with progress(count) as advance:
        for keys, blobs in _pieces(conn, space, table, count):
            raw, usable = decoded(space, blobs)
            start, good = len(ids), [id for id, good in zip(keys, usable) if good]
            if isinstance(ids, array) and not all(isinstance(id, int) for id in good):
                ids = list(ids)
            ids.extend(good)
            damaged += [id for id, good in zip(keys, usable) if not good]
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


def _pieces(
    conn: sqlite3.Connection, space: Space, table: SourceTable, count: int
) -> Iterator[tuple[tuple, tuple]]:
    """(ids, blobs) of images that still are in their table, in order of id, piece by piece.

    At most `count`: what comes in addition belongs to a later generation.
    """
    sql = f"""
        select v.image_id, {table.key_sql}, {VECTOR_SQL} from imgsim_vectors v
        cross join {table.rows_sql} on {table.key_sql} = v.image_id
        where v.space_id = :space and typeof({table.key_sql}) in ('integer', 'text') and {{after}}
        order by v.image_id limit :limit
    """
    after, last = "1", None
    rows_a_read = max(1, LIMITS.bytes_a_read // (4 * space.dimensions))
    while rows := conn.execute(
        sql.format(after=after),
        {"space": space.id, "last": last, "limit": min(count, rows_a_read)},
    ).fetchall():
        images, keys, blobs = zip(*rows)
        yield keys, blobs
        after, last = "v.image_id > :last", images[-1]
        count -= len(rows)


class Indexes:
    """The spaces of one database that are in memory. Safe to call from any thread."""

    def __init__(self, connect: Connect | None):
        """`connect` opens a private connection, which has no time limit, for a loading thread.

        Without it, spaces are loaded on the caller's connection while the caller waits.
        """
        self.connect = connect
        self.cache: Cache[Index] = Cache()

    def get(self, conn: sqlite3.Connection, space: Space, wait: float = 0.5) -> Index:
        """The space's index. `space` must be fresh from the database: its generation tells.

        While a newer generation is loaded the older one is given. Raises Loading where nothing
        is loaded within `wait` seconds, CannotLoad where loading failed.
        """
        if self.connect is None:
            return self._load_now(conn, space)
        load = functools.partial(self._load, self.connect, space)
        try:
            return self.cache.get(space.identity, space.generation, load, wait)
        except NotLoaded as ex:
            kind = CannotLoad if ex.load.error else Loading
            raise kind(f"The space {space.name!r} {ex}") from ex.load.error

    def newer(self, space: Space) -> str:
        """How it stands with the load that replaces an older index."""
        load = self.cache.newest_load(space.identity)
        return load.state if load else ""

    def warm(self, configured: str | None = None) -> None:
        """Starts loading each table's default space, or the configured one, in the background."""
        if self.connect is not None:
            arguments = (self.connect, configured)
            threading.Thread(target=self._warm, args=arguments, daemon=True).start()

    def _warm(self, connect: Connect, configured: str | None = None) -> None:
        try:
            with closing(connect()) as conn:
                if "imgsim_spaces" not in schema.tables(conn):
                    return
                schema.check_version(conn)
                for space in _used_by_default(all_spaces(conn), configured):
                    self._begin(conn, space)
        except (sqlite3.Error, ImgsimError):
            pass  # the first query will meet the same and tell its user

    def _begin(self, conn: sqlite3.Connection, space: Space) -> None:
        try:
            self.get(conn, space, wait=0)
        except (Loading, CannotLoad):
            pass

    def _load(self, connect: Connect, space: Space, progress: Progress) -> tuple[int, Index]:
        with closing(connect()) as conn:
            index = load(conn, space, progress)
            # Those of dropped spaces are let go.
            self.cache.keep({each.identity for each in all_spaces(conn)})
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
        self.cache.keep({each.identity for each in all_spaces(conn)})
        return index


def _used_by_default(spaces: list[Space], configured: str | None) -> list[Space]:
    """The configured space, which stands in for its table's default, and other tables' defaults."""
    replaced = {space.source_table for space in spaces if space.name == configured}
    return [
        space
        for space in spaces
        if (space.name == configured if space.source_table in replaced else space.is_default)
    ]


def is_interrupt(ex: Exception) -> bool:
    """Whether a time limit, or somebody who gave up waiting, ended a query."""
    return isinstance(ex, sqlite3.OperationalError) and ex.args == ("interrupted",)
