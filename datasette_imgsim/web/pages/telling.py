"""Which columns say something about the images, so that the map offers them for its frames."""

from __future__ import annotations

import json

import numpy as np

from ...atlas.load import Atlas
from ...db.tables import SourceTable
from .colours import columns, is_date, value_sql

SAMPLE = 2_000
"""So many images, evenly spread over the table, are looked at."""
OF_THE_FILE = {"sha256", "mtime_ns"}
"""Columns of `images` that tell of the file and not of the picture."""


def telling_columns(conn, table: SourceTable, atlas: Atlas) -> list[str]:
    """The columns that group images: neither empty nor one value, nor a text for each of its own.

    Numbers and dates may all differ: they make a scale.
    """
    names = [name for name in columns(conn, table) if name not in OF_THE_FILE]
    if not names:
        return []
    sample = np.unique(np.linspace(0, len(atlas) - 1, SAMPLE).astype(int))
    ids = json.dumps([atlas.id(row) for row in sample])
    facts = ", ".join(_facts(f"nullif({value_sql(table, name)}, '')") for name in names)
    images, *counted = conn.execute(
        f"select count(*), {facts} from {table.rows_sql} "
        f"where {table.key_sql} in (select value from json_each(?))",
        [ids],
    ).fetchone()
    per_column = zip(names, counted[::4], counted[1::4], counted[2::4], counted[3::4])
    return [name for name, *found in per_column if _tells(images, *found)]


def _facts(sql: str) -> str:
    """SQL for what `_tells` asks about a column."""
    return (
        f"count({sql}), count(distinct {sql}), "
        f"coalesce(sum(typeof({sql}) in ('integer', 'real')), 0), coalesce(sum({is_date(sql)}), 0)"
    )


def _tells(images: int, count: int, distinct: int, numbers: int, dates: int) -> bool:
    if distinct < 2:
        return distinct == 1 and count < images  # some have it, others do not
    return count in (numbers, dates) or distinct <= count / 2
