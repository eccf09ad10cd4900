"""The picture of an image that is stored: its file, its BLOB, or its thumbnail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..db import schema
from ..db.images import read_thumbnail
from ..db.tables import SourceTable, picture_column, quoted
from ..errors import ImgsimError
from .refusals import NotAPicture, TooLarge
from .sources import os_reason

FILE, BLOB, THUMBNAIL, COPY = "file", "blob", "thumbnail", "copy"
"""COPY is a smaller one of a picture that is not stored."""


class Unseen(ImgsimError):
    """There is no picture of an image that can be decoded."""


@dataclass(frozen=True)
class Original:
    """Where a picture can be decoded from."""

    source: str | bytes
    """A path, or the bytes of a picture."""
    kind: str
    """FILE, BLOB, THUMBNAIL or COPY."""


def originals(
    conn: sqlite3.Connection, table: SourceTable, id, file_of: Callable[[str], str | None]
) -> list[Original]:
    """Where the picture of an image can be decoded from, best first; none if it cannot be had.

    `file_of` gives the file of a stored path, or None if that must not be read.
    """
    found = []
    is_known = "imgsim_contents" in schema.tables(conn)  # a table that older versions do not make
    column = picture_column(conn, table) if is_known else None
    if column is not None:
        sql = f"select t.{quoted(column)} from {table.rows_sql} where {table.key_sql} = ?"
        value = next((value for (value,) in conn.execute(sql, [id])), None)
        if isinstance(value, bytes):
            found.append(Original(value, BLOB))
        elif isinstance(value, str) and (file := file_of(value)) is not None:
            found.append(Original(file, FILE))
    thumbnail = read_thumbnail(conn, table.name, id)
    return [*found, Original(thumbnail, THUMBNAIL)] if thumbnail else found


def first_that(name: str, use: Callable, candidates: Iterable[Original]) -> tuple:
    """(what `use` makes of the first of them that can be decoded, the kind of that one).

    Raises TooSmall, and Unseen, which names the image, if there is none.
    """
    reasons: list[str] = []
    for each in candidates:
        try:
            return use(each.source), each.kind
        except (NotAPicture, TooLarge) as ex:
            reasons.insert(0, str(ex))
        except OSError as ex:
            reasons.append(os_reason(ex))
    reason = reasons[0] if reasons else "there is neither its file nor a thumbnail"
    raise Unseen(f"{name}: {reason}")
