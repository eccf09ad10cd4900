"""Pushes a space into an engine: what is new, what has changed, and what is gone."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..db.connect import batches
from ..db.spaces import Space, reread
from ..db.tables import SourceTable
from ..errors import ImgsimError
from ..limits import LIMITS
from ..progress import Progress, silent
from .engine import Engine, EngineError, Version, key_of
from .indexes import pieces
from .vectors import VECTOR_SQL, centred, decoded, sound_centre

IDS_A_LOOK = 1_000


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    space: str
    kind: str
    """Of the index."""
    is_new: bool
    """Whether it made a new version."""
    put: int
    unchanged: int
    deleted: int
    damaged: int
    """How many stored vectors cannot be used."""


def push(
    conn: sqlite3.Connection,
    space: Space,
    engine: Engine,
    kind: str | None = None,
    progress: Progress = silent,
) -> Pushed:
    """Makes what readers of an engine see that of the database.

    If the centre of the space, or the `kind` of its index, is another than that of the version
    they see, a new version is made. Raises ImgsimError; what readers see is whole at any time.
    """
    space = reread(conn, space.name)
    key, held = key_of(space), _held(conn, space, engine)
    before = engine.published(key)
    if before:
        _check_same(conn, space, before)
    centre = sound_centre(conn, space)
    if centre is None:
        centre = np.zeros(space.dimensions, np.float32)
    engine.drop_others(key, before)  # what an earlier push left that was ended
    if before and _fits(before, centre, kind, held):
        done = _bring(conn, space, engine, before, held.count, progress)
        deleted = _remove_gone(conn, space, before, progress) if done.total < before.count() else 0
        if done.put or deleted or before.generation != space.generation:
            engine.publish(key, before, space.generation)
        return Pushed(space.name, before.kind, False, done.put, done.unchanged, deleted,
                      done.damaged)  # fmt: skip
    kind = kind or (before.kind if before else engine.kinds[0])
    version = engine.create(key, kind, held.count, centre, held.are_integers)
    try:
        done = _bring(conn, space, engine, version, held.count, progress)
        with progress(1, " index", "Building the index") as advance:
            engine.publish(key, version, space.generation)
            advance(1)
    except BaseException:
        with suppress(EngineError):
            engine.drop_others(key, before)
        raise
    if before:
        if engine.is_shared:
            _wait_for_readers(progress)
        engine.drop_others(key, version)
    return Pushed(space.name, kind, True, done.put, 0, 0, done.damaged)


@dataclass(frozen=True)
class _Held:
    """What a database holds of a space."""

    count: int
    are_integers: bool
    """Whether all keys are whole numbers that the engine does not use itself."""


def _held(conn: sqlite3.Connection, space: Space, engine: Engine) -> _Held:
    count, others = conn.execute(
        "select count(*), coalesce(sum(typeof(image_key) <> 'integer' or image_key = ?), 0) "
        "from imgsim_vectors where space_id = ?",
        [engine.reserved, space.id],
    ).fetchone()
    if not count:
        raise ImgsimError(f"The space {space.name!r} has no vectors in this database to push")
    return _Held(count, not others)


def _check_same(conn: sqlite3.Connection, space: Space, version: Version) -> None:
    """Raises ImgsimError if a version is of another space, made in the same second."""
    rows = conn.execute(
        f"select v.image_key, {VECTOR_SQL} from imgsim_vectors v where v.space_id = ? "
        "order by v.image_key limit ?",
        [space.id, IDS_A_LOOK],
    ).fetchall()
    marks = {id: _mark(blob) for id, blob in rows if blob is not None}
    if version.has_integers:
        marks = {id: mark for id, mark in marks.items() if isinstance(id, int)}
    known = version.marks(list(marks))
    if known and not any(known[id] == marks[id] for id in known):
        raise ImgsimError(
            f"The engine has a space {space.name!r} of another database, made at the same time: "
            "push into another place"
        )


def _fits(version: Version, centre: np.ndarray, kind: str | None, held: _Held) -> bool:
    """Whether the vectors of a version can stay."""
    return (
        np.array_equal(version.centre, centre)
        and kind in (None, version.kind)
        and (held.are_integers or not version.has_integers)
    )


@dataclass
class _Done:
    put: int = 0
    unchanged: int = 0
    damaged: int = 0

    @property
    def total(self) -> int:
        return self.put + self.unchanged


def _bring(
    conn: sqlite3.Connection,
    space: Space,
    engine: Engine,
    version: Version,
    count: int,
    progress: Progress,
) -> _Done:
    """Puts what a version lacks."""
    table, done = SourceTable.read(conn, space.source_table), _Done()
    running: deque[Future] = deque()
    with progress(count, what="Pushing") as advance, ThreadPoolExecutor(engine.writers) as pool:
        try:
            for ids, blobs in pieces(conn, space, table, count):
                _, usable = decoded(space, blobs)
                sound = [(id, blob) for id, blob, ok in zip(ids, blobs, usable) if ok]
                done.damaged += len(ids) - len(sound)
                marks = {id: _mark(blob) for id, blob in sound}
                known = version.marks(list(marks))
                new = [(id, blob) for id, blob in sound if known.get(id) != marks[id]]
                done.put += len(new)
                done.unchanged += len(sound) - len(new)
                if new:
                    running.append(pool.submit(_put, version, space, new, marks))
                if len(running) > engine.writers:
                    running.popleft().result()
                advance(len(ids))
            while running:
                running.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return done


def _put(version: Version, space: Space, rows: list[tuple], marks: dict) -> None:
    ids = [id for id, _ in rows]
    raw, _ = decoded(space, [blob for _, blob in rows])
    version.put(ids, [marks[id] for id in ids], centred(space, version.centre, raw))


def _mark(blob: bytes) -> int:
    """A number, 0 to 2 ** 63, that another vector hardly has."""
    return int.from_bytes(hashlib.blake2b(blob, digest_size=8).digest(), "big") >> 1


def _remove_gone(
    conn: sqlite3.Connection, space: Space, version: Version, progress: Progress
) -> int:
    """Removes the images from a version that have no row any more, or no vector."""
    table, deleted = SourceTable.read(conn, space.source_table), 0
    with progress(version.count(), what="Looking for deleted images") as advance:
        for ids in version.ids():
            for batch in batches(ids, IDS_A_LOOK):
                there = _with_vectors(conn, space, table, batch)
                gone = [id for id in batch if id not in there]
                if gone:
                    version.delete(gone)
                deleted += len(gone)
                advance(len(batch))
    return deleted


def _with_vectors(conn: sqlite3.Connection, space: Space, table: SourceTable, ids: list) -> set:
    rows = conn.execute(
        f"select v.image_key from imgsim_vectors v where v.space_id = ? "
        f"and v.image_key in ({', '.join('?' * len(ids))}) "
        f"and exists (select 1 from {table.rows_sql} where {table.key_sql} = v.image_key)",
        [space.id, *ids],
    )
    return {id for (id,) in rows}


def _wait_for_readers(progress: Progress) -> None:
    """Lets servers find the new version before the old one goes."""
    seconds = LIMITS.seconds_of_old_version
    with progress(round(seconds), " s", "Waiting until servers use the new version") as advance:
        for _ in range(round(seconds)):
            time.sleep(1)
            advance(1)
