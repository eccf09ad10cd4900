"""The tabs, and the filter by likeness, at the top of Datasette's own page of a source table."""

from __future__ import annotations

from markupsafe import Markup

from ..query import Query
from ..urls import TableUrls
from ..views import Views
from . import filters
from .cells import source_tables


async def html(datasette, request, database: str, table: str) -> Markup | None:
    """What stands at the top of the page of a table; None if it is no source table."""
    if table not in await source_tables(datasette, database):
        return None
    likeness = filters.current.get()
    if likeness is not None and (likeness.database, likeness.table) != (database, table):
        likeness = None
    query, urls = Query.of_table(request.query_string), TableUrls(datasette, database, table)
    context = {"views": Views("Rows", query, urls, likeness)}
    return Markup(await datasette.render_template("imgsim_table_top.html", context))
