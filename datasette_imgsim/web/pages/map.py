"""The map page, and its data as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from datasette.database import QueryInterrupted

from ...atlas.load import Atlas
from ...db.spaces import all_spaces
from ...db.tables import quoted, without_blobs
from ...search.indexes import Loading
from ..answers import (
    NOT_KEPT,
    common_context,
    html_answer,
    is_json,
    json_answer,
    next_link,
    page,
)
from ..options import PAGE_SIZE, Options, parse_bounds, parse_options
from ..refused import Refused
from ..results import tiles
from ..source import Source
from ..views import Views
from . import colours
from .atlas import NoMap, get_atlas
from .legends import get_legend
from .selected import Selected, get_selected, map_query

MAX_ROWS = 1000
NAMES_FOUND = 100


@page
async def map(datasette, request, source):
    return await (_data if is_json(request) else _page)(datasette, request, source)


async def _page(datasette, request, source):
    options = parse_options(request)
    atlas = missing = selected = loading = None
    try:
        atlas = await get_atlas(source, options)
        space = atlas.space
        selected = await get_selected(source, request, atlas)
    except NoMap as ex:
        missing, space = ex, ex.space
    except Loading as ex:
        loading = ex
    query = map_query(request)
    spaces, columns = await source.db.execute_fn(
        lambda conn: (
            [listed.name for listed in all_spaces(conn, source.table.name)],
            colours.columns(conn, source.table),
        )
    )
    context = {
        **common_context(source, options),
        "space": space,
        "spaces": spaces,
        "query": query,
        "views": Views("Map", query, source.urls, selected and selected.selection.likeness),
        "columns": columns,
        "atlas": atlas,
        "selected": selected,
        "loading": loading,
        "interpolated": 0 if missing else int(np.count_nonzero(~atlas.fitted)),
        "missing": missing,
        "can_stream": datasette.setting("allow_csv_stream"),
        "alternate_url_json": query.page_url(f"{source.urls.map}.json"),
    }
    headers = NOT_KEPT if loading else None
    return await html_answer(datasette, request, "imgsim_map.html", context, headers=headers)


async def _data(datasette, request, source):
    options = parse_options(request, MAX_ROWS)
    query = MapQuery.parse(request)
    atlas = await get_atlas(source, options)
    legend = await get_legend(source, query.column) if query.column else None
    named = selected = None
    if query.ids or query.text:
        named = await _by_name(source, atlas, query)
    else:
        selected = await get_selected(source, request, atlas)
    rows, count, following = await source.db.execute_fn(
        lambda conn: _rows(conn, source, options, atlas, query, named, selected)
    )
    size = options.size if options.size != PAGE_SIZE else None
    url = map_query(request).page_url(
        f"{source.urls.map}.json", {**query.kept, "_size": size, "_next": following}
    )
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": atlas.space.name,
            "rows": rows,
            "count": count,
            "legend": legend and legend.legend(),
            **next_link(source, request, following, url),
        },
    )


@dataclass(frozen=True)
class MapQuery:
    """Which images of the map a request asks for."""

    box: str | None
    """Only images in this rectangle, x0,y0,x1,y1."""
    zoom: int | None
    """Only images that are shown at this zoom, with how many each stands for."""
    text: str | None
    """Only images with this id or with this text in their name."""
    ids: tuple[str, ...]
    """Only these images."""
    column: str | None
    """The column for the legend."""

    @classmethod
    def parse(cls, request) -> MapQuery:
        zoom, box = request.args.get("z") or None, request.args.get("bbox") or None
        if zoom is not None and not (zoom.isdecimal() and len(zoom) < 3):
            raise Refused(400, f"z is a zoom, a whole number from 0, not {zoom!r:.60}")
        if box:
            parse_bounds(box)
        return cls(
            box,
            None if zoom is None else int(zoom),
            request.args.get("find") or None,
            tuple(request.args.getlist("id")),
            request.args.get("color") or None,
        )

    @property
    def kept(self) -> dict:
        """The parameters that the next page needs, too."""
        return {"z": self.zoom, "bbox": self.box, "color": self.column}

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """The rectangle's x0, y0, x1, y1."""
        return parse_bounds(self.box) if self.box else None


def _rows(
    conn,
    source: Source,
    options: Options,
    atlas: Atlas,
    query: MapQuery,
    named: list[int] | None,
    selected: Selected | None,
) -> tuple[list[dict], int, str | None]:
    """(the JSON of one page of images, how many there are in all, the `_next` of the next page)."""
    if named is not None:
        return _described(conn, source, options, atlas, named, None, True), len(named), None
    rows, counts = _rows_within(atlas, query, selected)
    part = slice(options.start, options.start + options.size)
    following = str(part.stop) if len(rows) > part.stop else None
    shown = counts if counts is None else counts[part]
    described = _described(conn, source, options, atlas, rows[part], shown, False)
    return described, len(rows), following


def _rows_within(
    atlas: Atlas, query: MapQuery, selected: Selected | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of the atlas, and how many images each stands for if the query has a zoom.

    Without a zoom, they are only those that are selected.
    """
    if query.zoom is None:
        bounds = query.bounds
        rows = np.arange(len(atlas)) if bounds is None else atlas.inside(*bounds)
        return (rows if selected is None else rows[selected.rows[rows]]), None
    if query.zoom > atlas.cells.deepest:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, not {query.zoom}")
    cells = selected.cells if selected else atlas.cells
    shown = cells.within(query.zoom, query.bounds) if query.bounds else cells.of_zoom(query.zoom)
    return shown.rows, shown.counts


async def _by_name(source: Source, atlas: Atlas, query: MapQuery) -> list[int]:
    """Rows of the images with the query's ids, or with its text. Raises Refused."""
    ids = await source.db.execute_fn(lambda conn: _keys(conn, source, query))
    if query.text and not query.ids:
        ids = list(dict.fromkeys([*ids, *await _with_text(source, query.text)]))
    rows = (atlas.row(id) for id in ids)
    return [row for row in rows if row is not None][:NAMES_FOUND]


def _keys(conn, source: Source, query: MapQuery) -> list:
    """The key for each of the query's ids, or for its text; None where there is no such image.

    Raises Refused if a single id has no image.
    """
    if len(query.ids) == 1:
        return [source.find(conn, query.ids[0])]
    return [source.table.find(conn, text) for text in query.ids or (query.text,)]


async def _with_text(source: Source, text: str) -> list:
    """The keys of images with a text in their name, the shortest name first."""
    if not source.table.label:
        return []
    table, label = source.table, source.table.label_sql
    sql = (
        f"select {table.key_sql} from {table.rows_sql} "
        f"where instr(lower({label}), lower(:text)) "
        f"order by length({label}), {label} limit {NAMES_FOUND}"
    )
    try:
        # This reads all rows, so Datasette's time limit must apply.
        return [row[0] for row in await source.db.execute(sql, {"text": text})]
    except QueryInterrupted:
        return []


def _described(
    conn, source: Source, options: Options, atlas: Atlas, rows, counts, more: bool
) -> list[dict]:
    """The JSON of images on the map, without those whose row was deleted by hand."""
    ids = [atlas.id(row) for row in rows]
    described = []
    for number, (tile, row) in enumerate(zip(tiles(conn, source, options, ids), rows)):
        if tile is None:
            continue
        x, y = atlas.positions[row].tolist()
        image = {
            **tile.json(),
            "name": tile.name,
            "row": tile.row,
            "x": x,
            "y": y,
            "placed": "fitted" if atlas.fitted[row] else "interpolated",
        }
        if counts is not None:
            image["count"] = int(counts[number])
        if more:
            image |= {
                "zoom": atlas.cells.first_zoom(row, atlas.positions[row]),
                "large": source.large(tile.id),
                "columns": _columns(conn, source, tile.id),
            }
        described.append(image)
    return described


def _columns(conn, source: Source, id) -> dict:
    """The values of an image's row, without BLOBs."""
    table = source.table
    names = ", ".join(
        f"{without_blobs(f't.{quoted(name)}')} as {quoted(name)}"
        for name in [table.key, *colours.columns(conn, table)]
    )
    cursor = conn.execute(f"select {names} from {table.rows_sql} where {table.key_sql} = ?", [id])
    row = zip([name for name, *_ in cursor.description], cursor.fetchone() or ())
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row
    }
