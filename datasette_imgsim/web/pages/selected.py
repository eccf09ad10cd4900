"""Which images of a map a query selects."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ...atlas.load import Atlas
from ..query import OWN_OF_MAP, Query
from ..selection import Selection, read_keys, select
from ..source import Source
from ..state import file_stamps


@dataclass(frozen=True)
class Selected:
    """The selected images of a map."""

    selection: Selection
    rows: np.ndarray
    """(n,) bool, for each row of the atlas."""
    key: tuple
    """What these rows depend on."""

    @property
    def count(self) -> int:
        """How many of them are on the map."""
        return int(np.count_nonzero(self.rows))


def map_query(request) -> Query:
    """The query of a request for the map, its tiles or its JSON."""
    return Query.of_page(request.query_string, OWN_OF_MAP)


async def get_selected(source: Source, request, atlas: Atlas) -> Selected | None:
    """The images that a request's filters select; None without filters.

    Raises Refused and Loading.
    """
    query, state = map_query(request).filters, source.state
    if not query.is_filter:
        return None
    # A page of tiles asks for the same at the same time. Datasette says what this actor may ask.
    name = ("selection", source.table.name, query, json.dumps(request.actor, default=str))
    selection = await state.remember_found(
        name, lambda: state.once(name, lambda: select(source, request.actor, query))
    )
    key = _key(source, selection, atlas)
    rows = await state.once(("rows", *key), lambda: _rows(source, selection, atlas, key))
    return Selected(selection, rows, key)


async def _rows(source: Source, selection: Selection, atlas: Atlas, key: tuple) -> np.ndarray:
    held = source.state.masks
    rows = held.get(key)
    if rows is None:
        rows = held[key] = await read_keys(source, selection, atlas.selected)
    return rows


def _key(source: Source, selection: Selection, atlas: Atlas) -> tuple:
    parameters = json.dumps(selection.parameters, sort_keys=True)
    space = atlas.space
    return (
        selection.sql, parameters, space.identity, space.generation, len(atlas),
        file_stamps(source.db),
    )  # fmt: skip
