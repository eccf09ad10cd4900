"""The tiles of the map, drawn when they are requested, and kept for a while."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...atlas import tiles as drawing
from ...atlas.cells import CELLS_A_TILE, Cells
from ...atlas.load import Atlas
from ...db.images import read_thumbnail
from ..answers import json_only, picture_answer
from ..options import parse_options
from ..refused import Refused
from ..source import Source
from ..threads import in_thread
from .atlas import get_atlas
from .colours import Legend
from .legends import get_legend
from .selected import get_selected

# Decoding and encoding would block the event loop, and must not use the threads that run SQL.
_painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-tiles")


@json_only
async def tile(datasette, request, source):
    z, x, y = (int(request.url_vars[name]) for name in "zxy")
    scale = 2 if request.url_vars["retina"] else 1
    column, version = request.args.get("color") or None, request.args.get("v")
    atlas = await get_atlas(source, parse_options(request))
    if z > atlas.cells.deepest or max(x, y) >= 1 << z:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, and no tile {z}/{x}/{y}")
    legend = await get_legend(source, column) if column else None
    selected = await get_selected(source, request, atlas)
    cells = selected.cells if selected else atlas.cells
    shown = await source.db.execute_fn(
        lambda conn: _shown(conn, source, atlas, cells, (z, x, y), legend)
    )
    # The key also changes if a row was deleted by hand, has another colour or is selected now.
    content = hashlib.sha256(repr(shown).encode()).hexdigest()
    space = atlas.space
    key = (space.identity, space.generation, z, x, y, scale, column, content)
    etag, jpeg = source.state.tiles.get(key) or await source.state.once(
        key, lambda: _draw(source, key, shown, scale)
    )
    # The page names the version it shows: the browser must not keep tiles of another one for it.
    is_outdated = version is not None and version != str(space.generation)
    return picture_answer(datasette, request, etag, jpeg, **({"max_age": 0} if is_outdated else {}))


async def _draw(source: Source, key: tuple, shown: list, scale: int) -> tuple[str, bytes]:
    pictures = await source.db.execute_fn(lambda conn: _pictures(conn, source, shown))
    jpeg = await in_thread(_painters, _paint, pictures, scale)
    tile = source.state.tiles[key] = hashlib.sha256(jpeg).hexdigest()[:32], jpeg
    return tile


def _shown(
    conn,
    source: Source,
    atlas: Atlas,
    cells: Cells,
    place: tuple[int, int, int],
    legend: Legend | None,
) -> list[tuple[int | str, drawing.Picture]]:
    """(id, picture without its thumbnail) of each cell of a tile."""
    shown = cells.of_tile(*place)
    ids = [atlas.id(row) for row in shown.rows]
    table, value = source.table, legend.sql if legend else "null"
    rows = conn.execute(
        f"select {table.key_sql}, {value} from {table.rows_sql} "
        f"where {table.key_sql} in ({', '.join('?' * len(ids))})",
        ids,
    )
    values = dict(rows.fetchall())
    is_deepest = place[0] == atlas.cells.deepest
    return [
        (
            id,
            drawing.Picture(
                int(column) % CELLS_A_TILE,
                int(line) % CELLS_A_TILE,
                None,
                legend.color(values[id]) if legend else None,
                int(count) - 1 if is_deepest and count else 0,
                is_faint=not count,
            ),
        )
        for id, count, column, line in zip(ids, shown.counts, shown.columns, shown.lines)
        if id in values  # otherwise its row was deleted by hand
    ]


def _pictures(conn, source: Source, shown: list) -> list[drawing.Picture]:
    return [
        replace(picture, jpeg=read_thumbnail(conn, source.table.name, id)) for id, picture in shown
    ]


def _paint(pictures: list[drawing.Picture], scale: int) -> bytes:
    return drawing.encoded(drawing.draw(pictures, CELLS_A_TILE, drawing.TILE * scale))
