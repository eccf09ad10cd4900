"""The SQL functions in sqlite-utils."""

from __future__ import annotations

import sqlite3

from pluggy import HookimplMarker

hookimpl = HookimplMarker("sqlite_utils")


@hookimpl
def prepare_connection(conn):
    """Adds the functions; a query then waits while vectors are loaded, since nothing limits it.

    Datasette also passes its own connections to sqlite-utils: these have the functions already.
    """
    try:
        conn.execute("explain select imgsim_status()").close()
    except sqlite3.OperationalError:
        from .search import functions
        from .search.indexes import Indexes

        functions.register(conn, Indexes(None))
