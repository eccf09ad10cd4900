"""Which images of a map have the value of the legend that was chosen."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from ...atlas.load import Atlas
from ..source import Source
from ..state import file_stamps
from ..threads import in_thread
from .colours import Legend
from .legends import reader


async def get_wanted(
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


def both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Which rows of the atlas pass both masks (n,); None is a mask that all pass."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _mask(conn, source: Source, atlas: Atlas, condition: str, parameters: list) -> np.ndarray:
    table = source.table
    ids = conn.execute(
        f"select {table.key_sql} from {table.rows_sql} where {condition}", parameters
    )
    return atlas.selected(id for (id,) in ids)
