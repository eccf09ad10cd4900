"""Entries in Datasette's menus, and the styles of its own pages."""

from __future__ import annotations

from .. import compat
from ..query import Query
from ..urls import TableUrls
from .cells import source_tables


async def css_urls(datasette, database, table, view_name) -> list[str]:
    if view_name not in ("table", "row") or table not in await source_tables(datasette, database):
        return []
    names = ["table-cells.css"] + (["views.css"] if view_name == "table" else [])
    return [compat.static(datasette, name) for name in names]


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
    return [
        {
            "href": TableUrls(datasette, database, table).gallery,
            "label": f"Image gallery: {table}",
            "description": "See all pictures, and find those like one of yours.",
        }
        for table in await source_tables(datasette, database)
        if await compat.can_view(datasette, actor, database, table)
    ]
