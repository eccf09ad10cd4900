"""A space's vectors in memory, loaded once a process and again when they have changed.

What is in memory depends on how many bytes the vectors would be as float32:

- few: all of them, and every query looks at all
- more (BYTES_LOOKED_AT): beside them their reduction, which tells where to look
- many (BYTES_IN_MEMORY): only the reduction; single vectors are read from the database
"""

from __future__ import annotations

import functools
import re
import sqlite3
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from .. import compat, schema, store
from ..errors import ImgsimError
from ..store import Space
from .reduction import Reduction

BYTES_LOOKED_AT = 100_000_000
BYTES_IN_MEMORY = 1_000_000_000
SAMPLE, BYTES_OF_SAMPLE = 4_000, 64_000_000
"""From how many vectors a reduction is made, at most."""
# Between the reduction in memory and one made anew: rounding is less, another picture is more.
LARGEST_ROUNDING = 1e-4
BYTES_A_READ = 4_000_000
READ_AHEAD, BLOCKS_KEPT = 64, 8
"""Of vectors that are not in memory: queries often ask for one after the other."""
TRIES_WITHOUT_LOCK = 3
SECONDS_BETWEEN_RELOADS = 10
SECONDS_OF_A_LONG_LOAD = 2
"""A longer one puts off the next in proportion: a space that grows must not load all the time."""
# For so long after a reload, a statement may go on with the vectors it began with.
SECONDS_A_STATEMENT = 5
# Text cannot even be read where it is no UTF-8.
VECTOR = "case typeof(v.vector) when 'blob' then v.vector end"
# Nearer to the centre than this, what is left of a unit vector is rounding.
SMALLEST_CENTRED = 1e-3
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE)


class Damaged(ImgsimError):
    """What is stored of the space cannot be used."""


class Loading(ImgsimError):
    """The space is being loaded: try again in a moment."""


@dataclass(frozen=True, eq=False)
class Index:
    """The vectors of one generation of a space."""

    space: Space
    centre: np.ndarray | None
    key: str
    """The column that is the source table's key."""
    affinity: str
    ids: array | list
    """The images, in ascending order; an array where all are integers."""
    damaged: list
    """Images left out, whose stored vector has a wrong length or is not finite."""
    matrix: np.ndarray | None
    """(n, dimensions) float32: each level centred, then of unit length. None where too large."""
    reduction: Reduction | None
    reduced: np.ndarray | None
    """(n, reduction.numbers) float32, where there is a reduction."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, id) -> int | None:
        """Where the image's vector is. The id may have any type: '42' finds 42 and 42 finds '42'.

        Raises ImgsimError for a BLOB.
        """
        key = as_key(id, self.affinity)
        if isinstance(self.ids, list):
            return self._rows.get(key)
        if isinstance(key, str):
            return None
        row = bisect_left(self.ids, key)
        return row if row < len(self.ids) and self.ids[row] == key else None

    @functools.cached_property
    def _rows(self) -> dict:
        return {id: row for row, id in enumerate(self.ids)}

    def vector(self, conn: sqlite3.Connection, row: int) -> np.ndarray:
        """(dimensions,) float32, as in `matrix`; without one, those that follow are read, too."""
        if self.matrix is not None:
            return self.matrix[row]
        number, place = divmod(row, READ_AHEAD)
        block = self._ahead.get(number)
        if block is None:
            start = number * READ_AHEAD
            block = self.vectors(conn, range(start, min(start + READ_AHEAD, len(self))))
            if len(self._ahead) >= BLOCKS_KEPT:
                self._ahead.clear()
            self._ahead[number] = block
        return block[place]

    @functools.cached_property
    def _ahead(self) -> dict[int, np.ndarray]:
        return {}

    def vectors(self, conn: sqlite3.Connection, rows: Sequence[int]) -> np.ndarray:
        """(rows, dimensions) float32, as in `matrix`; from the database where there is none.

        A vector there counts only if its reduction is the one in memory. One that was written or
        removed since this generation was loaded is made of its reduction instead: so an answer
        is of one generation, in which such an image has the score that the reduction gives it.
        """
        if self.matrix is not None:
            return self.matrix[rows]
        reduced = self.reduced[rows]
        blobs = stored_blobs(conn, self.space, [self.ids[row] for row in rows])
        raw, usable = decoded(self.space, blobs)
        stored, places = centred(self.space, self.centre, raw), np.flatnonzero(usable)
        off = np.abs(self.reduction.of(stored) - reduced[places]).max(axis=1, initial=0)
        same = off < LARGEST_ROUNDING
        if same.all() and len(same) == len(reduced):
            return stored
        found = self.reduction.undone(reduced)
        found[places[same]] = stored[same]
        return found


def stored_blobs(conn: sqlite3.Connection, space: Space, ids: Sequence) -> list[bytes | None]:
    """The stored vector of each image, or None where there is none."""
    found = {}
    # Some at a time, since a long read would keep writers waiting.
    for start in range(0, len(ids), READ_AHEAD):
        some = ids[start : start + READ_AHEAD]
        found.update(
            conn.execute(
                f"select image_id, {VECTOR} from imgsim_vectors v "
                f"where space_id = ? and image_id in ({', '.join('?' * len(some))})",
                [space.id, *some],
            ).fetchall()
        )
    return [found.get(id) for id in ids]


def sample(
    conn: sqlite3.Connection, space: Space, centre: np.ndarray | None, count: int, size: int
) -> np.ndarray:
    """Up to `count` vectors of a space, centred (m, dimensions), evenly spread over its images.

    Fewer where they would be more than `size` bytes.
    """
    sql = "select count(*) from imgsim_vectors where space_id = ?"
    (all_images,) = conn.execute(sql, [space.id]).fetchone()
    step = -(-all_images // at_most(count, size, space.dimensions))
    ids = conn.execute(
        """
        select image_id from (
            select image_id, row_number() over (order by image_id) as place
            from imgsim_vectors where space_id = ?
        ) where place % ? = 0
        """,
        [space.id, step],
    ).fetchall()
    vectors, _ = decoded(space, stored_blobs(conn, space, [id for (id,) in ids]))
    return centred(space, centre, vectors)


def at_most(count: int, size: int, numbers: int) -> int:
    """`count`, or fewer where each has so many float32 numbers that they would exceed `size`."""
    return max(store.SMALLEST_CENTRED_SPACE, min(count, size // (4 * numbers)))


def as_key(id, affinity: str) -> int | float | str:
    """The id as a column of this affinity would store it. Raises ImgsimError for a BLOB."""
    if isinstance(id, bytes):
        raise ImgsimError("An id must be a number or text, not a BLOB")
    if affinity == "integer" and isinstance(id, str) and NUMBER.fullmatch(id):
        return int(id) if id.strip().lstrip("+-").isdecimal() else float(id)
    return str(id) if affinity == "text" else id


def sound_centre(conn: sqlite3.Connection, space: Space) -> np.ndarray | None:
    """The centre of a space (dimensions,), or None where it has none. Raises Damaged."""
    try:
        found = store.centre(conn, space)
    except (ValueError, TypeError):  # no BLOB of whole numbers
        raise Damaged("its centre is damaged") from None
    if found is not None and not (len(found) == space.dimensions and np.isfinite(found).all()):
        raise Damaged("its centre is damaged")
    return found


def centred(space: Space, centre: np.ndarray | None, vectors: np.ndarray) -> np.ndarray:
    """Subtracts the space's mean from (n, dimensions) vectors and makes each level unit length.

    A vector that is nearly the mean itself has no direction left and stays as it was; one that
    is zero stays zero. float32 in, float32 out.
    """
    found = np.empty_like(vectors, np.float32)
    for part in space.slices.values():
        raw = vectors[:, part]
        moved = raw if centre is None else raw - centre[part]
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        lost = (norms < SMALLEST_CENTRED) | ~raw.any(axis=1, keepdims=True)
        if lost.any():
            moved = np.where(lost, raw, moved)
            norms = np.linalg.norm(moved, axis=1, keepdims=True)
        np.divide(moved, np.maximum(norms, 1e-12), out=found[:, part])
    return found


def load(
    conn: sqlite3.Connection,
    space: Space,
    progress: Callable[[float], None] = lambda done: None,
    centring: bool = True,
) -> Index:
    """Reads a space. `progress` is called with the share that is done, 0..1.

    Reads in pieces, so that a writer need not wait, and starts again where the space was changed
    meanwhile; a space that changes all the time is at last read in one transaction.
    """
    for _ in range(TRIES_WITHOUT_LOCK):
        found = _read(conn, space, progress, centring)
        if _latest(conn, space).generation == found.space.generation:
            return found
    conn.execute("begin")
    try:
        return _read(conn, space, progress, centring)
    finally:
        conn.execute("commit")


def same_space(a: Space, b: Space) -> bool:
    """Whether both are one space, perhaps at different times."""
    now = {"generation": 0, "centred_on": 0, "is_default": False, "level_weights": {}}
    return replace(a, **now, versions={}) == replace(b, **now, versions={})


def _latest(conn: sqlite3.Connection, space: Space) -> Space:
    for found in store.spaces(conn):
        if same_space(found, space):
            return found
    raise ImgsimError("it was removed, or the database file was replaced")


def _read(
    conn: sqlite3.Connection, space: Space, progress: Callable[[float], None], centring: bool
) -> Index:
    space = _latest(conn, space)
    key, affinity = store.primary_key(conn, space.source_table)
    centre = sound_centre(conn, space) if centring else None
    sql = "select count(*) from imgsim_vectors where space_id = ?"
    (count,) = conn.execute(sql, [space.id]).fetchone()
    size = 4 * space.dimensions * count
    matrix = reduction = reduced = None
    if size <= BYTES_IN_MEMORY:
        matrix = np.empty((count, space.dimensions), np.float32)
    if size > min(BYTES_LOOKED_AT, BYTES_IN_MEMORY):
        some = sample(conn, space, centre, SAMPLE, BYTES_OF_SAMPLE)
        reduction = Reduction(space.levels, some)
        reduced = np.empty((count, reduction.numbers), np.float32)
    ids, damaged = array("q"), []
    for keys, blobs in _pieces(conn, space, key, count):
        raw, usable = decoded(space, blobs)
        start, good = len(ids), [id for id, good in zip(keys, usable) if good]
        if isinstance(ids, array) and not all(isinstance(id, int) for id in good):
            ids = list(ids)
        ids.extend(good)
        damaged += [id for id, good in zip(keys, usable) if not good]
        vectors, piece = centred(space, centre, raw), slice(start, len(ids))
        if matrix is not None:
            matrix[piece] = vectors
        if reduction is not None:
            reduction.of(vectors, out=reduced[piece])
        progress((len(ids) + len(damaged)) / count)
    matrix, reduced = (each if each is None else each[: len(ids)] for each in (matrix, reduced))
    return Index(space, centre, key, affinity, ids, damaged, matrix, reduction, reduced)


def _pieces(
    conn: sqlite3.Connection, space: Space, key: str, count: int
) -> Iterator[tuple[list, list]]:
    """(ids, blobs) of images that still are in their table, in order of id, piece by piece.

    At most `count`: what comes in addition belongs to a later generation.
    """
    column = f"s.{store.quoted(key)}"
    sql = f"""
        select v.image_id, {column}, {VECTOR} from imgsim_vectors v
        cross join {store.quoted(space.source_table)} s on {column} = v.image_id
        where v.space_id = :space and typeof({column}) in ('integer', 'text') and {{after}}
        order by v.image_id limit :limit
    """
    after, last = "1", None
    rows_a_read = max(1, BYTES_A_READ // (4 * space.dimensions))
    while rows := conn.execute(
        sql.format(after=after),
        {"space": space.id, "last": last, "limit": min(count, rows_a_read)},
    ).fetchall():
        images, keys, blobs = zip(*rows)
        yield keys, blobs
        after, last = "v.image_id > :last", images[-1]
        count -= len(rows)


def decoded(space: Space, blobs: list) -> tuple[np.ndarray, list[bool]]:
    """The vectors (m, dimensions) of those BLOBs that are whole and finite, and which they are."""
    size = space.dimensions * np.dtype(store.DTYPES[space.dtype]).itemsize
    usable = [blob is not None and len(blob) == size for blob in blobs]
    whole = b"".join(blob for blob, good in zip(blobs, usable) if good)
    vectors = space.decode(whole).reshape(-1, space.dimensions)
    finite = np.isfinite(vectors).all(axis=1)
    if finite.all():
        return vectors, usable
    places = np.flatnonzero(usable)
    for place in places[~finite]:
        usable[place] = False
    return vectors[finite], usable


class Cache:
    """The spaces of one database that are in memory. Safe to call from any thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None):
        """`connect` opens a private connection, which has no time limit, for a loading thread.

        Without it, spaces are loaded on the caller's connection while the caller waits.
        """
        self.connect = connect
        self.lock = threading.Lock()
        self.held: dict[int, Index] = {}
        self.loads: dict[int, Load] = {}

    def get(self, conn: sqlite3.Connection, space: Space, wait: float = 0.5) -> Index:
        """The space's index. `space` must be fresh from the database: its generation tells.

        While a newer generation is loaded the older one is given. Raises Loading where nothing
        is loaded within `wait` seconds, ImgsimError where loading failed.
        """
        held = self._held(space)
        if held is not None and held.space.generation == space.generation:
            return held
        if self.connect is None:
            return self._load_now(conn, space)
        current = self._started(space)
        if held is not None:
            return held
        if not current.done.wait(wait):
            raise Loading(f"The space {space.name!r} {current.state}")
        held = self._held(space)
        if held is None:
            raise ImgsimError(f"The space {space.name!r} {current.state}")
        return held

    def newer(self, space: Space) -> str:
        """How it stands with the load that replaces an older index."""
        return self.loads[space.id].state

    def warm(self, configured: str | None = None) -> None:
        """Starts loading each table's default space, or the configured one, in the background."""
        if self.connect is not None:
            threading.Thread(target=self._warm, args=(configured,), daemon=True).start()

    def _warm(self, configured: str | None = None) -> None:
        try:
            with closing(self.connect()) as conn:
                if "imgsim_spaces" not in schema.tables(conn):
                    return
                schema.check_version(conn)
                for space in _used_by_default(store.spaces(conn), configured):
                    self._started(space)
        except (sqlite3.Error, ImgsimError):
            pass  # the first query will meet the same and tell its user

    def _held(self, space: Space) -> Index | None:
        held = self.held.get(space.id)
        return held if held is not None and same_space(held.space, space) else None

    def _started(self, space: Space) -> Load:
        """The newest load of a space, begun now if the last one is over and long enough ago."""
        with self.lock:
            last = self.loads.get(space.id)
            if last is not None and same_space(last.space, space) and not last.is_old:
                return last
            current = self.loads[space.id] = Load(space)
        threading.Thread(target=self._load, args=(current,), daemon=True).start()
        return current

    def _load(self, current: Load) -> None:
        old = self.held.get(current.space.id)
        try:
            with closing(self.connect()) as conn:
                self._hold(conn, load(conn, current.space, current.report))
        except Exception as ex:  # whatever it is belongs to the caller who waits for it
            current.error = ex
        finally:
            current.end()
        if old is not None:  # kept alive by this variable
            time.sleep(SECONDS_A_STATEMENT)

    def _load_now(self, conn: sqlite3.Connection, space: Space) -> Index:
        try:
            found = load(conn, space)
        except Exception as ex:
            if is_interrupt(ex):
                raise
            raise ImgsimError(f"The space {space.name!r} cannot be loaded: {ex}") from ex
        self._hold(conn, found)
        return found

    def _hold(self, conn: sqlite3.Connection, found: Index) -> None:
        """Takes an index in, and lets those of spaces go that were dropped."""
        there = {space.id for space in store.spaces(conn)}
        with self.lock:
            held = {id: index for id, index in self.held.items() if id in there}
            self.held = held | {found.space.id: found}


@dataclass
class Load:
    """A load under way or over."""

    space: Space
    started: float = field(default_factory=time.monotonic)
    share: float = 0.0
    error: Exception | None = None
    seconds: float = 0.0
    """How long it took."""
    done: threading.Event = field(default_factory=threading.Event)

    def report(self, share: float) -> None:
        self.share = share

    def end(self) -> None:
        self.seconds = time.monotonic() - self.started
        self.done.set()

    @property
    def is_old(self) -> bool:
        pause = SECONDS_BETWEEN_RELOADS * max(1, self.seconds / SECONDS_OF_A_LONG_LOAD)
        return self.done.is_set() and time.monotonic() - self.started >= pause

    @property
    def state(self) -> str:
        if self.error is not None:
            return f"cannot be loaded: {self.error}"
        if self.done.is_set():
            return "will be loaded soon"
        return f"is loading, {100 * self.share:.0f} %"


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


def cache_for(db) -> Cache:
    """The one cache of a Datasette database; it lives and dies with the Database object."""
    # Each connection to a nameless memory database has tables of its own.
    is_shared = not db.is_memory or db.memory_name
    connect = functools.partial(compat.private_connection, db) if is_shared else None
    return vars(db).setdefault("_imgsim_cache", Cache(connect))
