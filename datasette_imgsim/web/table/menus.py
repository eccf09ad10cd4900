"""Entries in Datasette's menus, and the styles of its own pages."""

from __future__ import annotations

from ...db.duplicates import has_groups_of
from .. import compat
from ..query import Query
from ..state import get_state
from ..urls import TableUrls
from .cells import source_tables


async def css_urls(datasette, template, database, table, view_name) -> list[str]:
    """The styles of the cells and strips that a page may have."""
    sources = await source_tables(datasette, database) if database else {}
    if view_name == "index":
        names = ["front.css"] if await _has_sources(datasette) else []
    elif not sources:
        names = []
    elif template.startswith("query") or table in await _views(datasette, database):
        names = ["table-cells.css"]  # for imgsim_picture()
    elif view_name == "database":
        names = ["front.css"]
    elif view_name in ("table", "row") and table in sources:
        names = ["table-cells.css", "front.css" if view_name == "row" else "views.css"]
    else:
        names = []
    return [compat.static(datasette, name) for name in (["colours.css", *names] if names else [])]


async def _has_sources(datasette) -> bool:
    """Whether any database has a source table."""
    for name in list(datasette.databases):
        if await source_tables(datasette, name):
            return True
    return False


async def _views(datasette, database: str) -> list[str]:
    db = datasette.get_database(database)
    return await get_state(db).remember_found("views", db.view_names)


async def js_urls(datasette, database, table, view_name) -> list[dict]:
    """The script of the page of a row."""
    if view_name != "row" or table not in await source_tables(datasette, database):
        return []
    return [{"url": compat.static(datasette, "row.js"), "module": True}]


async def table_actions(datasette, database, table, request) -> list[dict]:
    if table not in await source_tables(datasette, database):
        return []
    query, urls = Query.of_table(request.query_string), TableUrls(datasette, database, table)
    return [
        {
            "href": query.page_url(urls.gallery),
            "label": "Image gallery",
            "description": "See all pictures, and find those like one of yours.",
        },
        {
            "href": query.page_url(urls.map),
            "label": "Map of images",
            "description": "All pictures laid out by likeness, to walk through.",
        },
        *await _duplicates(datasette, database, table, "Duplicates"),
    ]


async def _duplicates(datasette, database: str, table: str, label: str) -> list[dict]:
    """The entry that leads to the duplicates of a table, if there are any in some space."""
    db = datasette.get_database(database)
    if not await get_state(db).remember(
        db, f"duplicates of {table}", lambda conn: has_groups_of(conn, table)
    ):
        return []
    return [
        {
            "href": TableUrls(datasette, database, table).duplicates,
            "label": label,
            "description": "Pictures that are there more than once, and which to keep.",
        }
    ]


async def row_actions(datasette, database, table, row) -> list[dict]:
    source = (await source_tables(datasette, database)).get(table)
    if source is None:
        return []
    return [
        {
            "href": TableUrls(datasette, database, table).similar(row[source.key]),
            "label": "Similar images",
            "description": "The other pictures of this table, by likeness to this one.",
        }
    ]


async def database_actions(datasette, actor, database) -> list[dict]:
    actions = []
    for table in await source_tables(datasette, database):
        if await compat.can_view(datasette, actor, database, table):
            actions.append(
                {
                    "href": TableUrls(datasette, database, table).gallery,
                    "label": f"Image gallery: {table}",
                    "description": "See all pictures, and find those like one of yours.",
                }
            )
            actions += await _duplicates(datasette, database, table, f"Duplicates: {table}")
    return actions
