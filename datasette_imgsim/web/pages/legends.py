"""Legends of the map, kept in memory until the database changes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ..selection import read_selected
from ..source import Source
from ..state import file_stamps
from . import colours
from .colours import Legend
from .selected import Selected

reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-legend")


async def get_legend(source: Source, column: str) -> Legend:
    """The colours of a column, chosen again if the database has changed. Raises Refused."""
    legends, version = source.state.legends, file_stamps(source.db)
    legend = legends.held(column, version)
    if legend is not None:
        return legend
    await source.db.execute_fn(lambda conn: colours.check_column(conn, source.table, column))

    return await source.state.loaded(
        reader,
        legends,
        column,
        version,
        lambda conn: colours.choose_colours(conn, source.table, column),
    )


async def legend_json(
    source: Source, column: str, legend: Legend, selected: Selected | None
) -> dict:
    """A legend as JSON. With a filter, each entry has `wanted`: how many of its rows pass it.

    Raises Refused.
    """
    found = legend.legend()
    if selected is not None:
        key = ("legend", column, *selected.key)
        counts = await source.state.once(key, lambda: _counts(source, legend, selected, key))
        for number, entry in enumerate(found["entries"]):
            entry["wanted"] = counts[number]
    return found


async def _counts(source: Source, legend: Legend, selected: Selected, key: tuple) -> Counter:
    """How many of the selected rows belong to each entry of a legend, by its number."""
    held, table = source.state.masks, source.table
    counts = held.get(key)
    if counts is None:
        sql = (
            f"select {legend.sql}, count(*) from {table.rows_sql} "
            f"where {table.key_sql} in ({selected.selection.sql}) group by 1"
        )

        def collect(rows):
            counts: Counter = Counter()
            for value, count in rows:
                counts[legend.entry(value)] += count
            return counts

        counts = held[key] = await read_selected(source, selected.selection, sql, collect)
    return counts
