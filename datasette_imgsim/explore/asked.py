"""The picture that somebody names: a file, or an image by its id."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..db.connect import folder_of
from ..db.tables import SourceTable
from ..errors import ImgsimError
from ..ingest import decode, sources
from ..ingest.originals import FILE, Original, first_that, originals
from ..ingest.part import Box
from ..ingest.query import EmbeddedPicture, embed_picture
from ..search import ranking
from ..search.index import Index
from ..search.ranking import Query


def picture_of(
    conn: sqlite3.Connection, database: Path, table: SourceTable, name: str | Path | int
) -> tuple[int | str | None, list[Original]]:
    """(the key of the image, or None for a file; where its picture can be decoded from).

    A file that exists is taken as a file. Raises ImgsimError.
    """
    if not isinstance(name, int) and os.path.isfile(name):
        return None, [Original(os.path.abspath(name), FILE)]
    id = table.find(conn, str(name) if isinstance(name, Path) else name)
    if id is None:
        raise _unknown(name, database)
    base = folder_of(database)
    return id, originals(conn, table, id, lambda path: sources.absolute_path(path, base))


def query_of(
    conn: sqlite3.Connection,
    database: Path,
    index: Index,
    name: str | Path | int,
    weights: np.ndarray,
    part: Box | None,
) -> Query:
    """The query for images like a picture, or like a part of it. Raises ImgsimError."""
    id, candidates = picture_of(conn, database, index.table, name)
    if id is None or part:

        def embedded(source: str | bytes) -> EmbeddedPicture:
            base = folder_of(database)
            return embed_picture(index.space, base, source, decode.MAX_PIXELS, part=part)

        vector = first_that(str(name), embedded, candidates)[0].vector
        found = ranking.query_of_vector(conn, index, vector, weights)
        return found if id is None else replace(found, ids=(id,))
    row = index.row(conn, id)
    if row is None:
        raise ImgsimError(f"The image {name} has no vector in the space {index.space.name!r}")
    return ranking.query_of_image(conn, index, row, weights)


def _unknown(name: str | Path | int, database: Path) -> ImgsimError:
    return ImgsimError(f"{name} is neither a file nor the id of an image in {database}")
