"""Where the front pages go: hooks of Datasette 1.0, and the description of a page in 0.65."""

from __future__ import annotations

from markupsafe import Markup

from .. import compat
from ..table import top
from . import pages


async def template_vars(datasette, request, database, table, view_name, template) -> dict:
    """The variables of a page of Datasette 0.65 that has something on its top."""
    if compat.HAS_SLOTS or request is None:
        return {}
    if view_name == "table":
        return {"imgsim_table_top": await top.html(datasette, request, database, table) or ""}
    html = Markup("")
    if view_name == "index":
        html = await pages.instance(datasette, request)
    elif view_name == "database" and template.startswith("database"):  # not a query
        html = await pages.database(datasette, request, database)
    elif view_name == "row":
        html = await pages.row(datasette, request, database, table)
    return compat.described_with(datasette, database, table, html) if html else {}
