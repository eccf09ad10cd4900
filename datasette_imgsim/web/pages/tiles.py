"""The tiles of the map and of the wall, drawn when they are requested, and kept for a while."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ...atlas import tiles as drawing
from ...atlas.load import WALL, Atlas, View
from ...db.images import read_thumbnail
from ..answers import json_only, picture_answer
from ..options import parse_options
from ..refused import Refused
from ..source import Source
from ..threads import in_thread
from .atlas import get_atlas
from .colours import Legend
from .highlights import get_wanted
from .legends import get_legend
from .selected import get_selected

# Decoding and encoding would block the event loop, and must not use the threads that run SQL.
_painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-tiles")


@json_only
async def tile(datasette, request, source):
    z, x, y = (int(request.url_vars[name]) for name in "zxy")
    scale = 2 if request.url_vars["retina"] else 1
    column, version = request.args.get("color") or None, request.args.get("v")
    value = request.args.get("value")
    options = parse_options(request)
    atlas = await get_atlas(source, options)
    view = atlas.view(options.view)
    if z > view.cells.deepest or max(x, y) >= 1 << z:
        deepest = view.cells.deepest
        raise Refused(404, f"The {view.name} has zooms 0 to {deepest}, and no tile {z}/{x}/{y}")
    legend = await get_legend(source, column) if column else None
    selected = await get_selected(source, request, atlas)
    wanted = await get_wanted(source, selected, atlas, column, legend, value)
    place = (z, x, y)
    shown = await source.db.execute_fn(
        lambda conn: _shown(conn, source, atlas, view, place, legend, wanted)
    )
    # The key also changes if a row was deleted by hand, has another colour or is wanted now.
    content = hashlib.sha256(repr(shown).encode()).hexdigest()
    space = atlas.space
    key = (space.identity, space.generation, view.name, *place, scale, column, content)
    paint = functools.partial(_paint, view.cells.cells_a_tile(z), scale, view.name == WALL)
    etag, jpeg = source.state.tiles.get(key) or await source.state.once(
        key, lambda: _draw(source, key, shown, paint)
    )
    # The page names the version it shows: the browser must not keep tiles of another one for it.
    is_outdated = version is not None and version != str(space.generation)
    return picture_answer(datasette, request, etag, jpeg, **({"max_age": 0} if is_outdated else {}))


async def _draw(
    source: Source, key: tuple, shown: list, paint: Callable[[list], bytes]
) -> tuple[str, bytes]:
    pictures = await source.db.execute_fn(lambda conn: _pictures(conn, source, shown))
    jpeg = await in_thread(_painters, paint, pictures)
    tile = source.state.tiles[key] = hashlib.sha256(jpeg).hexdigest()[:32], jpeg
    return tile


def _shown(
    conn,
    source: Source,
    atlas: Atlas,
    view: View,
    place: tuple[int, int, int],
    legend: Legend | None,
    wanted: np.ndarray | None,
) -> list[tuple[int | str, drawing.Picture]]:
    """(id, picture without its thumbnail) of each cell of a tile."""
    shown = view.cells.of_tile(*place, wanted)
    cells = view.cells.cells_a_tile(place[0])
    ids = [atlas.id(row) for row in shown.rows]
    table, value = source.table, legend.sql if legend else "null"
    rows = conn.execute(
        f"select {table.key_sql}, {value} from {table.rows_sql} "
        f"where {table.key_sql} in ({', '.join('?' * len(ids))})",
        ids,
    )
    values = dict(rows.fetchall())
    return [
        (
            id,
            drawing.Picture(
                int(column) % cells,
                int(line) % cells,
                None,
                legend.frame(values[id]) if legend else None,
                max(0, int(count) - 1),
                not count,
            ),
        )
        for id, count, column, line in zip(ids, shown.wanted, shown.columns, shown.lines)
        if id in values  # otherwise its row was deleted by hand
    ]


def _pictures(conn, source: Source, shown: list) -> list[drawing.Picture]:
    return [
        replace(picture, jpeg=read_thumbnail(conn, source.table.name, id)) for id, picture in shown
    ]


def _paint(cells: int, scale: int, is_wall: bool, pictures: list[drawing.Picture]) -> bytes:
    return drawing.encoded(drawing.draw(pictures, cells, cells, drawing.TILE * scale, is_wall))
