"""Source tables: the tables whose rows are images, `images` or users' own."""

from __future__ import annotations

import functools
import json
import posixpath
import re
import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .. import sqlite_errors
from ..errors import ImgsimError, listed
from ..limits import LIMITS
from . import schema, versions
from .connect import batches

IDS_A_QUERY = 500
ROWS_THAT_TELL = 5
"""So many rows are compared with what was embedded, since some may have been changed."""
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class SourceTable:
    """A table whose rows are images. Its SQL fragments call the table t."""

    name: str
    key: str
    """The column that is the primary key."""
    label: str | None
    """The column whose value is shown as an image's name; None if there is none."""
    label_from: tuple[str, str, str] | None = None
    """(table, its key, its label) if the label is a foreign key and the other label is shown."""

    @classmethod
    def read(cls, conn: sqlite3.Connection, name: str) -> SourceTable:
        """Finds the key and label of a table.

        Raises ImgsimError if the table is gone, if its primary key is not one column, or is
        another than that under which its images were embedded.
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
        if not keys:
            raise ImgsimError(
                f"The table {name!r} has no primary key, and row numbers change, as when the "
                "database is vacuumed: give it one, as 'sqlite-utils transform DB TABLE --pk id' "
                "does, then run 'datasette imgsim embed DB --table TABLE --column COLUMN'"
            )
        _check_key(conn, name, keys[0], [column for column, _ in columns])
        return cls(name, keys[0], _label_column(conn, name))

    @functools.cached_property
    def rows_sql(self) -> str:
        """The table, as SQL for a from clause."""
        return f"{quoted(self.name)} t"

    @functools.cached_property
    def key_sql(self) -> str:
        """The key, as an SQL expression."""
        return f"t.{quoted(self.key)}"

    @functools.cached_property
    def label_sql(self) -> str:
        """The label, as an SQL expression; null if there is none or it is a BLOB."""
        if self.label is None:
            return "null"
        label = f"t.{quoted(self.label)}"
        if self.label_from:
            table, key, name = map(quoted, self.label_from)
            label = f"coalesce((select o.{name} from {table} o where o.{key} = {label}), {label})"
        return without_blobs(label)

    def find(self, conn: sqlite3.Connection, id):
        """The key, as stored, of the row with this id, or None.

        SQLite compares by the key's affinity: '42' finds 42, and 42 finds '42'. If the key has no
        affinity, '7' finds the text '7' first, then the number 7. Raises ImgsimError for a BLOB.
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
            except (OverflowError, UnicodeEncodeError):  # SQLite cannot hold it
                continue
            if row:
                return row[0]
        return None

    def present(self, conn: sqlite3.Connection, ids: Iterable) -> set:
        """The ids, out of ids as stored, that have a row in the table."""
        rows = conn.execute(
            f"select {self.key_sql} from {self.rows_sql} "
            f"where {self.key_sql} in (select value from json_each(?))",
            [json.dumps(list(ids))],
        )
        return {id for (id,) in rows}

    def spread(self, conn: sqlite3.Connection, count: int) -> list:
        """The keys of up to `count` rows from all parts of the table, which is not read whole."""
        first = conn.execute(
            f"select {self.key_sql} from {self.rows_sql} order by {self.key_sql} limit ?", [count]
        )
        # Where rows are few or all in one place, the first ones fill up.
        keys = dict.fromkeys([*self._across(conn, count), *(key for (key,) in first)])
        return [key for key in keys if key is not None][:count]

    def _across(self, conn: sqlite3.Connection, count: int) -> list:
        """The keys of the rows at `count` places; none if SQLite does not number the rows."""
        if "_rowid_" in column_names(conn, self.name):
            return []
        try:
            first, last = conn.execute(
                f"select (select min(t._rowid_) from {self.rows_sql}), max(t._rowid_) "
                f"from {self.rows_sql}"
            ).fetchone()
        except sqlite_errors.OperationalError:  # a table without rowid
            return []
        if first is None:
            return []
        sql = f"select {self.key_sql} from {self.rows_sql} where t._rowid_ >= ? order by t._rowid_"
        places = (first + (last - first) * n // count for n in range(count))
        return [key for place in places for (key,) in conn.execute(f"{sql} limit 1", [place])]

    def described(
        self, conn: sqlite3.Connection, ids: Iterable
    ) -> dict[int | str, tuple[str, bool]]:
        """{id: (display name, whether it has a thumbnail)} of the ids that have a row.

        Of names that are paths, as much is given as tells these images apart.
        """
        labels: dict[int | str, object] = {}
        with_thumbnail = set()
        # Text is read as bytes: it need not be UTF-8, and then Python would raise an error.
        label = self.label_sql
        as_bytes = f"case typeof({label}) when 'text' then cast({label} as blob) else {label} end"
        for batch in batches(list(ids), IDS_A_QUERY):
            # Without "+", the key's affinity would keep SQLite from using the index.
            rows = conn.execute(
                f"""
                select {self.key_sql}, {as_bytes}, exists (
                    select 1 from imgsim_thumbnails
                    where source_table = ? and image_key = +{self.key_sql}
                )
                from {self.rows_sql} where {self.key_sql} in ({", ".join("?" * len(batch))})
                """,
                [self.name, *batch],
            )
            for id, label, has_thumbnail in rows:
                labels[id] = label.decode(errors="replace") if isinstance(label, bytes) else label
                if has_thumbnail:
                    with_thumbnail.add(id)
        if self.label == "path":
            labels |= told_apart({id: path for id, path in labels.items() if type(path) is str})
        return {id: (_name(id, label), id in with_thumbnail) for id, label in labels.items()}

    def display_name(self, id, label) -> str:
        """The name of an image for people: its file name, else its label, else its id."""
        if self.label == "path" and isinstance(label, str):
            label = posixpath.basename(label)
        return _name(id, label)

    def path(self, conn: sqlite3.Connection, id) -> str | None:
        """What the column `path` has in a row; None if it has no text, or there is no column."""
        if "path" not in column_names(conn, self.name):
            return None
        sql = f"select t.path from {self.rows_sql} where {self.key_sql} = ? and typeof(t.path)"
        row = conn.execute(f"{sql} = 'text'", [id]).fetchone()
        return row and row[0]

    def values(
        self, conn: sqlite3.Connection, column: str, ids: list | None = None
    ) -> Iterator[tuple]:
        """(key, value) of a column in all rows, or in those with `ids`, without null values.

        Bytes of a text that are not UTF-8 become replacement characters.
        """
        value = f"t.{quoted(column)}"
        chosen = "1" if ids is None else f"{self.key_sql} in (select value from json_each(:ids))"
        for id, kind, content in conn.execute(
            f"select {self.key_sql}, typeof({value}), "
            f"iif(typeof({value}) = 'text', cast({value} as blob), {value}) "
            f"from {self.rows_sql} where {value} is not null and {chosen}",
            {"ids": json.dumps(ids)},
        ):
            yield id, content.decode(errors="replace") if kind == "text" else content


def _name(id, label) -> str:
    """A label as text, not too long; else the id."""
    name = ("" if label is None or isinstance(label, bytes) else str(label)) or str(id)
    most = LIMITS.characters_of_name
    return name if len(name) <= most else f"{name[:most]}…"


def told_apart(paths: dict) -> dict:
    """{id: the file name}, with as many of the folders before it as the other paths demand."""
    parts = {id: path.rstrip("/").split("/") for id, path in paths.items()}
    lengths = dict.fromkeys(paths, 1)
    while True:
        ends = {id: "/".join(parts[id][-lengths[id] :]) for id in paths}
        alike: dict[str, set] = {}
        for id, end in ends.items():
            alike.setdefault(end, set()).add(paths[id])
        longer = [
            id for id, end in ends.items() if len(alike[end]) > 1 and lengths[id] < len(parts[id])
        ]
        if not longer:
            return ends
        for id in longer:
            lengths[id] += 1


def picture_column(conn: sqlite3.Connection, table: SourceTable) -> str | None:
    """The column that holds a table's pictures, or their paths; None if that is unknown.

    In a table of the user's own, it is told by rows that were embedded.
    """
    if table.name == schema.SOURCE_TABLE and schema.is_ours(conn):
        return "path"
    read = conn.execute(
        f"select image_key, bytes, path from imgsim_contents where source_table = ? "
        f"limit {ROWS_THAT_TELL}",
        [table.name],
    ).fetchall()
    for column in column_names(conn, table.name):
        value = f"t.{quoted(column)}"
        sql = (
            f"select 1 from {table.rows_sql} where {table.key_sql} = :id and iif(:path is null, "
            f"typeof({value}) = 'blob' and length({value}) = :bytes, {value} = :path)"
        )
        for id, size, path in read:
            if conn.execute(sql, {"id": id, "bytes": size, "path": path}).fetchone():
                return column
    return None


def blob_column(conn: sqlite3.Connection, table: SourceTable) -> str | None:
    """The column that holds a table's pictures as BLOBs; None if they are files, or unknown."""
    if "imgsim_contents" not in schema.tables(conn):
        return None  # made by an older version
    column = picture_column(conn, table)
    if column is None:
        return None
    sql = (
        f"select 1 from imgsim_contents as content join {table.rows_sql} "
        f"on {table.key_sql} = content.image_key where content.source_table = ? "
        f"and content.path is null and typeof(t.{quoted(column)}) = 'blob' limit 1"
    )
    return column if conn.execute(sql, [table.name]).fetchone() else None


def source_table_names(conn: sqlite3.Connection) -> list[str]:
    """The tables of a database whose rows are images, as declared. Raises ImgsimError."""
    if "imgsim_spaces" not in schema.tables(conn):
        return []
    versions.check_version(conn)
    rows = conn.execute(
        """
        select declared.name from imgsim_spaces as space
        join sqlite_master as declared on declared.name = space.source_table collate nocase
        where declared.type = 'table' group by declared.name order by min(space.id)
        """
    )
    names = [name for (name,) in rows]
    # `images` has no space before a picture was embedded; a table of this name may be the user's.
    images = schema.declared_name(conn, schema.SOURCE_TABLE)
    if images and images not in names and schema.is_ours(conn):
        names.insert(0, images)
    return names


def _check_key(conn: sqlite3.Connection, table: str, key: str, columns: list[str]) -> None:
    """Raises ImgsimError if the key of a table is not the one its images were embedded under.

    Other rows could have these keys now.
    """
    if "source_key" not in column_names(conn, "imgsim_spaces"):
        return  # nothing was embedded yet, or by an older version, whose tables come to be upgraded
    recorded = conn.execute(
        "select name, source_key from imgsim_spaces "
        "where source_table = ? and source_key <> ? collate nocase",
        [table, key],
    ).fetchone()
    if recorded is None:
        return
    space, old = recorded
    change = ["--pk", old] if old in columns else ["--rename", key, old]
    raise ImgsimError(
        f"The key of the table {table!r} was {old!r} when its images were embedded, and is {key!r} "
        f"now: change it back with 'sqlite-utils transform DB {shlex.join([table, *change])}', or "
        f"remove the space {space!r} with 'datasette imgsim drop DB SPACE' and embed again"
    )


def _label_column(conn: sqlite3.Connection, table: str) -> str | None:
    """The column that names rows: never the key, None if there is no other.

    It is the one that Datasette's `label_column_for_table` finds without configuration: called
    name or title, unique text, or the only other one. Where there is none, it is the column `path`,
    else the first text column, else the first one.
    """
    rows = conn.execute(
        """
        with columns as (
            select *, type like '%char%' or type like '%clob%' or type like '%text%' as is_text
            from pragma_table_info(:table) where not pk
        ), uniques as (
            select min(part.name) as name from pragma_index_list(:table) as entry
            join pragma_index_info(entry.name) as part
            where entry."unique" group by entry.name having count(*) = 1
        )
        select name from columns
        order by lower(name) not in ('name', 'title'), not (is_text and name in uniques),
            name <> 'path', not is_text, cid
        limit 1
        """,
        {"table": table},
    )
    return next((name for (name,) in rows), None)


def with_foreign_label(conn: sqlite3.Connection, table: SourceTable) -> SourceTable:
    """The table, with the label of another one if its own label is a foreign key to that."""
    row = conn.execute(
        """
        select "table", coalesce("to", (select name from pragma_table_info("table") where pk))
        from pragma_foreign_key_list(?) where "from" = ? collate nocase
        """,
        [table.name, table.label],
    ).fetchone()
    label = _label_column(conn, row[0]) if row else None
    return replace(table, label_from=(*row, label)) if label else table


def check_column(conn: sqlite3.Connection, table: str, column: str, hint: str = "") -> None:
    """Raises ImgsimError unless the table has the column, which may be a generated one.

    `hint` is appended to the sentence about a missing column.
    """
    names = column_names(conn, table)
    if not names:
        raise _gone(conn, table)
    if column not in names:
        raise ImgsimError(
            f"The table {table!r} has no column {column!r}: there is {listed(names)}{hint}"
        )


def column_names(conn: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table, also generated ones; none if there is no such table."""
    return [name for (name,) in conn.execute("select name from pragma_table_xinfo(?)", [table])]


def _gone(conn: sqlite3.Connection, table: str) -> ImgsimError:
    names = conn.execute("select name from imgsim_spaces where source_table = ?", [table])
    return ImgsimError(
        f"The table {table!r} is gone, whose images are in the space "
        f"{' and '.join(repr(name) for (name,) in names)}: bring it back, or remove the space "
        "with 'datasette imgsim drop DB SPACE'"
    )


def without_blobs(column: str) -> str:
    """SQL for a column's value, with null for a BLOB: it may be a picture and is not read."""
    return f"case typeof({column}) when 'blob' then null else {column} end"


def quoted(name: str) -> str:
    """A table or column name as an SQL identifier."""
    return '"{}"'.format(name.replace('"', '""'))
