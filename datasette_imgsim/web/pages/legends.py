"""Legends of the map, kept in memory until the database changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from ...caching import NotLoaded
from ..source import Source
from ..state import file_stamps
from ..threads import in_thread
from . import colours
from .colours import Legend

reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-legend")


async def get_legend(source: Source, column: str) -> Legend:
    """The colours of a column, chosen again if the database has changed. Raises Refused."""
    legends, version = source.state.legends, file_stamps(source.db)
    legend = legends.held(column, version)
    if legend is not None:
        return legend
    await source.db.execute_fn(lambda conn: colours.check_column(conn, source.table, column))

    def load(progress):
        with closing(source.state.connect()) as conn:
            return version, colours.choose_colours(conn, source.table, column)

    def get():
        try:
            return legends.get(column, version, load, accept_older=False)
        except NotLoaded as ex:
            raise ex.load.error from ex

    return await in_thread(reader, get)
