"""The two origins of pictures: files, or a column of a table of the user's own."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..db import schema
from ..db.connect import Writer
from ..db.images import KnownImage, known_images, known_rows, read_facts, save_content, save_image
from ..db.spaces import Space
from ..db.tables import SourceTable, check_column, quoted
from ..errors import ImgsimError
from . import sources
from .folders import Search
from .sources import Item


class Pictures(Protocol):
    """The pictures that a run embeds: those of one source table."""

    table: str
    """The name of the source table."""

    def find(self, conn: sqlite3.Connection) -> list[Item]:
        """The items to embed. An item's name identifies its image."""

    def known(self, conn: sqlite3.Connection, space: Space | None) -> list[KnownImage]:
        """The images in the database; their `path` is the name of their item."""

    def under_known_names(self, items: list[Item], known: list[KnownImage]) -> list[Item]:
        """The items, each with the name that its picture has in the database, if it has one."""

    def is_gone(self, image: KnownImage) -> bool:
        """Whether the picture of an image without an item is gone: such an image may be renamed."""

    def is_settled(self, failure: str) -> bool:
        """Whether the failure of a name without an item can be removed."""

    def loaded(self, conn: sqlite3.Connection, item: Item) -> Item:
        """The item, with its bytes if they are in the database."""

    def save(
        self, conn: Writer, item: Item, sha256: str, facts: dict, same_pixels: bool = False
    ) -> int | str:
        """Stores hash, size, mtime and facts of an item's picture; returns the image's id.

        What was made of another content is removed, unless it had the `same_pixels`.
        """

    def facts(self, conn: sqlite3.Connection, id) -> dict:
        """The stored facts of an image, to be stored also of an image with the same content."""


class Files:
    """Files and folders, as rows of `images`."""

    table = schema.SOURCE_TABLE

    def __init__(self, paths: list[Path], base: Path, search: Search | None = None):
        """`base` is the folder of the database file; `search` says how folders are searched."""
        self.paths = [sources.given_path(path, base) for path in paths]
        self.base, self.search = base, search or Search()

    def find(self, conn=None) -> list[Item]:
        return list(sources.find(self.paths, self.base, self.search))

    def known(self, conn, space) -> list[KnownImage]:
        return known_images(conn, space)

    def under_known_names(self, items, known) -> list[Item]:
        """A file may be known by another path: through a link, or in other upper and lower case."""
        names, paths = {item.name for item in items}, {image.path for image in known}
        if names <= paths:
            return items
        files = (self._file(image.path) for image in known if image.path not in names)
        known_files = {file.inode: file for file in files if file.inode}
        renamed = []
        for item in items:
            file = known_files.get(item.inode) if item.name not in paths else None
            if file is None or not sources.is_same_file(item, file):
                renamed.append(item)
            elif file.name not in names:
                names.add(file.name)
                renamed.append(replace(item, name=file.name))
        return renamed

    def _file(self, path: str) -> Item:
        return sources.file_item(sources.absolute_path(path, self.base), path)

    def is_gone(self, image) -> bool:
        return sources.is_gone(sources.absolute_path(image.path, self.base))

    def is_settled(self, failure) -> bool:
        return sources.can_be_listed(sources.absolute_path(failure, self.base))

    def loaded(self, conn, item) -> Item:
        return item

    def save(self, conn, item, sha256, facts, same_pixels=False) -> int:
        stamp = {"sha256": sha256, "bytes": item.size, "mtime_ns": item.mtime_ns}
        return save_image(conn, {"path": item.name} | stamp | facts, same_pixels)

    def facts(self, conn, id) -> dict:
        return read_facts(conn, id)


class Column:
    """A column that holds pictures as BLOBs, or paths of files relative to the database.

    Rows where it is null or empty are skipped, and rows whose key is null, since nothing can be
    stored of them. The table itself is never written to.
    """

    def __init__(self, conn: sqlite3.Connection, table: str, column: str, base: Path):
        """`base` is the folder of the database file.

        Raises ImgsimError unless there is such a column, in a table whose key is one column of
        whole numbers or text.
        """
        self.table, self.base = _own_name(conn, table), base
        check_column(conn, table, column)
        source = SourceTable.read(conn, self.table)
        _check_keys(conn, source)
        self.rows, self.key, self.column = source.rows_sql, source.key_sql, f"t.{quoted(column)}"
        # SQLite knows the length of a BLOB without reading it.
        self.filled = (
            f"case typeof({self.column}) when 'blob' then length({self.column}) > 0 "
            f"when 'text' then cast({self.column} as blob) <> x'' "
            f"else {self.column} is not null end"
        )

    def find(self, conn) -> list[Item]:
        # Text is read as bytes: it need not be UTF-8, and then Python would raise an error.
        rows = conn.execute(
            f"""
            select typeof({self.key}),
            case typeof({self.key}) when 'text' then cast({self.key} as blob) else {self.key} end,
            typeof({self.column}), case typeof({self.column})
                when 'blob' then length({self.column})
                when 'text' then cast({self.column} as blob) else {self.column} end
            from {self.rows} where {self.filled} and {self.key} is not null
            """
        )
        return [self._item(*row) for row in rows]

    def _item(self, key_kind: str, key, kind: str, value) -> Item:
        if key_kind == "text":
            try:
                key = key.decode()
            except UnicodeDecodeError:
                escaped = key.decode(errors="backslashreplace")
                return _failed(escaped, "the row's key is not valid UTF-8: give it another")
            if not key:
                return _failed(key, "the row's key is an empty text: give it another")
        if kind == "blob":
            return Item("", key, value, None)
        if kind != "text":
            return _failed(key, f"the number {value}: neither a picture nor a path")
        try:
            path = value.decode()
        except UnicodeDecodeError:
            return _failed(
                key, "text that is not valid UTF-8: store a picture as a BLOB, or a path"
            )
        if "://" in path:
            return _failed(key, f"{path} is an address: store the picture or a path")
        return replace(sources.file_item(os.path.join(self.base, path), key), path=path)

    def known(self, conn, space) -> list[KnownImage]:
        return known_rows(conn, space, self.table)

    def under_known_names(self, items, known) -> list[Item]:
        return items

    def is_gone(self, image) -> bool:
        return False

    def is_settled(self, failure) -> bool:
        return True

    def loaded(self, conn, item) -> Item:
        if item.file or item.error:
            return item
        row = conn.execute(
            f"select cast({self.column} as blob) from {self.rows} where {self.key} = ?",
            [item.name],
        ).fetchone()
        if row is None or row[0] is None:
            return replace(item, error="the row was changed while this ran: run it again")
        return replace(item, data=row[0])

    def save(self, conn, item, sha256, facts, same_pixels=False) -> int | str:
        size, mtime_ns, path = item.stamp
        save_content(conn, self.table, item.name, sha256, size, mtime_ns, path, same_pixels)
        return item.name

    def facts(self, conn, id) -> dict:
        return {}

    def without_key(self, conn: sqlite3.Connection) -> int:
        """How many rows have a picture but no key."""
        (count,) = conn.execute(
            f"select count(*) from {self.rows} where {self.filled} and {self.key} is null"
        ).fetchone()
        return count

    def emptied(self, conn: sqlite3.Connection) -> list:
        """The ids of images whose picture was removed from their row."""
        rows = conn.execute(
            f"""
            select c.image_key from imgsim_contents c join {self.rows}
            on {self.key} = c.image_key
            where c.source_table = ? and not {self.filled}
            """,
            [self.table],
        )
        return [id for (id,) in rows]


def _check_keys(conn: sqlite3.Connection, source: SourceTable) -> None:
    """Raises ImgsimError if a key can be named neither in a URL nor in JSON."""
    row = conn.execute(
        f"select typeof({source.key_sql}) from {source.rows_sql} "
        f"where typeof({source.key_sql}) in ('real', 'blob') limit 1"
    ).fetchone()
    if row:
        kind = "a number with a fraction" if row[0] == "real" else "a BLOB"
        raise ImgsimError(
            f"A key of the table {source.name!r} ({source.key}) is {kind}: use a table whose keys "
            "are whole numbers or text"
        )


def _failed(name, error: str) -> Item:
    return Item("", name, None, None, error)


def _own_name(conn: sqlite3.Connection, table: str) -> str:
    """A table's name as declared. Raises ImgsimError for a view or a table of ours."""
    row = conn.execute(
        "select name, type from sqlite_master where name = ? collate nocase "
        "and type in ('table', 'view')",
        [table],
    ).fetchone()
    if row is None:
        raise ImgsimError(f"There is no table {table!r} in this database")
    name, kind = row
    if kind == "view":
        raise ImgsimError(f"{name!r} is a view: name the table that holds the pictures")
    if name.lower().startswith("imgsim_"):
        raise ImgsimError(f"The table {name!r} is this program's own: name one of yours")
    if name.lower() == schema.SOURCE_TABLE and schema.is_ours(conn):
        raise ImgsimError(
            "The table 'images' holds files that were embedded: "
            "'datasette imgsim embed DATABASE FOLDER' goes on with them"
        )
    return name
