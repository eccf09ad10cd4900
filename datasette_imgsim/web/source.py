"""The source table that a request is about, after its actor's permission was checked."""

from __future__ import annotations

import os
import posixpath
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from datasette.utils import tilde_decode

from ..db.connect import folder_of
from ..db.tables import SourceTable, blob_column, column_names, source_table_names
from ..errors import ImgsimError
from ..ingest.originals import Original, originals
from . import compat, config, labels
from .refused import Refused
from .state import State, get_state
from .urls import TableUrls


@dataclass(frozen=True)
class Source:
    """A source table that this request's actor may view."""

    datasette: object
    db: object
    """Datasette's database."""
    table: SourceTable
    urls: TableUrls
    config: config.Config
    has_paths: bool
    """Whether the table has a column `path`, which names the files of images."""
    blobs: str | None
    """The column that holds the pictures themselves, if one does."""

    @property
    def state(self) -> State:
        return get_state(self.db)

    @property
    def folder(self) -> Path:
        """The folder of the database file: stored paths are relative to it."""
        return folder_of(self.db.path or "DATABASE")

    @property
    def file(self) -> str:
        """The name of the database file, for commands that are shown."""
        return posixpath.basename(self.db.path or "DATABASE")

    def large(self, id) -> str | None:
        """The address of the large picture of an image; None if there are none."""
        if self.blobs:
            return self.urls.large(id)
        if not (self.config.images_root and self.has_paths and self.db.path):
            return None
        return self.urls.large(id)

    def file_of(self, stored: str) -> str | None:
        """The real path of a stored one; None unless it is a file inside `images_root`."""
        if not (self.config.images_root and self.db.path) or "\0" in stored:
            return None
        root = os.path.realpath(config.images_folder(self.db, self.config.images_root))
        path = os.path.realpath(os.path.join(self.folder, stored))
        return path if path.startswith(os.path.join(root, "")) and os.path.isfile(path) else None

    def originals(self, conn: sqlite3.Connection, id) -> list[Original]:
        """Where the server may decode the picture of an image from, best first."""
        return originals(conn, self.table, id, self.file_of)

    def find(self, conn: sqlite3.Connection, text: str) -> int | str:
        """The key, as stored, of an image that a request names. Raises Refused."""
        id = self.table.find(conn, text)
        if id is None:
            raise Refused(404, f"There is no image {text!r} in the table {self.table.name!r}")
        return id


async def requested_source(datasette, request) -> Source:
    """The source table named in a URL. Raises Forbidden if the actor may not view it; Refused."""
    route = tilde_decode(request.url_vars["database"])
    name = tilde_decode(request.url_vars["table"])
    try:
        db = datasette.get_database(route=route)
    except KeyError:
        raise Refused(404, f"There is no database {route!r} here") from None
    return await find_source(datasette, request.actor, db, name)


async def find_source(datasette, actor, db, name: str) -> Source:
    """A source table of a database. Raises Forbidden if the actor may not view it; Refused."""
    await compat.ensure_can_view(datasette, actor, db.name, name)
    try:
        get_state(db).check_file()
    except ImgsimError as ex:
        raise Refused(503, str(ex)) from ex
    table, has_paths = await db.execute_fn(lambda conn: _read(conn, name))
    if table is None:
        raise Refused(
            404,
            f"The table {name!r} of the database {db.name!r} holds no images: "
            "'datasette imgsim embed DATABASE FOLDER' adds some",
        )
    table = await labels.visible(datasette, actor, db, await labels.labelled(db, table))
    urls = TableUrls(datasette, db.name, name)
    settings = config.read_config(datasette, db.name)
    blobs = await get_state(db).remember(
        db, f"blob column of {name}", lambda conn: blob_column(conn, table)
    )
    return Source(datasette, db, table, urls, settings, has_paths, blobs)


def _read(conn: sqlite3.Connection, name: str) -> tuple[SourceTable | None, bool]:
    """The source table with this name, or None; whether it has a column `path`. Raises Refused."""
    try:
        table = SourceTable.read(conn, name) if name in source_table_names(conn) else None
        return table, "path" in column_names(conn, name)
    except ImgsimError as ex:
        raise Refused(503, str(ex)) from ex
