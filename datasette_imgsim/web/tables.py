"""Our part in Datasette's own pages: thumbnails in cells, and entries in the action menus."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress

from datasette.utils import tilde_encode
from markupsafe import Markup

from .. import compat, store
from ..errors import ImgsimError
from ..search import calibration
from . import filters
from .common import label_column, source_tables, sql_url

# A table page asks once for each of its cells.
REMEMBERED_SECONDS = 2
# Beyond these, the cells of a table show thumbnails without knowing which rows have one.
MOST_THUMBNAILS = 20_000


async def sources(datasette, database: str) -> dict[str, tuple[str, str | None]]:
    """{source table: (key, label column)} of a database, {} for those without images."""
    db = datasette.databases.get(database)
    if db is None or database == "_internal":
        return {}
    return await _remembered(db, "sources", _sources)


async def _remembered(db, name: str, ask):
    """What `ask` found in a database a moment ago, or finds now."""
    remembered = vars(db).setdefault("_imgsim_remembered", {})
    asked, found = remembered.get(name, (-REMEMBERED_SECONDS, None))
    if time.monotonic() - asked > REMEMBERED_SECONDS:
        found = await db.execute_fn(ask)
        remembered[name] = (time.monotonic(), found)
    return found


def _sources(conn: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    found = {}
    # What is wrong is said by our own pages, and must not hide the other tables.
    with suppress(ImgsimError, sqlite3.Error):
        for table in source_tables(conn):
            with suppress(ImgsimError, sqlite3.Error):
                found[table] = (store.primary_key(conn, table)[0], label_column(conn, table))
    return found


def _thumbnails(conn: sqlite3.Connection, table: str) -> set | None:
    """The images of a table that have a thumbnail; None where they are too many to look at."""
    rows = conn.execute(
        "select image_id from imgsim_thumbnails where source_table = ? limit ?",
        [table, MOST_THUMBNAILS + 1],
    )
    found = {id for (id,) in rows}
    return found if len(found) <= MOST_THUMBNAILS else None


def _page(datasette, database: str, table: str) -> str:
    return f"{datasette.urls.table(database, table)}/-/imgsim"


async def render_cell(datasette, database, table, row, column, value):
    """A thumbnail before the value of the column that names the image."""
    found = (await sources(datasette, database)).get(table) if table else None
    if found is None or column != found[1] or isinstance(value, dict):
        return None
    try:
        id = row[found[0]]
    except (IndexError, KeyError):
        return None
    if isinstance(id, dict):  # a key that is a foreign key, with its label
        id = id["value"]
    if not await _has_thumbnail(datasette.databases[database], table, id):
        return None
    name = str(id) if value is None or isinstance(value, bytes) else str(value)
    encoded, page = tilde_encode(str(id)), _page(datasette, database, table)
    return Markup(
        '<a class="imgsim-cell" href="{}"><img src="{}" alt="Similar to {}" loading="lazy"></a>{}{}'
    ).format(
        f"{page}/similar/{encoded}",
        f"{page}/thumbnail/{encoded}.jpg",
        name.rsplit("/", 1)[-1],
        _score(database, table, id),
        "" if value is None or isinstance(value, bytes) else value,
    )


async def _has_thumbnail(db, table: str, id) -> bool:
    try:
        found = await _remembered(
            db, f"thumbnails of {table}", lambda conn: _thumbnails(conn, table)
        )
    except sqlite3.Error:
        return False
    return found is None or id in found


def _score(database: str, table: str, id) -> Markup:
    """How like the image is to the one that the page is filtered by."""
    likeness = filters.current.get()
    found = likeness and likeness.score(database, table, id)
    if not found:
        return Markup("")
    score, percentile = found
    return Markup('<span class="imgsim-cell-score" title="{}">{:.3f} · {} %</span>').format(
        calibration.in_words(percentile), score, calibration.shortened(percentile)
    )


async def css_urls(datasette, database, table, view_name) -> list[str]:
    if view_name not in ("table", "row") or table not in await sources(datasette, database):
        return []
    return [compat.static(datasette, "table-cells.css")]


def js_urls(datasette, database, table) -> list[dict]:
    """The script that shows the order by likeness, where the page is filtered by it."""
    likeness = filters.current.get()
    if likeness is None or (likeness.database, likeness.table) != (database, table):
        return []
    return [{"url": compat.static(datasette, "table-order.js"), "module": True}]


async def table_actions(datasette, actor, database, table) -> list[dict]:
    if table not in await sources(datasette, database):
        return []
    likeness, ordered = filters.current.get(), []
    url = likeness and await sql_url(datasette, actor, database, likeness.sql)
    if url:
        ordered = [
            {
                "href": url,
                "label": "Order by likeness",
                "description": "The most similar images first, as a query in SQL.",
            }
        ]
    return ordered + [
        {
            "href": _page(datasette, database, table),
            "label": "Image gallery",
            "description": "See all pictures, and find those like one of yours.",
        },
        {
            "href": f"{_page(datasette, database, table)}/map",
            "label": "Map of images",
            "description": "All pictures laid out by likeness, to walk through.",
        },
    ]


async def row_actions(datasette, database, table, row) -> list[dict]:
    found = (await sources(datasette, database)).get(table)
    if found is None:
        return []
    id = tilde_encode(str(row[found[0]]))
    return [
        {
            "href": f"{_page(datasette, database, table)}/similar/{id}",
            "label": "Similar images",
            "description": "The other pictures of this table, by likeness to this one.",
        }
    ]


async def database_actions(datasette, actor, database) -> list[dict]:
    return [
        {
            "href": _page(datasette, database, table),
            "label": f"Image gallery: {table}",
            "description": "See all pictures, and find those like one of yours.",
        }
        for table in await sources(datasette, database)
        if await compat.can_view(datasette, actor, database, table)
    ]
