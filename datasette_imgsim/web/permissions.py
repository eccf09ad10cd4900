"""Permissions: only who may view all source tables of a database may view its imgsim_* tables."""

from __future__ import annotations

import json
import sqlite3
from contextvars import ContextVar

from .. import sqlite_errors
from ..db.schema import OF_IMAGES, WITH_SPACES
from . import compat
from .state import get_state

WITH_SOURCES = ("imgsim_spaces", "imgsim_failures", *OF_IMAGES)
"""Our tables with a column source_table."""

# Set while source tables are checked: this must not check the imgsim_* tables again.
_checking: ContextVar[bool] = ContextVar("imgsim_checking", default=False)


def permission_allowed(datasette, actor, action: str, resource):
    """For Datasette 0.65: False denies, None leaves the decision to others."""
    if action != "view-table" or not resource:
        return None
    database, table = resource
    if not table.lower().startswith("imgsim_") or database not in datasette.databases:
        return None

    async def verdict():
        return False if await _denied_tables(datasette, actor, database) else None

    return verdict


async def permission_resources_sql(datasette, actor, action: str):
    """For Datasette 1.0: denies our tables in databases with a source table that is denied."""
    if action != "view-table" or _checking.get():
        return None
    token = _checking.set(True)
    try:
        denied = [
            (database, table)
            for database in list(datasette.databases)
            for table in await _remembered(datasette, actor, database)
        ]
    finally:
        _checking.reset(token)
    return compat.denied(denied) if denied else None


async def _remembered(datasette, actor, database: str) -> list[str]:
    """What `_denied_tables` gave a moment ago: each check of any permission asks about all."""
    state = get_state(datasette.databases[database])
    actor_text = json.dumps(actor, sort_keys=True, default=repr)
    name = ("denied tables", state.is_replaced, actor_text)
    return await state.remember_found(name, lambda: _denied_tables(datasette, actor, database))


async def _denied_tables(datasette, actor, database: str) -> list[str]:
    """Our tables in a database, if the actor may not view all of its source tables; else none.

    A source table that was renamed or dropped may not be viewed: its permissions are unknown.
    """
    db = datasette.databases[database]
    state = get_state(db)
    if state.is_replaced:  # one file's tables must not be shown by the permissions of the other
        return [*WITH_SOURCES, *WITH_SPACES]
    try:
        tables, sources, present = await state.remember(db, "our tables", _ours)
    except sqlite_errors.Error:
        # A database that cannot be read must not break the pages of other databases.
        return [*WITH_SOURCES, *WITH_SPACES]
    if not {name.lower() for name in present}.issuperset(source.lower() for source in sources):
        return tables
    for source in sources:
        if not await compat.can_view(datasette, actor, database, source):
            return tables
    return []


def _ours(conn: sqlite3.Connection) -> tuple[list[str], list[str], set[str]]:
    """(our tables in a database, the source tables named in them, all tables of the database)."""
    names = conn.execute(
        """
        select name from sqlite_master
        where type in ('table', 'view') and name like 'imgsim!_%' escape '!'
        """
    )
    tables = [name for (name,) in names]
    rows = conn.execute("select name from sqlite_master where type = 'table'")
    present = {name for (name,) in rows}
    sources: set[str] = set()
    for table in set(WITH_SOURCES).intersection(tables):
        # Jumps from value to value along the index, which is fast even with a million thumbnails.
        rows = conn.execute(
            f"""
            with recursive found(source) as (
                select min(source_table) from {table}
                union all
                select (select min(source_table) from {table} where source_table > found.source)
                from found where source is not null
            )
            select source from found
            where source is not null and source not like 'imgsim!_%' escape '!'
            """
        )
        sources.update(name for (name,) in rows)
    # Of a table that was renamed in case only, both names have to be allowed.
    folded = {source.lower() for source in sources}
    sources.update(name for name in present if name.lower() in folded)
    return tables, sorted(sources), present
