"""Images as people know them: found by their ids, and told by path and name."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from ..errors import ImgsimError
from .tables import SourceTable, column_names, with_foreign_label


class Named(NamedTuple):
    """How an image is told."""

    path: str | None
    """Of its file, relative to the folder of the database; None if the table has no paths."""
    name: str
    """Its label in the table, which is the name of its file if the label is a path, else its id."""


def find(conn: sqlite3.Connection, table: SourceTable, id) -> int | str:
    """The key of an image as stored. Raises ImgsimError if there is none."""
    key = table.find(conn, id)
    if key is None:
        raise ImgsimError(f"There is no image {id!r} in the table {table.name!r}")
    return key


def known(conn: sqlite3.Connection, table: SourceTable, ids: list) -> dict[int | str, Named]:
    """Path and name of each of these images."""
    paths: dict = {}
    if "path" in column_names(conn, table.name):
        paths = dict(table.values(conn, "path", ids))
    described = with_foreign_label(conn, table).described(conn, ids)
    names = {id: name for id, (name, _has_thumbnail) in described.items()}
    return {
        id: Named(path if isinstance(path := paths.get(id), str) else None, names.get(id, str(id)))
        for id in ids
    }
