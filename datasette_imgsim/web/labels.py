"""The names of images: Datasette's own label column of a table, where it has one."""

from __future__ import annotations

from dataclasses import replace

from ..db.tables import SourceTable, column_names
from . import compat
from .state import get_state


async def labelled(db, table: SourceTable) -> SourceTable:
    """The table with Datasette's own label column, expanded if that is a foreign key."""
    return await get_state(db).remember_found(
        f"label of {table.name}", lambda: _labelled(db, table)
    )


async def visible(datasette, actor, db, table: SourceTable) -> SourceTable:
    """The table without the labels of another table that the actor may not view."""
    if table.label_from is None or await compat.can_view(
        datasette, actor, db.name, table.label_from[0]
    ):
        return table
    return replace(table, label_from=None)


async def _labelled(db, table: SourceTable) -> SourceTable:
    own = await _label_column(db, table.name)
    if own is not None and own != table.key:  # Datasette's pages show a key in another way
        table = replace(table, label=own)
    for key in await db.foreign_keys_for_table(table.name):
        if key["column"] == table.label:
            other = await _label_column(db, key["other_table"])
            if other is not None:
                return replace(table, label_from=(key["other_table"], key["other_column"], other))
    return table


async def _label_column(db, table: str) -> str | None:
    """Datasette's label column of a table; None if there is none, or the setting is wrong."""
    label = await db.label_column_for_table(table)
    names = await db.execute_fn(lambda conn: column_names(conn, table))
    return label if label in names else None
