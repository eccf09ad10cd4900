"""Thumbnails in the cells of Datasette's own pages."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from datasette.utils import await_me_maybe, is_url, tilde_encode, truncate_url
from markupsafe import Markup

from ... import sqlite_errors
from ...db.tables import SourceTable, picture_column, source_table_names
from ...errors import ImgsimError
from ...limits import LIMITS
from .. import labels
from ..results import figures
from ..state import get_state
from ..urls import TableUrls
from . import filters


async def source_tables(datasette, database: str) -> dict[str, SourceTable]:
    """The source tables of a database by name."""
    db = datasette.databases.get(database)
    if db is None or database == "_internal":
        return {}
    state = get_state(db)
    if state.is_replaced:
        return {}  # our pages say so
    return await state.remember_found("source tables", lambda: _labelled_tables(db))


async def _labelled_tables(db) -> dict[str, SourceTable]:
    tables = await db.execute_fn(_source_tables)
    return {name: await labels.labelled(db, table) for name, table in tables.items()}


def _source_tables(conn: sqlite3.Connection) -> dict[str, SourceTable]:
    tables = {}
    # Our own pages report these errors. Here, they must not affect other tables.
    with suppress(ImgsimError, *sqlite_errors.Error):
        for name in source_table_names(conn):
            with suppress(ImgsimError, *sqlite_errors.Error):
                tables[name] = SourceTable.read(conn, name)
    return tables


def _thumbnails(conn: sqlite3.Connection, table: str) -> set | None:
    """The ids of a table's images with a thumbnail; None if they are too many."""
    rows = conn.execute(
        "select image_key from imgsim_thumbnails where source_table = ? limit ?",
        [table, LIMITS.most_thumbnails_known + 1],
    )
    ids = {id for (id,) in rows}
    return ids if len(ids) <= LIMITS.most_thumbnails_known else None


async def render_cell(datasette, database, table, row, column, value, others):
    """In the picture's column: a thumbnail before what would be shown without it.

    `others` are the answers of other plugins. None leaves the cell to Datasette.
    """
    shown = await _first(others)
    if shown is None and isinstance(value, str) and "/-/imgsim/thumbnail/" in value:
        shown = await _picture(datasette, database, value)
    source = (await source_tables(datasette, database)).get(table) if table else None
    if source is None or column != await _column(datasette.databases[database], source):
        return shown
    try:
        id = row[source.key]
    except (IndexError, KeyError):
        return shown
    if isinstance(id, dict):  # a key that is a foreign key, with its label
        id = id["value"]
    if not await _has_thumbnail(datasette.databases[database], table, id):
        return shown
    urls = TableUrls(datasette, database, table)
    return Markup(
        '<a class="imgsim-cell" href="{}"><img src="{}" alt="Similar to {}" loading="lazy"></a>{}{}'
    ).format(
        urls.similar(id),
        urls.thumbnail(id),
        source.display_name(id, _label(source, row)),
        _score(database, table, id),
        shown or await _own(datasette, database, source, id, column, value),
    )


def _label(source: SourceTable, row):
    """The label of a row; None if the page does not show it."""
    try:
        label = row[source.label]
    except (IndexError, KeyError):
        return None
    return label["label"] if isinstance(label, dict) else label


async def _column(db, table: SourceTable) -> str | None:
    """The column that has the thumbnails: that of the pictures, else the label's."""
    found = await get_state(db).remember(
        db, f"picture column of {table.name}", lambda conn: picture_column(conn, table)
    )
    return found or table.label


async def _picture(datasette, database: str, address: str) -> Markup | None:
    """The picture whose thumbnail has this address, as imgsim_picture() gives it."""
    for table in await source_tables(datasette, database):
        urls = TableUrls(datasette, database, table)
        key = urls.key_of_thumbnail(address)
        if key is not None:
            return Markup(
                '<a class="imgsim-cell" href="{}"><img src="{}" alt="Similar to {}" loading="lazy">'
                "</a>"
            ).format(urls.similar(key), address, key)
    return None


async def _first(others: list):
    """The first answer of other plugins that is not None, as Datasette chooses it."""
    for candidate in others:
        candidate = await await_me_maybe(candidate)
        if candidate is not None:
            return candidate
    return None


async def _own(datasette, database: str, table: SourceTable, id, column: str, value) -> str:
    """What Datasette shows in a cell if no plugin does (after its `display_columns_and_rows`)."""
    if isinstance(value, bytes):
        pk = tilde_encode(str(id))
        link = datasette.urls.row_blob(database, table.name, pk, column)
        text = "<Binary:\xa0{:,}\xa0byte{}>".format(len(value), "" if len(value) == 1 else "s")
        return Markup('<a class="blob-download" href="{}">{}</a>').format(link, text)
    if isinstance(value, dict):
        tables = await _linked_tables(datasette.databases[database], table.name)
        key, other = value["value"], tables[column]
        link = datasette.urls.row(database, other, tilde_encode(str(key)))
        if value["label"] == key:
            return Markup('<a href="{}">{}</a>').format(link, key)
        return Markup('<a href="{}">{}</a>&nbsp;<em>{}</em>').format(
            link, value["label"] or "-", key
        )
    if value in ("", None):
        return ""
    most = (
        0
        if filters.is_row_page(database, table.name, id)
        else datasette.setting("truncate_cells_html")
    )
    text = str(value)
    if is_url(text.strip()):
        url = text.strip()
        return Markup('<a href="{}">{}</a>').format(url, truncate_url(url, most))
    return f"{text[:most]}…" if most and len(text) > most else text


async def _linked_tables(db, table: str) -> dict[str, str]:
    """The tables that the columns of a table refer to."""

    async def find():
        keys = await db.foreign_keys_for_table(table)
        return {key["column"]: key["other_table"] for key in keys}

    return await get_state(db).remember_found(f"foreign keys of {table}", find)


async def _has_thumbnail(db, table: str, id) -> bool:
    try:
        ids = await get_state(db).remember(
            db, f"thumbnails of {table}", lambda conn: _thumbnails(conn, table)
        )
    except sqlite_errors.Error:
        return False
    return ids is None or id in ids


def _score(database: str, table: str, id) -> Markup:
    """How like an image is, in a word, if the page is filtered by likeness."""
    likeness = filters.current.get()
    hit = likeness and likeness.hit(database, table, id)
    if not hit:
        return Markup("")
    return Markup('<span class="imgsim-cell-score" title="{}">{}</span>').format(
        figures(hit.score, hit.percentile), hit.word
    )
