"""Which images of a map stand out: those that pass the filters and have the chosen value."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from ...atlas.load import Atlas
from ..source import Source
from ..state import file_stamps
from ..threads import in_thread
from .colours import Legend
from .legends import reader
from .selected import Selected


async def _with_value(
    source: Source, atlas: Atlas, column: str | None, legend: Legend | None, value: str | None
) -> np.ndarray | None:
    """(n,) bool: whether each row of the atlas has the value; None if no value was chosen."""
    if legend is None or value is None:
        return None
    space, masks = atlas.space, source.state.masks
    key = (space.identity, space.generation, file_stamps(source.db), column, value)

    def get():
        if key not in masks:
            with closing(source.state.connect()) as conn:
                masks[key] = _mask(conn, source, atlas, *legend.condition(value))
        return masks[key]

    # One thread, so that the tiles of a view wait for the first one's answer.
    return await in_thread(reader, get)


async def get_wanted(
    source: Source,
    selected: Selected | None,
    atlas: Atlas,
    column: str | None,
    legend: Legend | None,
    value: str | None,
) -> np.ndarray | None:
    """(n,) bool: whether each row of the atlas is selected and has the value of the legend.

    None if all do, since neither was asked for. Raises Refused.
    """
    with_value = await _with_value(source, atlas, column, legend, value)
    if selected is None or with_value is None:
        return with_value if selected is None else selected.rows
    return selected.rows & with_value


def _mask(conn, source: Source, atlas: Atlas, condition: str, parameters: list) -> np.ndarray:
    table = source.table
    ids = conn.execute(
        f"select {table.key_sql} from {table.rows_sql} where {condition}", parameters
    )
    return atlas.selected(id for (id,) in ids)
