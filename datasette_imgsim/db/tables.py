"""Source tables: the tables whose rows are images, ours or somebody's own."""

from __future__ import annotations

import functools
import json
import posixpath
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import ImgsimError, listed
from . import schema
from .connect import batches

IDS_A_QUERY = 500
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class SourceTable:
    """A table whose rows are images. In its SQL the table is called t."""

    name: str
    key: str
    """The column that is the primary key, or 'rowid' where none is declared."""
    label: str | None
    """The column that names an image to people."""

    @classmethod
    def read(cls, conn: sqlite3.Connection, name: str) -> SourceTable:
        """What the database says of a table.

        Raises ImgsimError where the table is gone, and for a primary key of several columns.
        """
        columns = conn.execute("select name, pk from pragma_table_info(?)", [name]).fetchall()
        if not columns:
            raise _gone(conn, name)
        keys = [column for column, pk in columns if pk]
        if len(keys) > 1:
            raise ImgsimError(
                f"The table {name!r} has a compound primary key ({listed(keys)}): "
                "use a table whose key is one column"
            )
        return cls(name, keys[0] if keys else "rowid", _label_column(conn, name))

    @functools.cached_property
    def rows_sql(self) -> str:
        """The table, for a from clause."""
        return f"{quoted(self.name)} t"

    @functools.cached_property
    def key_sql(self) -> str:
        return f"t.{quoted(self.key)}"

    @functools.cached_property
    def label_sql(self) -> str:
        return without_blobs(f"t.{quoted(self.label)}") if self.label else "null"

    def find(self, conn: sqlite3.Connection, id):
        """The key, as stored, of the row that `id` names; None where there is none.

        SQLite compares as the key's affinity wants: '42' finds 42, and 42 finds '42'. Where the
        key has no affinity, '7' finds the text '7' first, then the number 7. Raises ImgsimError
        for a BLOB.
        """
        if isinstance(id, bytes):
            raise ImgsimError("An id must be a number or text, not a BLOB")
        candidates = [id]
        if isinstance(id, str) and WHOLE_NUMBER.fullmatch(id):
            candidates.append(int(id))
        for candidate in candidates:
            try:
                row = conn.execute(
                    f"select {self.key_sql} from {self.rows_sql} where {self.key_sql} = ?",
                    [candidate],
                ).fetchone()
            except (OverflowError, UnicodeEncodeError):  # more than SQLite can hold
                continue
            if row:
                return row[0]
        return None

    def present(self, conn: sqlite3.Connection, ids: Iterable) -> set:
        """Those of the ids, given as stored, that are rows of the table."""
        rows = conn.execute(
            f"select {self.key_sql} from {self.rows_sql} "
            f"where {self.key_sql} in (select value from json_each(?))",
            [json.dumps(list(ids))],
        )
        return {id for (id,) in rows}

    def described(
        self, conn: sqlite3.Connection, ids: Iterable
    ) -> dict[int | str, tuple[str, bool]]:
        """{id: (what people call the image, whether it has a thumbnail)} of those that are rows."""
        described: dict[int | str, tuple[str, bool]] = {}
        for some in batches(list(ids), IDS_A_QUERY):
            # The + takes the key's affinity away, without which the index could not be used.
            rows = conn.execute(
                f"""
                select {self.key_sql}, {self.label_sql}, exists (
                    select 1 from imgsim_thumbnails
                    where source_table = ? and image_id = +{self.key_sql}
                )
                from {self.rows_sql} where {self.key_sql} in ({", ".join("?" * len(some))})
                """,
                [self.name, *some],
            )
            described.update(
                (id, (self.display_name(id, label), bool(has_thumbnail)))
                for id, label, has_thumbnail in rows
            )
        return described

    def display_name(self, id, label) -> str:
        """What people call an image: its file name, where there is one."""
        text = "" if label is None or isinstance(label, bytes) else str(label)
        return (posixpath.basename(text) if self.label == "path" else text) or str(id)

    def values(
        self, conn: sqlite3.Connection, column: str, ids: list | None = None
    ) -> Iterator[tuple]:
        """(key, value) of a column in all rows, or in some; rows where it is null are left out.

        Text that is not UTF-8 comes with replacement characters.
        """
        value = f"t.{quoted(column)}"
        some = "1" if ids is None else f"{self.key_sql} in (select value from json_each(:ids))"
        for id, kind, content in conn.execute(
            f"select {self.key_sql}, typeof({value}), "
            f"iif(typeof({value}) = 'text', cast({value} as blob), {value}) "
            f"from {self.rows_sql} where {value} is not null and {some}",
            {"ids": json.dumps(ids)},
        ):
            yield id, content.decode(errors="replace") if kind == "text" else content


def source_table_names(conn: sqlite3.Connection) -> list[str]:
    """The tables of a database whose rows are images. Raises ImgsimError."""
    if "imgsim_spaces" not in schema.tables(conn):
        return []
    schema.check_version(conn)
    rows = conn.execute(
        """
        select source_table from imgsim_spaces
        where source_table in (select name from sqlite_master where type = 'table')
        group by source_table order by min(id)
        """
    )
    names = [name for (name,) in rows]
    # Ours has no space while no picture could be embedded; one that is not ours has no images.
    if schema.SOURCE_TABLE not in names and schema.is_ours(conn):
        names.insert(0, schema.SOURCE_TABLE)
    return names


def _label_column(conn: sqlite3.Connection, table: str) -> str | None:
    """The path, else the first text column that is not the key."""
    rows = conn.execute(
        """
        select name from pragma_table_info(?) where not pk
        order by name <> 'path', upper(type) not in ('TEXT', 'VARCHAR'), cid limit 1
        """,
        [table],
    )
    return next((name for (name,) in rows), None)


def check_column(conn: sqlite3.Connection, table: str, column: str, hint: str = "") -> None:
    """Raises ImgsimError unless the table has the column; generated columns count.

    `hint` ends the sentence about a column that is not there.
    """
    names = column_names(conn, table)
    if not names:
        raise _gone(conn, table)
    if column not in names:
        raise ImgsimError(
            f"The table {table!r} has no column {column!r}: there is {listed(names)}{hint}"
        )


def column_names(conn: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table, with the generated ones; none where there is no such table."""
    return [name for (name,) in conn.execute("select name from pragma_table_xinfo(?)", [table])]


def _gone(conn: sqlite3.Connection, table: str) -> ImgsimError:
    names = conn.execute("select name from imgsim_spaces where source_table = ?", [table])
    return ImgsimError(
        f"The table {table!r} is gone, whose images are in the space "
        f"{' and '.join(repr(name) for (name,) in names)}: bring it back, or remove the space "
        "with 'datasette imgsim drop DB SPACE'"
    )


def without_blobs(column: str) -> str:
    """SQL for a column's value; a BLOB, which may be a picture, is not read but null."""
    return f"case typeof({column}) when 'blob' then null else {column} end"


def quoted(name: str) -> str:
    """A table or column name as an SQL identifier."""
    return '"{}"'.format(name.replace('"', '""'))
