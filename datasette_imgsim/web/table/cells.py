"""Thumbnails in the cells of Datasette's own pages."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from markupsafe import Markup

from ...db.tables import SourceTable, source_table_names
from ...errors import ImgsimError
from ...limits import LIMITS
from ...search.calibration import in_words, shortened
from ..state import get_state
from ..urls import TableUrls
from . import filters


async def source_tables(datasette, database: str) -> dict[str, SourceTable]:
    """The source tables of a database by name."""
    db = datasette.databases.get(database)
    if db is None or database == "_internal":
        return {}
    return await get_state(db).remember(db, "source tables", _source_tables)


def _source_tables(conn: sqlite3.Connection) -> dict[str, SourceTable]:
    tables = {}
    # Our own pages report these errors. Here, they must not affect other tables.
    with suppress(ImgsimError, sqlite3.Error):
        for name in source_table_names(conn):
            with suppress(ImgsimError, sqlite3.Error):
                tables[name] = SourceTable.read(conn, name)
    return tables


def _thumbnails(conn: sqlite3.Connection, table: str) -> set | None:
    """The ids of a table's images with a thumbnail; None if they are too many."""
    rows = conn.execute(
        "select image_id from imgsim_thumbnails where source_table = ? limit ?",
        [table, LIMITS.most_thumbnails_known + 1],
    )
    ids = {id for (id,) in rows}
    return ids if len(ids) <= LIMITS.most_thumbnails_known else None


async def render_cell(datasette, database, table, row, column, value):
    """In the label's column: a thumbnail before the value."""
    source = (await source_tables(datasette, database)).get(table) if table else None
    if source is None or column != source.label or isinstance(value, dict):
        return None
    try:
        id = row[source.key]
    except (IndexError, KeyError):
        return None
    if isinstance(id, dict):  # a key that is a foreign key, with its label
        id = id["value"]
    if not await _has_thumbnail(datasette.databases[database], table, id):
        return None
    name = str(id) if value is None or isinstance(value, bytes) else str(value)
    urls = TableUrls(datasette, database, table)
    return Markup(
        '<a class="imgsim-cell" href="{}"><img src="{}" alt="Similar to {}" loading="lazy"></a>{}{}'
    ).format(
        urls.similar(id),
        urls.thumbnail(id),
        name.rsplit("/", 1)[-1],
        _score(database, table, id),
        "" if value is None or isinstance(value, bytes) else value,
    )


async def _has_thumbnail(db, table: str, id) -> bool:
    try:
        ids = await get_state(db).remember(
            db, f"thumbnails of {table}", lambda conn: _thumbnails(conn, table)
        )
    except sqlite3.Error:
        return False
    return ids is None or id in ids


def _score(database: str, table: str, id) -> Markup:
    """The score of an image, if the page is filtered by likeness."""
    likeness = filters.current.get()
    hit = likeness and likeness.hit(database, table, id)
    if not hit:
        return Markup("")
    return Markup('<span class="imgsim-cell-score" title="{}">{:.3f} · {} %</span>').format(
        in_words(hit.percentile), hit.score, shortened(hit.percentile)
    )
