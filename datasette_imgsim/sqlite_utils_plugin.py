"""The SQL functions in sqlite-utils."""

from __future__ import annotations

from pluggy import HookimplMarker

hookimpl = HookimplMarker("sqlite_utils")


@hookimpl
def prepare_connection(conn):
    """Adds the functions; a query then waits while vectors are loaded, since nothing limits it.

    Datasette also passes its own connections to sqlite-utils: these have the functions already.
    """
    sql = "select 1 from pragma_function_list where name = 'imgsim_status' limit 1"
    if conn.execute(sql).fetchone() is None:
        from .search import functions
        from .search.indexes import Indexes

        functions.register(conn, Indexes(None))
