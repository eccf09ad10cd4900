"""The differences between Datasette 0.65 and 1.0."""

from __future__ import annotations

import asyncio
import json
import math
import time
import urllib.parse
from collections.abc import Callable, Mapping

from datasette import Forbidden
from datasette.database import QueryInterrupted
from datasette.utils import add_cors_headers
from markupsafe import Markup, escape

from .. import sqlite_errors
from ..progress import ignore

try:
    from datasette.resources import DatabaseResource, TableResource
except ImportError:  # Datasette 0.65
    TableResource = None

try:
    from datasette.hookspecs import top_table  # noqa: F401
except ImportError:
    HAS_SLOTS = False
else:
    HAS_SLOTS = True
"""Whether plugins may put something at the top of Datasette's pages, as in 1.0."""

UNREADABLE: tuple[type[Exception], ...] = (*sqlite_errors.Error, QueryInterrupted)
"""What reading a database through Datasette raises where that cannot be done now."""

PLUGIN = "datasette-imgsim"
EXTRAS = "query,count,count_truncated,human_description_en,facet_results,suggested_facets"


def unreadable(error: Exception) -> str:
    """The sentence for one of UNREADABLE."""
    return f"The database cannot be read just now ({error.args[0]})"


class BrokenUpload(Exception):
    """The client went away before its request was complete."""


async def can_view(datasette, actor, database: str, table: str) -> bool:
    if TableResource is not None:
        return await datasette.allowed(
            action="view-table", resource=TableResource(database, table), actor=actor
        )
    # The first permission with an answer decides, so the most specific one comes first.
    return await _visible(
        datasette,
        actor,
        [("view-table", (database, table)), ("view-database", database), "view-instance"],
    )


async def ensure_can_view(datasette, actor, database: str, table: str) -> None:
    if not await can_view(datasette, actor, database, table):
        raise Forbidden("view-table")


async def can_view_database(datasette, actor, database: str) -> bool:
    if TableResource is not None:
        return await datasette.allowed(
            action="view-database", resource=DatabaseResource(database), actor=actor
        )
    return await _visible(datasette, actor, [("view-database", database), "view-instance"])


async def can_execute_sql(datasette, actor, database: str) -> bool:
    if TableResource is not None:
        return await datasette.allowed(
            action="execute-sql", resource=DatabaseResource(database), actor=actor
        )
    return await _visible(
        datasette, actor, [("view-database", database), "view-instance"]
    ) and await datasette.permission_allowed(actor, "execute-sql", database, default=True)


async def table_json(
    datasette, actor, database: str, table: str, parameters: Mapping[str, object], query: str
) -> tuple[int, dict]:
    """(status, Datasette's JSON of a table for this actor, in the words of Datasette 1.0).

    `query` is a query string that `parameters` are added to. Rows are lists of values. The count
    is None where Datasette did not count to the end. An error is `too_long` if a query reached
    the time limit.
    """
    added = urllib.parse.urlencode({**parameters, "_shape": "arrays", "_extra": EXTRAS})
    path = datasette.urls.table(database, table) + f".json?{added}&{query}"
    # As this actor, in whatever way it has logged in.
    cookies = {"ds_actor": datasette.sign({"a": actor}, "actor")} if actor else None
    response = await datasette.client.get(path, cookies=cookies, follow_redirects=True)
    answer = response.json()
    if response.status_code == 200:
        if "filtered_table_rows_count" in answer:  # Datasette 0.65
            answer["count"] = answer["filtered_table_rows_count"]
        else:
            answer["facet_results"] = answer["facet_results"]["results"]
            if answer["count_truncated"]:
                answer["count"] = None
    else:
        # Datasette 0.65, and 1.0
        answer["too_long"] = any(w in answer["error"] for w in ("took too long", "interrupted"))
    return response.status_code, answer


async def _visible(datasette, actor, permissions) -> bool:
    visible, _private = await datasette.check_visibility(actor, permissions=permissions)
    return visible


def denied(tables: list[tuple[str, str]]):
    """A PermissionSQL of Datasette 1.0 that denies (database, table) pairs, even if allowed."""
    from datasette.permissions import PermissionSQL

    return PermissionSQL(
        sql="""
            select json_extract(value, '$[0]') as parent, json_extract(value, '$[1]') as child,
                0 as allow, 'derived from a table that may not be viewed' as reason
            from json_each(:imgsim_denied)
        """,
        params={"imgsim_denied": json.dumps(tables)},
    )


async def table_config(datasette, database: str, table: str) -> dict:
    """What the configuration says about a table; Datasette 0.65 calls it metadata."""
    if hasattr(datasette, "table_config"):
        return await datasette.table_config(database, table)
    return datasette.table_metadata(database, table)


def hide(datasette, database: str, tables: list[str]) -> None:
    """Hides tables in the lists of Datasette 1.0; 0.65 asks the hook get_metadata.

    What the user's configuration says of a table stays.
    """
    if TableResource is None:
        return
    config = datasette.config
    for key in ("databases", database, "tables") if tables else ():
        config = config.setdefault(key, {})
    for table in tables:
        config.setdefault(table, {}).setdefault("hidden", True)


def template(datasette, request, name: str):
    """A template, without what Datasette adds to whole pages."""
    if hasattr(datasette, "get_jinja_environment"):
        return datasette.get_jinja_environment(request).get_template(name)
    return datasette.jinja_env.get_template(name)


def described_with(datasette, database: str | None, table: str | None, html: Markup) -> dict:
    """The variables that put HTML on top of a page of Datasette 0.65: before its description."""
    metadata = dict(datasette.metadata())
    if database:
        metadata = dict((metadata.get("databases") or {}).get(database) or {})
    if table:
        metadata = dict((metadata.get("tables") or {}).get(table) or {})
    elif database:
        datasette.update_with_inherited_metadata(metadata)
    own = metadata.get("description_html")
    own = Markup(own) if own else escape(metadata.get("description") or "")
    return {"metadata": metadata | {"description_html": html + own}}


def static(datasette, filename: str) -> str:
    if hasattr(datasette, "static"):
        return datasette.static(filename, plugin=PLUGIN)
    return datasette.urls.static_plugins(PLUGIN, filename)


def imported(datasette, filename: str) -> str:
    """The address of a script that another one imports: without what 1.0 adds in pages."""
    return datasette.urls.static_plugins(PLUGIN, filename)


def cors_headers() -> dict[str, str]:
    """The headers with which other sites may ask, as Datasette 1.0 has them, also for 0.65."""
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS",
        "Access-Control-Max-Age": "3600",
    }
    add_cors_headers(headers)
    headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
    return headers


def csrf_token(request) -> str | None:
    """The token that Datasette 0.65 wants beside a POST of a client with cookies, else None.

    Asking for it sets a cookie, after which Datasette lets browsers keep no picture.
    """
    if TableResource is not None or "cookie" not in request.headers:
        return None
    return request.scope["csrftoken"]()


def color(db) -> str:
    """The colour of a database's headings."""
    return getattr(db, "color", "ff0000")


async def body(
    request,
    max_bytes: int,
    pieces: tuple[int, float] = (0, math.inf),
    arrived: Callable[[int], None] = ignore,
) -> bytes | None:
    """The raw request body, or None if it is longer than `max_bytes`.

    `arrived` is called with the length of what arrives. `pieces` are a number of bytes and of
    seconds: raises TimeoutError if the next bytes, or the end, take longer. Raises BrokenUpload.
    (Datasette 0.65 has no limit itself, and that of 1.0 differs.)
    """
    bytes_a_piece, seconds = pieces
    try:
        if int(request.headers.get("content-length", "")) > max_bytes:
            return None
    except ValueError:
        pass
    chunks, size, more = [], 0, True
    due, until = bytes_a_piece, time.monotonic() + seconds
    while more:
        left = until - time.monotonic()
        message = await asyncio.wait_for(request.receive(), None if left == math.inf else left)
        if message["type"] == "http.disconnect":
            raise BrokenUpload
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        arrived(len(chunks[-1]))
        if size > max_bytes:
            return None
        if size >= due:
            due, until = size + bytes_a_piece, time.monotonic() + seconds
        more = message.get("more_body", False)
    return b"".join(chunks)
