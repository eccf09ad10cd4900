"""Gives a table of a database another definition: for migrations."""

from __future__ import annotations

import sqlite3

from .. import sqlite_errors
from .schema import indexes_and_triggers


def redefine(conn: sqlite3.Connection, name: str, statement: str) -> None:
    """Gives a table another definition, under which its rows stay as they are in the file.

    A copy of a million vectors would take half a minute and double the file. What SQLite's manual
    says of such changes: https://sqlite.org/lang_altertable.html#otheralter
    """
    if not conn.execute(f"select 1 from {name} limit 1").fetchone():
        conn.execute(f"drop table {name}")
        conn.execute(statement)
        return
    (version,) = conn.execute("pragma schema_version").fetchone()
    conn.execute("pragma writable_schema = on")
    try:
        conn.execute("update sqlite_master set sql = ? where name = ?", [statement, name])
    except sqlite_errors.OperationalError:  # defensive mode, in which Apple's SQLite always is
        return _copy(conn, name, statement)
    conn.execute(f"pragma schema_version = {version + 1}")
    conn.execute("pragma writable_schema = reset")
    # Values are compared in another way, and indexes of the user's own may be on image_id.
    conn.execute(f"reindex {name}")


def _copy(conn: sqlite3.Connection, name: str, statement: str) -> None:
    """Copies the rows of a table into one with another definition, which takes its place."""
    own = indexes_and_triggers(conn, name)
    conn.execute("pragma legacy_alter_table = on")  # what names the table stays as it is
    conn.execute(f"alter table {name} rename to {name}_before")
    conn.execute("pragma legacy_alter_table = off")
    conn.execute(statement)
    before = conn.execute(f"select * from {name}_before limit 0").description
    # None of these is computed, and columns that are new come last.
    now = conn.execute("select name from pragma_table_info(?)", [name]).fetchall()
    columns = ", ".join(column for (column,) in now[: len(before)])
    conn.execute(f"insert into {name} ({columns}) select * from {name}_before")
    conn.execute(f"drop table {name}_before")
    for sql in own:
        conn.execute(sql)
