"""Thumbnails and large pictures, by the key of their row and never by a path."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from datasette.utils import tilde_decode

from ...db.images import read_thumbnail
from ...db.tables import quoted
from ...errors import ImgsimError
from ..answers import json_only, matches, picture_answer
from ..refused import Refused
from ..source import Source
from ..threads import in_thread

LARGE_SIDE = 2048

# Decoding is slow and needs memory: two pictures at a time, not in the threads that run SQL.
_decoders = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-large")


@json_only
async def thumbnail(datasette, request, source):
    text = tilde_decode(request.url_vars["id"])
    jpeg = await source.db.execute_fn(lambda conn: _thumbnail(conn, source, text))
    return picture_answer(datasette, request, hashlib.sha256(jpeg).hexdigest()[:32], jpeg)


def _thumbnail(conn, source: Source, text: str) -> bytes:
    jpeg = read_thumbnail(conn, source.table.name, source.find(conn, text))
    if jpeg is None:
        raise Refused(404, f"The image {text!r} has no thumbnail")
    return jpeg


@json_only
async def large(datasette, request, source):
    text = tilde_decode(request.url_vars["id"])
    if not (source.blobs or source.config.images_root):
        raise Refused(
            404,
            "Large pictures are not shown here: the setting images_root of datasette-imgsim "
            "names the folder they may be read from",
        )
    read = _blob if source.blobs else _path
    picture = await source.db.execute_fn(lambda conn: read(conn, source, text))
    refused = Refused(404, f"The picture of the image {text!r} cannot be shown")
    try:
        etag = await in_thread(_decoders, _etag, picture)
        if matches(request, etag):
            return picture_answer(datasette, request, etag, b"")
        jpeg = await in_thread(_decoders, _upright_jpeg, picture)
    except (OSError, ImgsimError) as ex:
        raise refused from ex
    return picture_answer(datasette, request, etag, jpeg)


def _etag(picture: str | bytes) -> str:
    """What changes when a picture does: a file's time and size, the hash of a BLOB."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()[:32]
    stat = os.stat(picture)
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _blob(conn, source: Source, text: str) -> bytes:
    """The picture that an image's row holds. Raises Refused."""
    table = source.table
    (blob,) = conn.execute(
        f"select t.{quoted(source.blobs)} from {table.rows_sql} where {table.key_sql} = ?",
        [source.find(conn, text)],
    ).fetchone()
    if not isinstance(blob, bytes):
        raise Refused(404, f"The row of the image {text!r} holds no picture")
    return blob


def _path(conn, source: Source, text: str) -> str:
    """The real path of an image's file. Raises Refused unless it is inside `images_root`."""
    id = source.find(conn, text)
    refused = Refused(404, f"The file of the image {text!r} is not in the folder of large pictures")
    if not source.has_paths or not source.db.path:
        raise refused
    table = source.table
    (relative,) = conn.execute(
        f"select t.path from {table.rows_sql} where {table.key_sql} = ?", [id]
    ).fetchone()
    path = source.file_of(relative) if isinstance(relative, str) else None
    if path is None:
        raise refused
    return path


def _upright_jpeg(picture: str | bytes) -> bytes:
    from ...ingest import apart

    return apart.SHARED.decode(picture, 1, thumbnail_size=LARGE_SIDE).thumbnail
