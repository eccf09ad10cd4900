"""The map page, and its data as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from datasette.database import QueryInterrupted

from ...atlas.load import Atlas
from ...db.spaces import all_spaces
from ...db.tables import quoted, without_blobs
from ..answers import common_context, html_answer, is_json, json_answer, next_link, page
from ..options import Options, default_space, parse_bounds, parse_options
from ..refused import Refused
from ..results import tiles
from ..source import Source
from . import colours
from .atlas import NoMap, get_atlas
from .legends import get_legend

MAX_ROWS = 1000
NAMES_FOUND = 100


@page
async def map(datasette, request, source):
    return await (_data if is_json(request) else _page)(datasette, request, source)


async def _page(datasette, request, source):
    options = parse_options(request)
    atlas = missing = None
    try:
        atlas = await get_atlas(source, options)
        space = atlas.space
    except NoMap as ex:
        missing, space = ex, ex.space
    spaces, is_default, columns = await source.db.execute_fn(
        lambda conn: (
            [each.name for each in all_spaces(conn, source.table.name)],
            default_space(conn, source).id == space.id,
            colours.columns(conn, source.table),
        )
    )
    context = {
        **common_context(source, options),
        "space": space,
        "spaces": spaces,
        "is_default": is_default,
        "columns": columns,
        "atlas": atlas,
        "interpolated": 0 if missing else int(np.count_nonzero(~atlas.fitted)),
        "missing": missing,
        "can_stream": datasette.setting("allow_csv_stream"),
        "alternate_url_json": f"{source.urls.map}.json{options.query()}",
    }
    return await html_answer(datasette, request, "imgsim_map.html", context)


async def _data(datasette, request, source):
    options = parse_options(request, MAX_ROWS)
    asked = MapQuery.parse(request)
    atlas = await get_atlas(source, options)
    legend = await get_legend(source, asked.column) if asked.column else None
    named = await _by_name(source, atlas, asked) if asked.ids or asked.text else None
    rows, count, following = await source.db.execute_fn(
        lambda conn: _rows(conn, source, options, atlas, asked, named)
    )
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": atlas.space.name,
            "rows": rows,
            "count": count,
            "legend": legend and legend.legend(),
            **next_link(
                source, request, f"{source.urls.map}.json", options, following, **asked.kept
            ),
        },
    )


@dataclass(frozen=True)
class MapQuery:
    """Which images of the map are asked for."""

    bounds: tuple[float, float, float, float] | None
    zoom: int | None
    """Only those that are shown at this zoom, with how many each stands for."""
    text: str | None
    """Only those with this id, or this in their name."""
    ids: tuple[str, ...]
    column: str | None

    @classmethod
    def parse(cls, request) -> MapQuery:
        zoom, bbox = request.args.get("z") or None, request.args.get("bbox")
        if zoom is not None and not (zoom.isdecimal() and len(zoom) < 3):
            raise Refused(400, f"z is a zoom, a whole number from 0, not {zoom!r:.60}")
        return cls(
            parse_bounds(bbox) if bbox else None,
            None if zoom is None else int(zoom),
            request.args.get("find") or None,
            tuple(request.args.getlist("id")),
            request.args.get("color") or None,
        )

    @property
    def kept(self) -> dict:
        """The parameters of this page that lead to its next part."""
        return {"z": self.zoom, "color": self.column}


def _rows(
    conn, source: Source, options: Options, atlas: Atlas, asked: MapQuery, named: list[int] | None
) -> tuple[list[dict], int, str | None]:
    """What JSON says of one page of images, how many there are, and `_next` of what follows."""
    if named is not None:
        return _described(conn, source, options, atlas, named, None, True), len(named), None
    rows, counts = _rows_within(atlas, asked)
    some = slice(options.start, options.start + options.size)
    following = str(some.stop) if len(rows) > some.stop else None
    shown = counts if counts is None else counts[some]
    described = _described(conn, source, options, atlas, rows[some], shown, False)
    return described, len(rows), following


def _rows_within(atlas: Atlas, asked: MapQuery) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of the atlas, and how many images each stands for if only those of a zoom count."""
    if asked.zoom is None:
        bounds = asked.bounds
        return (np.arange(len(atlas)) if bounds is None else atlas.inside(*bounds)), None
    if asked.zoom > atlas.cells.deepest:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, not {asked.zoom}")
    cells = atlas.cells
    shown = cells.within(asked.zoom, asked.bounds) if asked.bounds else cells.of_zoom(asked.zoom)
    return shown.rows, shown.counts


async def _by_name(source: Source, atlas: Atlas, asked: MapQuery) -> list[int]:
    """Rows of the images that are named, or that the text finds. Raises Refused."""
    ids = await source.db.execute_fn(lambda conn: _keys(conn, source, asked))
    if asked.text and not asked.ids:
        ids = list(dict.fromkeys([*ids, *await _with_text(source, asked.text)]))
    rows = (atlas.row(id) for id in ids)
    return [row for row in rows if row is not None][:NAMES_FOUND]


def _keys(conn, source: Source, asked: MapQuery) -> list:
    """The keys that ids or the text name, None for each that names none.

    Raises Refused where a single id does not.
    """
    if len(asked.ids) == 1:
        return [source.find(conn, asked.ids[0])]
    return [source.table.find(conn, text) for text in asked.ids or (asked.text,)]


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
        # Unlike what else is asked here, this looks at all rows: Datasette's time limit counts.
        return [row[0] for row in await source.db.execute(sql, {"text": text})]
    except QueryInterrupted:
        return []


def _described(
    conn, source: Source, options: Options, atlas: Atlas, rows, counts, more: bool
) -> list[dict]:
    """What JSON says of rows of the atlas, without those whose row was deleted by hand."""
    ids = [atlas.id(row) for row in rows]
    known = tiles(conn, source, options, ids)
    described = []
    for number, (each, row) in enumerate(zip(known, rows)):
        if each is None:
            continue
        x, y = atlas.positions[row].tolist()
        about = {
            **each.json(),
            "name": each.name,
            "row": each.row,
            "x": x,
            "y": y,
            "placed": "fitted" if atlas.fitted[row] else "interpolated",
        }
        if counts is not None:
            about["count"] = int(counts[number])
        if more:
            about |= {
                "zoom": atlas.cells.first_zoom(row, atlas.positions[row]),
                "large": source.large(each.id),
                "columns": _columns(conn, source, each.id),
            }
        described.append(about)
    return described


def _columns(conn, source: Source, id) -> dict:
    """The values of an image's row that JSON knows."""
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
