"""The tables imgsim_groups and imgsim_group_members: images of a space that belong together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..errors import ImgsimError
from ..progress import Progress, silent
from . import replacing, schema
from .connect import Writer
from .spaces import Space, all_spaces, read_numbers, save_numbers
from .tables import SourceTable

COLUMNS = ("space_id", "group_id", "image_key")
RULES = 1
"""Raised when `explore.groups` would make others: then the next run makes them anew."""
ROWS_A_TRANSACTION = 20_000


@dataclass(frozen=True)
class Group:
    """Images that belong together."""

    id: int | None
    """Unique in the database, and never given to another group; None before it is stored."""
    name: str
    cover: int | str
    """The key of the image that stands for the group."""
    images: int
    """How many belong to it."""


@dataclass(frozen=True)
class Stamp:
    """What the stored groups of a space were made from."""

    generation: int
    """The generation of the space."""
    rules: int
    """The version of the rules by which they were made."""
    images: int = 0
    """How many images the space had when groups were last made anew."""

    def is_current(self, space: Space) -> bool:
        """Whether they were made of the space as it is, by the rules as they are."""
        return (self.generation, self.rules) == (space.generation, RULES)


def read_stamp(conn: sqlite3.Connection, space: Space) -> Stamp | None:
    """The stamp of the stored groups; None if none were made, or it is damaged."""
    numbers = read_numbers(conn, space, "groups", ("generation", "rules", "images"))
    return Stamp(*numbers) if numbers else None


def save_groups(
    conn: Writer,
    space: Space,
    stamp: Stamp,
    groups: Sequence[Group],
    keys: Sequence,
    of: np.ndarray,
    progress: Progress = silent,
) -> None:
    """Replaces the stored groups of a space: a reader sees the old ones or the new ones.

    `of` (n,) is, for each image of `keys` (n,), the place of its group in `groups`, or -1. A group
    whose id is None gets one; others keep theirs. Stored groups that are not given are removed.
    """
    with conn.transaction():
        ids = [group.id if group.id is not None else _new_id(conn, space) for group in groups]
    members = ((space.id, ids[place], key) for key, place in zip(keys, of.tolist()) if place >= 0)
    count = int((of >= 0).sum())

    def finish() -> None:
        conn.execute("delete from imgsim_groups where space_id = ?", [space.id])
        conn.executemany(
            "insert into imgsim_groups (id, space_id, name, images, cover_key) "
            "values (?, ?, ?, ?, ?)",
            [
                (id, space.id, group.name, group.images, group.cover)
                for id, group in zip(ids, groups)
            ],
        )
        save_numbers(conn, space, "groups", vars(stamp))

    table = replacing.Table("imgsim_group_members", COLUMNS, ("image_key",), ROWS_A_TRANSACTION)
    with progress(count, " images", "Storing") as advance:
        replacing.replace(conn, table, space, members, count, finish, advance)


def _new_id(conn: Writer, space: Space) -> int:
    """An id that no group has had; the row that has taken it is gone again."""
    cursor = conn.execute(
        "insert into imgsim_groups (space_id, name, images, cover_key) values (?, '', 0, '')",
        [space.id],
    )
    conn.execute("delete from imgsim_groups where id = ?", [cursor.lastrowid])
    return cursor.lastrowid


def read_groups(conn: sqlite3.Connection, space: Space) -> list[Group]:
    """The stored groups of a space, largest first, as far as their images are still there.

    Where the cover is gone, another image takes its place.
    """
    table = SourceTable.read(conn, space.source_table)
    # "cross join" keeps SQLite from reading the whole source table first.
    rows = conn.execute(
        f"""
        select g.id, cast(g.name as blob), g.cover_key, count(*),
        max(m.image_key = g.cover_key), min(m.image_key)
        from imgsim_groups g
        cross join imgsim_group_members m on m.space_id = g.space_id and m.group_id = g.id
        cross join {table.rows_sql} on {table.key_sql} = m.image_key
        where g.space_id = ? group by g.id order by 4 desc, g.id
        """,
        [space.id],
    )
    return [
        Group(id, _readable(name), cover if has_cover else first, images)
        for id, name, cover, images, has_cover, first in rows
    ]


def read_names(conn: sqlite3.Connection, space: Space) -> dict[int, str]:
    """{id: name} of the stored groups of a space."""
    sql = "select id, cast(name as blob) from imgsim_groups where space_id = ?"
    return {id: _readable(name) for id, name in conn.execute(sql, [space.id])}


def _readable(name) -> str:
    """A name, which by somebody's hand may be any bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else ""


def read_some(conn: sqlite3.Connection, space: Space, group: Group, count: int) -> list[int | str]:
    """The keys of up to `count` images of a group beside its cover, from all parts of it.

    Those of images that are gone may be among them.
    """
    rows = conn.execute(
        "select image_key from imgsim_group_members "
        "where space_id = ? and group_id = ? and image_key <> ? order by image_key",
        [space.id, group.id, group.cover],
    )
    step = max(1, group.images // (count + 1))
    # The first one of a table is often an odd one.
    return [key for (key,) in islice(rows, step // 2, count * step, step)]


def read_members(conn: sqlite3.Connection, space: Space) -> list[tuple[int, int | str]]:
    """(id of a group, key of an image) for all images that are in a group, in order of the keys.

    Rows of images that are gone are among them.
    """
    sql = (
        "select group_id, image_key from imgsim_group_members "
        "where space_id = ? and typeof(group_id) = 'integer' order by 2"
    )
    return conn.execute(sql, [space.id]).fetchall()


def has_groups(conn: sqlite3.Connection, space: Space) -> bool:
    """Whether any groups of a space are stored; False in a database of an older version."""
    if "imgsim_groups" not in schema.tables(conn):
        return False
    rows = conn.execute("select 1 from imgsim_groups where space_id = ? limit 1", [space.id])
    return rows.fetchone() is not None


def has_groups_of(conn: sqlite3.Connection, table: str) -> bool:
    """Whether any groups of a source table are stored, in any of its spaces."""
    with suppress(ImgsimError):  # a damaged space; our own pages say so
        return any(has_groups(conn, space) for space in all_spaces(conn, table))
    return False
