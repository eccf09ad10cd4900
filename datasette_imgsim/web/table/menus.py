"""Entries in Datasette's menus, and the styles and scripts of its own pages."""

from __future__ import annotations

from .. import compat
from ..urls import TableUrls, sql_url
from . import filters
from .cells import source_tables


async def css_urls(datasette, database, table, view_name) -> list[str]:
    if view_name not in ("table", "row") or table not in await source_tables(datasette, database):
        return []
    return [compat.static(datasette, "table-cells.css")]


def js_urls(datasette, database, table) -> list[dict]:
    """The script that orders rows by likeness, if the page is filtered by it."""
    likeness = filters.current.get()
    if likeness is None or (likeness.database, likeness.table) != (database, table):
        return []
    return [{"url": compat.static(datasette, "table-order.js"), "module": True}]


async def table_actions(datasette, actor, database, table) -> list[dict]:
    if table not in await source_tables(datasette, database):
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
            "href": TableUrls(datasette, database, table).gallery,
            "label": "Image gallery",
            "description": "See all pictures, and find those like one of yours.",
        },
        {
            "href": TableUrls(datasette, database, table).map,
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
