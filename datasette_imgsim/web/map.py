"""The map page, its data as JSON, and its tiles."""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from .. import compat, store
from ..atlas import loaded
from ..atlas import tiles as drawing
from ..atlas.cells import CELLS_A_TILE, SIDE, Shown
from ..atlas.loaded import Atlas
from . import colours
from .common import (
    Options,
    Refused,
    Source,
    bounds_of,
    chosen_space,
    find_key,
    html_answer,
    is_json,
    json_answer,
    json_only,
    next_link,
    options_of,
    page,
    picture_answer,
    tiles,
)

MAX_ROWS = 1000
NAMES_FOUND = 20
BYTES_OF_TILES = 64_000_000
KEY_BYTES = 500

# Decoding and encoding would hold up the event loop, and must not take the threads that run SQL.
_painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-tiles")


class NoMap(Refused):
    """The space has not been laid out."""


def atlas_of(conn, source: Source, space: store.Space) -> Atlas:
    """The map of a space. Raises NoMap."""
    found = loaded.cache_for(source.db).get(conn, space)
    if not len(found):
        raise NoMap(
            404,
            f"There is no map of the space {space.name!r} yet: run "
            f"'datasette imgsim map {source.file}'",
        )
    return found


# Tiles


@dataclass(eq=False)
class Drawn:
    """The tiles of one atlas that were drawn last, and those that are being drawn."""

    done: OrderedDict[tuple, tuple[str, bytes]] = field(default_factory=OrderedDict)
    under_way: dict[tuple, asyncio.Task] = field(default_factory=dict)
    legends: dict[str, colours.Categories | colours.Scale] = field(default_factory=dict)
    size: int = 0

    async def get(self, key: tuple, draw: Callable[[], Awaitable[bytes]]) -> tuple[str, bytes]:
        """(ETag, JPEG) of a tile. Whoever asks for one that is being drawn waits for that."""
        if key in self.done:
            self.done.move_to_end(key)
            return self.done[key]
        task = self.under_way.get(key)
        if task is None:
            task = self.under_way[key] = asyncio.ensure_future(self._draw(key, draw))
        # One who goes away must not take the tile from the others.
        return await asyncio.shield(task)

    async def _draw(self, key: tuple, draw: Callable[[], Awaitable[bytes]]) -> tuple[str, bytes]:
        try:
            jpeg = await draw()
        finally:
            del self.under_way[key]
        found = self.done[key] = hashlib.sha256(jpeg).hexdigest()[:32], jpeg
        self.size += len(jpeg) + KEY_BYTES
        while self.size > BYTES_OF_TILES and len(self.done) > 1:
            _, (_, oldest) = self.done.popitem(last=False)
            self.size -= len(oldest) + KEY_BYTES
        return found


_drawn: weakref.WeakKeyDictionary[Atlas, Drawn] = weakref.WeakKeyDictionary()


def drawn(atlas: Atlas) -> Drawn:
    return _drawn.setdefault(atlas, Drawn())


@json_only
async def tile(datasette, request, source):
    z, x, y = (int(request.url_vars[name]) for name in "zxy")
    scale = 2 if request.url_vars["retina"] else 1
    column = request.args.get("color") or None
    options = options_of(request)

    def find(conn) -> Atlas:
        return atlas_of(conn, source, chosen_space(conn, source, options))

    atlas = await source.db.execute_fn(find)
    if z > atlas.cells.deepest or max(x, y) >= 1 << z:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, and no tile {z}/{x}/{y}")

    async def draw() -> bytes:
        pictures = await source.db.execute_fn(lambda conn: _pictures(conn, source, atlas, tile))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_painters, _paint, pictures, scale)

    tile = Tile(z, x, y, column)
    etag, jpeg = await drawn(atlas).get((tile, scale), draw)
    return picture_answer(datasette, request, etag, jpeg)


@dataclass(frozen=True)
class Tile:
    """Which tile, and the column that its frames are coloured by."""

    z: int
    x: int
    y: int
    column: str | None


def _pictures(conn, source: Source, atlas: Atlas, tile: Tile) -> list[drawing.Picture]:
    shown = atlas.cells.of_tile(tile.z, tile.x, tile.y)
    ids = [atlas.id(row) for row in shown.rows]
    frames = _frames(conn, source, atlas, ids, tile.column)
    is_deepest = tile.z == atlas.cells.deepest
    return [
        drawing.Picture(
            int(column) % CELLS_A_TILE,
            int(line) % CELLS_A_TILE,
            store.thumbnail(conn, source.table, id),
            frames.get(id),
            int(count) - 1 if is_deepest else 0,
        )
        for id, count, column, line in zip(ids, shown.counts, shown.columns, shown.lines)
    ]


def _frames(conn, source: Source, atlas: Atlas, ids: list, column: str | None) -> dict:
    """{id: colour} of those images that have a value in the column."""
    if column is None or not ids:
        return {}
    scale = legend_of(conn, source, atlas, column)
    key = f"t.{store.quoted(source.key)}"
    rows = conn.execute(
        f"select {key}, {scale.sql} from {store.quoted(source.table)} t "
        f"where {key} in ({', '.join('?' * len(ids))})",
        ids,
    )
    return {id: scale.of(value) for id, value in rows}


def legend_of(conn, source, atlas: Atlas, column: str) -> colours.Categories | colours.Scale:
    legends = drawn(atlas).legends
    if column not in legends:
        legends[column] = colours.colours_of(conn, source, column)
    return legends[column]


def _paint(pictures: list[drawing.Picture], scale: int) -> bytes:
    return drawing.encoded(drawing.draw(pictures, CELLS_A_TILE, drawing.TILE * scale))


# The page and its data


@page
async def map(datasette, request, source):
    return await (_data if is_json(request) else _page)(datasette, request, source)


async def _page(datasette, request, source):
    options = options_of(request)
    found = await source.db.execute_fn(lambda conn: _overview(conn, source, options))
    context = {
        "database": source.db.name,
        "table": source.table,
        "color": compat.color(source.db),
        "source": source,
        "options": options,
        "found": found,
        "file": source.file,
        "alternate_url_json": f"{source.map}.json{options.query()}",
    }
    return await html_answer(datasette, request, "imgsim_map.html", context)


@dataclass(frozen=True)
class Overview:
    """What the map page says of the whole map."""

    space: store.Space
    spaces: list[str]
    count: int
    interpolated: int
    deepest: int
    is_usual: bool
    """Whether the space is the one that is used where none is named."""
    columns: list[str]
    missing: str | None
    """Why there is no map."""


def _overview(conn, source: Source, options: Options) -> Overview:
    space = chosen_space(conn, source, options)
    spaces = [each.name for each in store.spaces(conn, source.table)]
    columns = colours.columns(conn, source)
    try:
        atlas = atlas_of(conn, source, space)
    except NoMap as ex:
        return Overview(space, spaces, 0, 0, 0, False, columns, ex.message)
    return Overview(
        space=space,
        spaces=spaces,
        count=len(atlas),
        interpolated=int(np.count_nonzero(~atlas.fitted)),
        deepest=atlas.cells.deepest,
        is_usual=space == chosen_space(conn, source, replace(options, space=None)),
        columns=columns,
        missing=None,
    )


async def _data(datasette, request, source):
    options = options_of(request, MAX_ROWS)
    wanted = Wanted.of(request)
    space, legend, count, rows, following = await source.db.execute_fn(
        lambda conn: _found(conn, source, options, wanted)
    )
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": space.name,
            "query": {},
            "rows": rows,
            "count": count,
            "legend": legend,
            **next_link(source, request, f"{source.map}.json", options, following, **wanted.kept),
        },
    )


@dataclass(frozen=True)
class Wanted:
    """Which images of the map are asked for."""

    bounds: tuple[float, float, float, float] | None
    zoom: int | None
    """Only those that are shown at this zoom, with how many each stands for."""
    text: str | None
    """Only those with this id, or this in their name."""
    ids: tuple[str, ...]
    column: str | None

    @classmethod
    def of(cls, request) -> Wanted:
        zoom, bbox = request.args.get("z") or None, request.args.get("bbox")
        if zoom is not None and not (zoom.isdecimal() and len(zoom) < 3):
            raise Refused(400, f"z is a zoom, a whole number from 0, not {zoom!r:.60}")
        return cls(
            bounds_of(bbox) if bbox else None,
            None if zoom is None else int(zoom),
            request.args.get("find") or None,
            tuple(request.args.getlist("id")),
            request.args.get("color") or None,
        )

    @property
    def kept(self) -> dict:
        """The parameters of this page that lead to its next part."""
        return {"z": self.zoom, "color": self.column}


def _found(conn, source: Source, options: Options, wanted: Wanted):
    space = chosen_space(conn, source, options)
    atlas = atlas_of(conn, source, space)
    legend = legend_of(conn, source, atlas, wanted.column).legend() if wanted.column else None
    if wanted.text or wanted.ids:
        places = _places_of(conn, source, space, wanted)
        rows = _described(conn, source, options, places)
        for each in filter(None, rows):
            each |= _more(conn, source, atlas, each)
        return space, legend, len(rows), rows, None
    rows, counts = _rows_within(atlas, wanted)
    start = options.start
    some = slice(start, start + options.size)
    places = [
        (atlas.id(row), *atlas.positions[row].tolist(), bool(atlas.fitted[row]))
        for row in rows[some]
    ]
    described = _described(conn, source, options, places)
    if counts is not None:
        for each, count in zip(described, counts[some].tolist()):
            each["count"] = count
    following = str(some.stop) if len(rows) > some.stop else None
    return space, legend, len(rows), [each for each in described if each], following


def _rows_within(atlas: Atlas, wanted: Wanted) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of the atlas, and how many images each stands for if only those of a zoom count."""
    if wanted.zoom is None:
        bounds = wanted.bounds
        return (np.arange(len(atlas)) if bounds is None else atlas.inside(*bounds)), None
    if wanted.zoom > atlas.cells.deepest:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, not {wanted.zoom}")
    shown = atlas.cells.of_zoom(wanted.zoom)
    within = _cells_within(shown, wanted)
    return shown.rows[within], shown.counts[within]


def _cells_within(shown: Shown, wanted: Wanted) -> np.ndarray:
    """Which of the cells overlap the bounds."""
    if wanted.bounds is None:
        return np.arange(len(shown.rows))
    cell = SIDE / (CELLS_A_TILE << wanted.zoom)
    x0, y0, x1, y1 = wanted.bounds
    x, y = shown.columns * cell, shown.lines * cell
    return np.flatnonzero((x + cell > x0) & (x < x1) & (y + cell > y0) & (y < y1))


def _places_of(conn, source: Source, space: store.Space, wanted: Wanted) -> list[tuple]:
    """(id, x, y, fitted) of the images that are named, or that the text finds."""
    if wanted.ids:
        ids = [find_key(conn, source, text) for text in wanted.ids[:MAX_ROWS]]
    else:
        ids = _named(conn, source, space, wanted.text)
    return [(id, *place) for id in ids if (place := store.place(conn, space, id))]


def _more(conn, source: Source, atlas: Atlas, image: dict) -> dict:
    """What only an image that is asked for by name is told of: all there is."""
    row = atlas.row(image["x"], image["y"], image["id"])
    key, table = store.quoted(source.key), store.quoted(source.table)
    cursor = conn.execute(f"select * from {table} where {key} = ?", [image["id"]])
    values = zip([name for name, *_ in cursor.description], cursor.fetchone() or ())
    return {
        "zoom": atlas.cells.deepest if row is None else atlas.cells.first_zoom(row),
        "large": source.large(image["id"]),
        "columns": {name: value for name, value in values if not isinstance(value, bytes)},
    }


def _named(conn, source: Source, space: store.Space, text: str) -> list:
    """Ids of images of the map: the one with this id first, then those with this in their name."""
    try:
        found = [find_key(conn, source, text)]
    except Refused:
        found = []
    if source.label:
        key, label = f"t.{store.quoted(source.key)}", f"t.{store.quoted(source.label)}"
        rows = conn.execute(
            f"""
            select {key} from {store.quoted(source.table)} t
            where instr(lower({label}), lower(?)) and exists (
                select 1 from imgsim_atlas where space_id = ? and image_id = +{key}
            )
            order by length({label}), {label} limit {NAMES_FOUND}
            """,
            [text, space.id],
        )
        found += [id for (id,) in rows if id not in found]
    return found


def _described(conn, source: Source, options: Options, places: list[tuple]) -> list[dict | None]:
    known = tiles(conn, source, options, [(id, None) for id, *_ in places])
    return [
        each
        and {
            **each.json(),
            "name": each.name,
            "row": each.row,
            "x": x,
            "y": y,
            "placed": "fitted" if fitted else "interpolated",
        }
        for each, (_, x, y, fitted) in zip(known, places)
    ]
