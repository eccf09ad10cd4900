"""The tiles of the map, drawn when they are requested, and kept for a while."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ...atlas import tiles as drawing
from ...atlas.cells import CELLS_A_TILE
from ...atlas.load import Atlas
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

# Decoding and encoding would block the event loop, and must not use the threads that run SQL.
_painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-tiles")


@json_only
async def tile(datasette, request, source):
    z, x, y = (int(request.url_vars[name]) for name in "zxy")
    scale = 2 if request.url_vars["retina"] else 1
    column, version = request.args.get("color") or None, request.args.get("v")
    value = request.args.get("value")
    atlas = await get_atlas(source, parse_options(request))
    if z > atlas.cells.deepest or max(x, y) >= 1 << z:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, and no tile {z}/{x}/{y}")
    legend = await get_legend(source, column) if column else None
    wanted = await get_wanted(source, atlas, column, legend, value)
    shown = await source.db.execute_fn(
        lambda conn: _shown(conn, source, atlas, (z, x, y), legend, wanted)
    )
    # The key also changes if a row was deleted by hand or has another colour now.
    content = hashlib.sha256(repr(shown).encode()).hexdigest()
    space = atlas.space
    key = (space.identity, space.generation, z, x, y, scale, column, content)
    etag, jpeg = source.state.tiles.get(key) or await _draw_once(source, key, shown, scale)
    # The page names the version it shows: the browser must not keep tiles of another one for it.
    is_outdated = version is not None and version != str(space.generation)
    return picture_answer(datasette, request, etag, jpeg, **({"max_age": 0} if is_outdated else {}))


async def _draw_once(source: Source, key: tuple, shown: list, scale: int) -> tuple[str, bytes]:
    """(ETag, JPEG) of a tile; a request for a tile that is being drawn waits for it."""
    under_way = source.state.under_way
    task = under_way.get(key)
    if task is None:
        task = under_way[key] = asyncio.ensure_future(_draw(source, key, shown, scale))
        task.add_done_callback(lambda _: under_way.pop(key))
    # A client that disconnects must not cancel the tile for the others.
    return await asyncio.shield(task)


async def _draw(source: Source, key: tuple, shown: list, scale: int) -> tuple[str, bytes]:
    pictures = await source.db.execute_fn(lambda conn: _pictures(conn, source, shown))
    jpeg = await in_thread(_painters, _paint, pictures, scale)
    tile = source.state.tiles[key] = hashlib.sha256(jpeg).hexdigest()[:32], jpeg
    return tile


def _shown(
    conn,
    source: Source,
    atlas: Atlas,
    place: tuple[int, int, int],
    legend: Legend | None,
    wanted: np.ndarray | None,
) -> list[tuple[int | str, drawing.Picture]]:
    """(id, picture without its thumbnail) of each cell of a tile."""
    shown = atlas.cells.of_tile(*place, wanted)
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
                int(column) % CELLS_A_TILE,
                int(line) % CELLS_A_TILE,
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


def _paint(pictures: list[drawing.Picture], scale: int) -> bytes:
    return drawing.encoded(drawing.draw(pictures, CELLS_A_TILE, drawing.TILE * scale))
