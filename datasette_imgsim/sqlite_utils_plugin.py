"""The SQL functions in sqlite-utils."""

from __future__ import annotations

import sqlite3

from pluggy import HookimplMarker

hookimpl = HookimplMarker("sqlite_utils")


@hookimpl
def prepare_connection(conn):
    """There is no time limit here: vectors are loaded when they are asked for.

    Datasette too hands connections to sqlite-utils: those keep the functions they have.
    """
    try:
        conn.execute("explain select imgsim_status()").close()
    except sqlite3.OperationalError:
        from .search import functions
        from .search.indexes import Indexes

        functions.register(conn, Indexes(None))
