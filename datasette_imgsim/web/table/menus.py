"""Entries in Datasette's menus, and the styles of its own pages."""

from __future__ import annotations

from ...db import duplicates, groups
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
        *await _found(datasette, database, table),
    ]


async def _found(datasette, database: str, table: str, of: str = "") -> list[dict]:
    """The entries for the groups and the duplicates of a table, if there are any in some space."""
    db = datasette.get_database(database)
    has_groups, has_duplicates = await get_state(db).remember(
        db,
        f"groups and duplicates of {table}",
        lambda conn: (groups.has_groups_of(conn, table), duplicates.has_groups_of(conn, table)),
    )
    urls, entries = TableUrls(datasette, database, table), []
    if has_groups:
        entries.append(
            {
                "href": urls.groups,
                "label": "Groups" + of,
                "description": "Pictures that belong together, with names.",
            }
        )
    if has_duplicates:
        entries.append(
            {
                "href": urls.duplicates,
                "label": "Duplicates" + of,
                "description": "Pictures that are there more than once, and which to keep.",
            }
        )
    return entries


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
            actions += await _found(datasette, database, table, f": {table}")
    return actions
