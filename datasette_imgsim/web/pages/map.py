"""The map page, which also shows the wall, and its data as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...atlas.load import MAP, WALL, Atlas, View
from ...db.groups import has_groups
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
from ..chooser import chooser
from ..options import PAGE_SIZE, Options, parse_bounds, parse_options
from ..refused import Refused
from ..results import tiles
from ..scripts import leaflet
from ..source import Source
from ..views import Views
from . import colours
from .atlas import NoMap, get_atlas
from .finding import find, told_apart
from .highlights import get_wanted
from .labels import get_labels
from .legends import get_legend, legend_json
from .selected import Selected, get_selected, map_query
from .telling import telling_columns

MAX_ROWS = 1000


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
    query, asked = map_query(request), request.args.get("color")
    spaces, columns, with_groups = await source.db.execute_fn(
        lambda conn: (
            [listed.name for listed in all_spaces(conn, source.table.name)],
            _offered(conn, source, atlas, asked),
            bool(atlas) and has_groups(conn, atlas.space),
        )
    )
    context = {
        **common_context(source, options),
        "space": space,
        "spaces": spaces,
        "query": query,
        "views": Views("Map", query, source.urls, selected and selected.selection.likeness),
        "columns": columns,
        "has_groups": with_groups,
        "atlas": atlas,
        "selected": selected,
        "loading": loading,
        "upload": None if missing or loading else chooser(source, request.actor, space),
        "view": atlas and atlas.view(options.view),
        "leaflet": leaflet(datasette),
        "layouts": [
            (MAP, query.page_url(source.urls.map)),
            (WALL, query.page_url(source.urls.map, {"view": WALL})),
        ],
        "interpolated": 0 if missing else int(np.count_nonzero(~atlas.fitted)),
        "missing": missing,
        "can_stream": datasette.setting("allow_csv_stream"),
        "tile_query": query.page_url("", {"view": options.wall}),
        "alternate_url_json": query.page_url(f"{source.urls.map}.json", {"view": options.wall}),
    }
    headers = NOT_KEPT if loading else None
    return await html_answer(datasette, request, "imgsim_map.html", context, headers=headers)


def _offered(conn, source: Source, atlas: Atlas | None, asked: str | None) -> list[str]:
    """The columns that the page offers for frames: those that tell something, and the asked one."""
    offered = telling_columns(conn, source.table, atlas) if atlas else []
    return [
        name for name in colours.columns(conn, source.table) if name in offered or name == asked
    ]


async def _data(datasette, request, source):
    options = parse_options(request, MAX_ROWS)
    query = MapQuery.parse(request)
    atlas = await get_atlas(source, options)
    legend = await get_legend(source, query.column) if query.column else None
    selected = None if query.ids else await get_selected(source, request, atlas)
    named = await _named(source, atlas, query, selected)
    wanted = None
    if named is None:
        wanted = await get_wanted(source, selected, atlas, query.column, legend, query.value)
    rows, count, following = await source.db.execute_fn(
        lambda conn: _rows(conn, source, options, atlas, query, wanted, named)
    )
    size = options.size if options.size != PAGE_SIZE else None
    url = map_query(request).page_url(
        f"{source.urls.map}.json",
        {**query.kept, "view": options.wall, "_size": size, "_next": following},
    )
    if query.text and named:
        await told_apart(source, rows)
    labels = await get_labels(source, atlas, options.view) if query.with_groups else None
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": atlas.space.name,
            "rows": rows,
            "count": count,
            "groups": labels,
            "legend": legend and await legend_json(source, query.column, legend, selected),
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
    """Only images with this id or with this text in a column."""
    ids: tuple[str, ...]
    """Only these images."""
    column: str | None
    """The column for the legend."""
    value: str | None
    """The value of the legend whose images stand for their neighbourhood."""
    with_groups: bool
    """Whether the groups are asked for, too."""

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
            request.args.get("value"),
            request.args.get("groups") == "1",
        )

    @property
    def kept(self) -> dict:
        """The parameters that the next page needs, too."""
        groups = "1" if self.with_groups else None
        return {
            "z": self.zoom, "bbox": self.box, "color": self.column, "value": self.value,
            "groups": groups,
        }  # fmt: skip

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
    wanted: np.ndarray | None,
    named: dict[int, dict] | None,
) -> tuple[list[dict], int, str | None]:
    """(the JSON of one page of images, how many there are in all, the `_next` of the next page)."""
    if named is not None:
        known = list(named.values())
        return _described(conn, source, options, atlas, list(named), known, True), len(named), None
    rows, more = _rows_within(atlas.view(options.view), query, wanted, options)
    part = slice(options.start, options.start + options.size)
    following = str(part.stop) if len(rows) > part.stop else None
    described = _described(conn, source, options, atlas, rows[part], more, False)
    return described, len(rows), following


def _rows_within(
    view: View, query: MapQuery, wanted: np.ndarray | None, options: Options
) -> tuple[np.ndarray, list[dict] | None]:
    """Rows of the atlas, and what the page of a query with a zoom says about each.

    Without a zoom, they are only those that are wanted.
    """
    if query.zoom is None:
        bounds = query.bounds
        rows = np.arange(len(view.positions)) if bounds is None else view.inside(*bounds)
        return (rows if wanted is None else rows[wanted[rows]]), None
    cells = view.cells
    if query.zoom > cells.deepest:
        raise Refused(404, f"The {view.name} has zooms 0 to {cells.deepest}, not {query.zoom}")
    if query.bounds:
        shown = cells.within(query.zoom, query.bounds, wanted)
    else:
        shown = cells.of_zoom(query.zoom, wanted)
    part = slice(options.start, options.start + options.size)
    counts, wanted_counts = shown.counts[part].tolist(), shown.wanted[part].tolist()
    if wanted is None:
        return shown.rows, [{"count": count} for count in counts]
    return shown.rows, [{"count": n, "wanted": m} for n, m in zip(counts, wanted_counts)]


async def _named(
    source: Source, atlas: Atlas, query: MapQuery, selected: Selected | None
) -> dict[int, dict] | None:
    """{row: JSON about it} of the images with the query's ids, or with its text.

    None if the query names no images. Raises Refused.
    """
    if query.ids:
        keys = await source.db.execute_fn(lambda conn: _keys(conn, source, query))
        rows = {atlas.row(id): {} for id in keys}
    elif query.text:
        found = await find(source, query.text, selected and selected.selection)
        rows = {atlas.row(id): {"detail": detail} for id, detail in found.items()}
    else:
        return None
    rows.pop(None, None)
    if selected is None:
        return rows
    known = {row: {**more, "selected": bool(selected.rows[row])} for row, more in rows.items()}
    return dict(sorted(known.items(), key=lambda pair: not pair[1]["selected"]))


def _keys(conn, source: Source, query: MapQuery) -> list:
    """The key for each of the query's ids; None where there is no such image.

    Raises Refused if a single id has no image.
    """
    if len(query.ids) == 1:
        return [source.find(conn, query.ids[0])]
    return [source.table.find(conn, text) for text in query.ids]


def _described(
    conn, source: Source, options: Options, atlas: Atlas, rows, known: list[dict] | None, more: bool
) -> list[dict]:
    """The JSON of images on the map, without those whose row was deleted by hand.

    `known` is added to each; `more` says all about them.
    """
    ids = [atlas.id(row) for row in rows]
    described, view = [], atlas.view(options.view)
    for number, (tile, row) in enumerate(zip(tiles(conn, source, options, ids), rows)):
        if tile is None:
            continue
        x, y = view.positions[row].tolist()
        image = {
            **tile.json(),
            "name": tile.name,
            "row": tile.row,
            "x": x,
            "y": y,
            "placed": "fitted" if atlas.fitted[row] else "interpolated",
        }
        if known is not None:
            image |= known[number]
        if more:
            image |= {
                "zoom": view.first_zoom(row),
                "large": tile.large,
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
