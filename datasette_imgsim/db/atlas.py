"""The table imgsim_atlas: the position of each image on the map of a space."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import numpy as np

from .connect import Writer
from .spaces import Space, raise_generation
from .tables import SourceTable


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


def save_atlas(conn: Writer, space: Space, rows: Iterable[tuple], replace: bool) -> None:
    """Writes rows (image id, x, y, placed) in one transaction, so that no reader sees half a map.

    With `replace`, the old map is removed first; otherwise existing points stay as they are.
    """
    with conn.transaction():
        if replace:
            conn.execute("delete from imgsim_atlas where space_id = ?", [space.id])
        conn.executemany(
            "insert into imgsim_atlas (space_id, image_key, x, y, placed) values (?, ?, ?, ?, ?) "
            "on conflict do nothing",
            ((space.id, *row) for row in rows),
        )
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
