"""Leaves our tables out of Datasette's lists of tables, in databases that hold ours.

Datasette counts them as hidden, and shows them on request. What a user's own metadata or
configuration says of a table comes first.
"""

from __future__ import annotations

from contextlib import suppress

from ... import sqlite_errors
from ...db.versions import plumbing
from .. import compat
from ..state import get_state


def middleware(datasette, app):
    """Wraps the ASGI application: a database may be added, or get our tables, at any time."""

    async def inner(scope, receive, send):
        # No address with /-/ lists tables: thumbnails and tiles are not held up.
        if scope["type"] == "http" and "/-/" not in scope["path"]:
            await _look(datasette)
        await app(scope, receive, send)

    return inner


async def _look(datasette) -> None:
    for name, db in list(datasette.databases.items()):
        if name != "_internal":
            with suppress(*sqlite_errors.Error):  # the page of that database will say so
                state = get_state(db)
                state.hidden = await state.remember(db, "hidden tables", plumbing)
                compat.hide(datasette, name, state.hidden)


def metadata(datasette) -> dict:
    """The metadata that hides these tables, for Datasette 0.65."""
    # Datasette asks for it before it knows of any database, and adds the user's to what it gets.
    hidden = {
        name: get_state(db).hidden for name, db in getattr(datasette, "databases", {}).items()
    }
    return {
        "databases": {
            name: {"tables": {table: {"hidden": True} for table in tables}}
            for name, tables in hidden.items()
            if tables
        }
    }
