"""Gives each database its cache of vectors and its connections their SQL functions."""

from __future__ import annotations

from ..search import index, sql
from . import config


def warm(datasette) -> None:
    """Starts loading the spaces used by default, so that the first query need not wait."""
    for name, db in datasette.databases.items():
        if name != "_internal":
            index.cache_for(db).warm(config.of(datasette, name).space)


def register_functions(conn, database: str, datasette) -> None:
    db = datasette.databases.get(database)
    if db is not None and database != "_internal":
        sql.register(conn, index.cache_for(db), config.of(datasette, database).space)
