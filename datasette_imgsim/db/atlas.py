"""The table imgsim_atlas: the position of each image on the map of a space."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

import numpy as np

from .. import sqlite_errors
from ..limits import LIMITS
from ..progress import Advance, Progress, silent
from .connect import Writer
from .spaces import Space, raise_generation
from .tables import SourceTable

ATLAS, NEW = "imgsim_atlas", "imgsim_atlas_new"
COLUMNS = "space_id, image_key, x, y, placed"
READERS_SHARE, LONGEST_PAUSE = 4, 0.25
"""How many times as long as a transaction the pause after it is, and the most seconds: SQLite asks
again at least every 0.1 s."""
PLACED = {True: "fitted", False: "interpolated"}


def read_atlas(conn: sqlite3.Connection, space: Space) -> tuple[list, np.ndarray, np.ndarray]:
    """The map of a space: ids in ascending order, positions (n, 2) float64 and fitted (n,) bool.

    Images that are no longer in their table are left out. It is one query, so a map that is
    replaced meanwhile cannot mix with the new one.
    """
    table = SourceTable.read(conn, space.source_table)
    rows = conn.execute(
        f"""
        select {table.key_sql}, a.x, a.y, a.placed = 'fitted' from imgsim_atlas a
        cross join {table.rows_sql} on {table.key_sql} = a.image_key
        where a.space_id = ? and typeof({table.key_sql}) in ('integer', 'text')
        order by a.image_key
        """,
        [space.id],
    ).fetchall()
    ids, x, y, fitted = zip(*rows) if rows else ((), (), (), ())
    return list(ids), np.column_stack([x, y]).astype(np.float64), np.array(fitted, bool)


def save_atlas(
    conn: Writer,
    space: Space,
    ids: Sequence,
    positions: np.ndarray,
    is_fitted: np.ndarray,
    progress: Progress = silent,
    *,
    replace: bool,
) -> None:
    """Writes the points of images (n,): positions (n, 2), and whether t-SNE has laid them out (n,).

    With `replace`, they take the place of the old map, so that a reader sees one map or the other;
    otherwise existing points stay as they are. No transaction is long.
    """
    rows = zip(ids, positions.tolist(), is_fitted.tolist())
    points = ((space.id, id, x, y, PLACED[fitted]) for id, (x, y), fitted in rows)
    with progress(len(ids), " images", "Storing") as advance:
        if not replace:
            while batch := list(islice(points, LIMITS.rows_of_atlas)):
                with _one_of_many(conn):
                    _insert(conn, ATLAS, batch)
                    raise_generation(conn, space)
                advance(len(batch))
        elif len(ids) <= LIMITS.rows_of_atlas:
            with conn.transaction():
                conn.execute(f"delete from {ATLAS} where space_id = ?", [space.id])
                _insert(conn, ATLAS, points)
                raise_generation(conn, space)
            advance(len(ids))
        else:
            _replace(conn, space, points, advance)


@contextmanager
def _one_of_many(conn: Writer) -> Iterator[None]:
    """A transaction that leaves readers time before the next one.

    A reader that finds the database locked asks again every now and then: it would never find it
    free if one transaction followed the other.
    """
    with conn.transaction():
        started = time.monotonic()
        yield
    time.sleep(min(LONGEST_PAUSE, READERS_SHARE * (time.monotonic() - started)))


def _insert(conn: Writer, table: str, points: Iterable[tuple]) -> None:
    conn.executemany(
        f"insert into {table} ({COLUMNS}) values (?, ?, ?, ?, ?) on conflict do nothing",
        points,
    )


# A large map. Its points are written, in short transactions, into a table of their own, which then
# becomes the table of all maps in one that is as short.


def _replace(conn: Writer, space: Space, points: Iterator[tuple], advance: Advance) -> None:
    try:
        with conn.transaction():
            conn.execute(f"drop table if exists {NEW}")
            conn.execute(_definition(conn).replace(ATLAS, NEW, 1))
        while batch := list(islice(points, LIMITS.rows_of_atlas)):
            with _one_of_many(conn):
                _insert(conn, NEW, batch)
            advance(len(batch))
        copied: dict[int, int] = {}
        for other in _other_generations(conn, space):
            copied |= _copy(conn, *other)
        _switch(conn, space, copied)
    except BaseException:
        with suppress(*sqlite_errors.Error), conn.transaction():
            conn.execute(f"drop table if exists {NEW}")
        raise


def _definition(conn: Writer) -> str:
    """The SQL that makes the table of all maps."""
    sql = "select sql from sqlite_master where type = 'table' and name = ?"
    return conn.execute(sql, [ATLAS]).fetchone()[0]


def _other_generations(conn: Writer, space: Space) -> list[tuple[int, int]]:
    """(id, generation) of all other spaces."""
    sql = "select id, generation from imgsim_spaces where id <> ?"
    return conn.execute(sql, [space.id]).fetchall()


def _copy(conn: Writer, id: int, generation: int) -> dict[int, int]:
    """Copies the map of another space, in short transactions: {id: generation}."""
    after = ""
    last = None
    while True:
        with _one_of_many(conn):
            rows = conn.execute(
                f"select {COLUMNS} from {ATLAS} where space_id = ? {after} "
                "order by image_key limit ?",
                [id, *([last] if after else []), LIMITS.rows_of_atlas],
            ).fetchall()
            _insert(conn, NEW, rows)
        if len(rows) < LIMITS.rows_of_atlas:
            return {id: generation}
        after, last = "and image_key > ?", rows[-1][1]


def _switch(conn: Writer, space: Space, copied: dict[int, int]) -> None:
    """Puts the new table in the place of the old one; `copied` are generations of other spaces."""
    # Otherwise, SQLite refuses to rename a table while a view names the one that is replaced.
    conn.execute("pragma legacy_alter_table = on")
    # Overwriting what is dropped would take long, and positions are no secret.
    conn.execute("pragma secure_delete = off")
    with conn.transaction():
        changed = [
            id for id, generation in _other_generations(conn, space) if copied.get(id) != generation
        ]
        for id in changed:
            conn.execute(f"delete from {NEW} where space_id = ?", [id])
            conn.execute(
                f"insert into {NEW} ({COLUMNS}) select {COLUMNS} from {ATLAS} where space_id = ?",
                [id],
            )
        own = conn.execute(
            "select sql from sqlite_master where tbl_name = ? and type in ('index', 'trigger') "
            "and sql is not null",
            [ATLAS],
        ).fetchall()
        conn.execute(f"drop table {ATLAS}")
        conn.execute(f"alter table {NEW} rename to {ATLAS}")
        for (sql,) in own:  # indexes and triggers of the user's own
            conn.execute(sql)
        raise_generation(conn, space)


def has_atlas(conn: sqlite3.Connection, space: Space) -> bool:
    """Whether the space has a map."""
    rows = conn.execute("select 1 from imgsim_atlas where space_id = ? limit 1", [space.id])
    return rows.fetchone() is not None


def read_point(conn: sqlite3.Connection, space: Space, id) -> tuple[float, float, bool] | None:
    """(x, y, whether t-SNE laid it out) of one image on the map of a space, or None."""
    return conn.execute(
        "select x, y, placed = 'fitted' from imgsim_atlas where space_id = ? and image_key = ?",
        [space.id, id],
    ).fetchone()
