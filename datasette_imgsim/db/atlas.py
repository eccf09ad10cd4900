"""The table imgsim_atlas: the position of each image on the map of a space."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice

import numpy as np

from ..limits import LIMITS
from ..progress import Progress, silent
from . import replacing
from .connect import Writer
from .spaces import Space, raise_generation
from .tables import SourceTable

COLUMNS = ("space_id", "image_key", "x", "y", "placed")
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
    table = replacing.Table("imgsim_atlas", COLUMNS, ("image_key",), LIMITS.rows_of_atlas)

    def finish() -> None:
        raise_generation(conn, space, vectors_changed=False)

    with progress(len(ids), " images", "Storing") as advance:
        if not replace:
            while batch := list(islice(points, LIMITS.rows_of_atlas)):
                with replacing.one_of_many(conn):
                    table.insert(conn, batch)
                    finish()
                advance(len(batch))
        else:
            replacing.replace(conn, table, space, points, len(ids), finish, advance)


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
