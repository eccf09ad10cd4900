"""The tables: their names, what `images` looks like, and whether a table `images` is ours."""

from __future__ import annotations

import re
import sqlite3

SOURCE_TABLE = "images"
OF_SPACES = (
    "imgsim_vectors",
    "imgsim_atlas",
    "imgsim_neighbours",
    "imgsim_duplicates",
    "imgsim_group_members",
)
"""Our tables with rows for the images of a space."""
WITH_SPACES = (*OF_SPACES, "imgsim_groups")
"""Our tables whose rows are of one space each."""
OF_IMAGES = ("imgsim_thumbnails", "imgsim_contents", "imgsim_readings", "imgsim_verdicts")
"""Our tables with rows for the images of a source table."""

# SQLite computes it whenever it is read, so it is right however a path is changed. All characters
# of the path but "/" are taken off its end, then that "/".
FOLDER_SQL = """text generated always as (
        coalesce(nullif(rtrim(rtrim(path, replace(path, '/', '')), '/'), ''), '.')
    ) virtual"""
# What people look at stands first: Datasette shows columns in this order.
IMAGES_SQL = f"""
create table images (
    id integer primary key autoincrement,
    path text not null unique,
    folder {FOLDER_SQL},
    taken_at text,
    camera text,
    width integer,
    height integer,
    format text,
    latitude real,
    longitude real,
    bytes integer,
    mtime_ns integer,
    sha256 text
)"""
IMAGES_TYPES = dict(re.findall(r"^    (\w+) (\w+)(?! generated)\b", IMAGES_SQL, re.MULTILINE))
"""The declared type of each column of `images` that is written."""
IMAGES_COLUMNS = tuple(IMAGES_TYPES)


def tables(conn: sqlite3.Connection) -> set[str]:
    """Names of the tables and views of a database, in lower case, since SQLite ignores case."""
    rows = conn.execute("select lower(name) from sqlite_master where type in ('table', 'view')")
    return {name for (name,) in rows}


def declared_name(conn: sqlite3.Connection, table: str) -> str | None:
    """The name of a table as it was declared, whatever the case of `table`; None if there is none.

    A virtual table counts, a view does not.
    """
    row = conn.execute(
        "select name from sqlite_master where type = 'table' and name = ? collate nocase", [table]
    ).fetchone()
    return row and row[0]


def indexes_and_triggers(conn: sqlite3.Connection, table: str) -> list[str]:
    """The SQL that makes those of a table, also the user's own, but for its constraints."""
    rows = conn.execute(
        "select sql from sqlite_master where tbl_name = ? and type in ('index', 'trigger') "
        "and sql is not null",
        [table],
    )
    return [sql for (sql,) in rows]


def is_ours(conn: sqlite3.Connection) -> bool:
    """Whether the table `images` was made by IMAGES_SQL; columns may have been added."""
    # Datasette's rows are equal to no tuple.
    kind = conn.execute("select type from sqlite_master where lower(name) = ?", [SOURCE_TABLE])
    kinds = [type for (type,) in kind]
    columns = dict(conn.execute("select name, pk from pragma_table_info(?)", [SOURCE_TABLE]))
    unique = conn.execute(
        """
        select group_concat(column.name) from pragma_index_list(?) as entry
        join pragma_index_info(entry.name) as column where entry."unique" group by entry.name
        """,
        [SOURCE_TABLE],
    )
    return (
        kinds == ["table"]
        and columns.keys() >= set(IMAGES_COLUMNS)
        and columns["id"] == 1
        and "path" in [names for (names,) in unique]
    )


def missing_columns(conn: sqlite3.Connection) -> list[str]:
    """The columns that somebody renamed or dropped in a table `images` that was ours.

    None where the table has so few of them that it was never ours.
    """
    names = {name for (name,) in conn.execute("select name from pragma_table_info('images')")}
    missing = [name for name in IMAGES_COLUMNS if name not in names]
    return missing if len(missing) <= len(IMAGES_COLUMNS) // 2 else []
