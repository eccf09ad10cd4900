"""The map page, its data as JSON, and its tiles."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import shlex
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from datasette.database import QueryInterrupted

from .. import store
from ..atlas import loaded
from ..atlas import tiles as drawing
from ..atlas.cells import CELLS_A_TILE
from ..atlas.loaded import Atlas
from ..errors import ImgsimError
from . import colours
from .common import (
    Options,
    Refused,
    Source,
    bounds_of,
    chosen_space,
    common_context,
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
    usual_space,
    without_blobs,
)

MAX_ROWS = 1000
NAMES_FOUND = 100
BYTES_OF_TILES = 64_000_000
KEY_BYTES = 500

# Decoding and encoding would hold up the event loop, and must not take the threads that run SQL.
_painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="imgsim-tiles")
_loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-map")


class NoMap(Refused):
    """The space has not been laid out."""

    def __init__(self, space: store.Space, command: str):
        super().__init__(404, f"There is no map of the space {space.name!r} yet: run '{command}'")
        self.space, self.command = space, command


async def atlas_of(source: Source, options: Options) -> Atlas:
    """The map of the chosen space. Raises NoMap."""
    cache = loaded.cache_for(source.db)
    space = await source.db.execute_fn(lambda conn: chosen_space(conn, source, options))
    found = cache.held_for(space)
    if found is None:
        # Whoever asks for the first time waits; nobody else does.
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            _loader, lambda: cache.held_for(space) or cache.load(space)
        )
    if not len(found):
        raise NoMap(space, await source.db.execute_fn(lambda conn: _command(conn, source, space)))
    return found


def _command(conn, source: Source, space: store.Space) -> str:
    """The command that makes the map of a space."""
    words = ["datasette", "imgsim", "map", source.file]
    try:
        is_usual = store.choose_space(conn) == space
    except ImgsimError:
        is_usual = False
    return shlex.join(words if is_usual else [*words, "--space", space.name])


# Tiles


class Once:
    """What is being computed, so that whoever asks for the same meanwhile waits for that."""

    def __init__(self):
        self.under_way: dict[Hashable, asyncio.Task] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable]):
        task = self.under_way.get(key)
        if task is None:
            task = self.under_way[key] = asyncio.ensure_future(compute())
            task.add_done_callback(lambda _: self.under_way.pop(key))
        # One who goes away must not take it from the others.
        return await asyncio.shield(task)


class Drawn:
    """The tiles of one atlas that were asked for last, and the legends of its frames."""

    def __init__(self):
        self.tiles: OrderedDict[Hashable, tuple[str, bytes]] = OrderedDict()
        self.legends: dict[str, Made] = {}
        self.size = 0
        self.once = Once()

    async def tile(self, key: Hashable, draw: Callable[[], Awaitable[bytes]]) -> tuple[str, bytes]:
        """(ETag, JPEG) of a tile."""
        if key in self.tiles:
            self.tiles.move_to_end(key)
            return self.tiles[key]
        return await self.once.get(key, lambda: self._draw(key, draw))

    async def _draw(self, key: Hashable, draw) -> tuple[str, bytes]:
        jpeg = await draw()
        found = self.tiles[key] = hashlib.sha256(jpeg).hexdigest()[:32], jpeg
        self.size += len(jpeg) + KEY_BYTES
        while self.size > BYTES_OF_TILES and len(self.tiles) > 1:
            _, (_, oldest) = self.tiles.popitem(last=False)
            self.size -= len(oldest) + KEY_BYTES
        return found

    async def legend(self, source: Source, column: str) -> Legend:
        """The colours of a column, found anew when the database has changed. Raises Refused."""

        async def compute() -> None:
            started, state = time.monotonic(), _state(source.db)
            legend = await source.db.execute_fn(
                lambda conn: colours.colours_of(conn, source, column)
            )
            seconds = time.monotonic() - started
            due = started + seconds / loaded.LARGEST_SHARE_OF_RELOADS
            self.legends[column] = Made(legend, state, due)

        made = self.legends.get(column)
        if made is None or (time.monotonic() >= made.due and made.state != _state(source.db)):
            await self.once.get(column, compute)
        return self.legends[column].legend


Legend = colours.Categories | colours.Scale


@dataclass(frozen=True)
class Made:
    """A legend, and what the database was when it was made."""

    legend: Legend
    state: list
    due: float
    """When it may be made anew, so that a large table is not read without end while it grows."""


def _state(db) -> list:
    """What is another once a database file, or its write-ahead log, has been written to."""
    found = []
    for path in (db.path, f"{db.path}-wal") if db.path else ():
        try:
            stat = os.stat(path)
            found.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append(None)
    return found


_drawn: weakref.WeakKeyDictionary[Atlas, Drawn] = weakref.WeakKeyDictionary()


def drawn(atlas: Atlas) -> Drawn:
    return _drawn.setdefault(atlas, Drawn())


@json_only
async def tile(datasette, request, source):
    z, x, y = (int(request.url_vars[name]) for name in "zxy")
    scale = 2 if request.url_vars["retina"] else 1
    column, version = request.args.get("color") or None, request.args.get("v")
    atlas = await atlas_of(source, options_of(request))
    if z > atlas.cells.deepest or max(x, y) >= 1 << z:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, and no tile {z}/{x}/{y}")
    kept = drawn(atlas)
    legend = await kept.legend(source, column) if column else None

    shown = await source.db.execute_fn(lambda conn: _shown(conn, source, atlas, (z, x, y), legend))

    async def draw() -> bytes:
        pictures = await source.db.execute_fn(lambda conn: _pictures(conn, source, shown))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_painters, _paint, pictures, scale)

    # A row deleted by hand, or of another colour now, makes it another tile.
    state = hashlib.sha256(repr(shown).encode()).hexdigest()
    etag, jpeg = await kept.tile((z, x, y, scale, column, state), draw)
    # The page names the version it shows: a tile of another one must not be kept as that.
    is_other = version is not None and version != str(atlas.space.generation)
    return picture_answer(datasette, request, etag, jpeg, **({"max_age": 0} if is_other else {}))


def _shown(
    conn, source: Source, atlas: Atlas, place: tuple[int, int, int], legend: Legend | None
) -> list[tuple[int | str, drawing.Picture]]:
    """(id, picture, still without its thumbnail) of each cell of a tile."""
    shown = atlas.cells.of_tile(*place)
    ids = [atlas.id(row) for row in shown.rows]
    key, value = f"t.{store.quoted(source.key)}", legend.sql if legend else "null"
    rows = conn.execute(
        f"select {key}, {value} from {store.quoted(source.table)} t "
        f"where {key} in ({', '.join('?' * len(ids))})",
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
                legend.of(values[id]) if legend else None,
                int(count) - 1 if is_deepest else 0,
            ),
        )
        for id, count, column, line in zip(ids, shown.counts, shown.columns, shown.lines)
        if id in values  # else its row was deleted by hand
    ]


def _pictures(conn, source: Source, shown: list) -> list[drawing.Picture]:
    return [replace(picture, jpeg=store.thumbnail(conn, source.table, id)) for id, picture in shown]


def _paint(pictures: list[drawing.Picture], scale: int) -> bytes:
    return drawing.encoded(drawing.draw(pictures, CELLS_A_TILE, drawing.TILE * scale))


# The page and its data


@page
async def map(datasette, request, source):
    return await (_data if is_json(request) else _page)(datasette, request, source)


async def _page(datasette, request, source):
    options = options_of(request)
    atlas = missing = None
    try:
        atlas = await atlas_of(source, options)
        space = atlas.space
    except NoMap as ex:
        missing, space = ex, ex.space
    spaces, is_usual, columns = await source.db.execute_fn(
        lambda conn: (
            [each.name for each in store.spaces(conn, source.table)],
            usual_space(conn, source).id == space.id,
            colours.columns(conn, source),
        )
    )
    context = {
        **common_context(source, options),
        "space": space,
        "spaces": spaces,
        "is_usual": is_usual,
        "columns": columns,
        "atlas": atlas,
        "interpolated": 0 if missing else int(np.count_nonzero(~atlas.fitted)),
        "missing": missing,
        "can_stream": datasette.setting("allow_csv_stream"),
        "alternate_url_json": f"{source.map}.json{options.query()}",
    }
    return await html_answer(datasette, request, "imgsim_map.html", context)


async def _data(datasette, request, source):
    options = options_of(request, MAX_ROWS)
    wanted = Wanted.of(request)
    atlas = await atlas_of(source, options)
    legend = await drawn(atlas).legend(source, wanted.column) if wanted.column else None
    named = await _by_name(source, atlas, wanted) if wanted.ids or wanted.text else None
    rows, count, following = await source.db.execute_fn(
        lambda conn: _found(conn, source, options, atlas, wanted, named)
    )
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": atlas.space.name,
            "query": {},
            "rows": rows,
            "count": count,
            "legend": legend and legend.legend(),
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


def _found(
    conn, source: Source, options: Options, atlas: Atlas, wanted: Wanted, named: list[int] | None
) -> tuple[list[dict], int, str | None]:
    """What JSON says of one page of images, how many there are, and `_next` of what follows."""
    if named is not None:
        return _described(conn, source, options, atlas, named, None, True), len(named), None
    rows, counts = _rows_within(atlas, wanted)
    some = slice(options.start, options.start + options.size)
    following = str(some.stop) if len(rows) > some.stop else None
    shown = counts if counts is None else counts[some]
    described = _described(conn, source, options, atlas, rows[some], shown, False)
    return described, len(rows), following


def _rows_within(atlas: Atlas, wanted: Wanted) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of the atlas, and how many images each stands for if only those of a zoom count."""
    if wanted.zoom is None:
        bounds = wanted.bounds
        return (np.arange(len(atlas)) if bounds is None else atlas.inside(*bounds)), None
    if wanted.zoom > atlas.cells.deepest:
        raise Refused(404, f"The map has zooms 0 to {atlas.cells.deepest}, not {wanted.zoom}")
    cells = atlas.cells
    shown = (
        cells.within(wanted.zoom, wanted.bounds) if wanted.bounds else cells.of_zoom(wanted.zoom)
    )
    return shown.rows, shown.counts


async def _by_name(source: Source, atlas: Atlas, wanted: Wanted) -> list[int]:
    """Rows of the images that are named, or that the text finds. Raises Refused."""
    if wanted.ids:
        ids = await source.db.execute_fn(lambda conn: _keys(conn, source, wanted.ids))
    else:
        ids = await source.db.execute_fn(lambda conn: _keys(conn, source, (wanted.text,), False))
        ids = list(dict.fromkeys([*ids, *await _with_text(source, wanted.text)]))
    rows = (atlas.row(id) for id in ids)
    return [row for row in rows if row is not None][:NAMES_FOUND]


def _keys(conn, source: Source, texts: tuple[str, ...], must_exist: bool = True) -> list:
    """The keys that texts name, in their order. Raises Refused where a single one does not."""
    found = []
    for text in texts:
        try:
            found.append(find_key(conn, source, text))
        except Refused:
            if must_exist and len(texts) == 1:
                raise
    return found


async def _with_text(source: Source, text: str) -> list:
    """The keys of images with a text in their name, the shortest name first."""
    if not source.label:
        return []
    key, table = f"t.{store.quoted(source.key)}", store.quoted(source.table)
    label = without_blobs(f"t.{store.quoted(source.label)}")
    sql = (
        f"select {key} from {table} t where instr(lower({label}), lower(:text)) "
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
    known = tiles(conn, source, options, [(id, None) for id in ids])
    found = []
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
        found.append(about)
    return found


def _columns(conn, source: Source, id) -> dict:
    """The values of an image's row that JSON knows."""
    key, table = store.quoted(source.key), store.quoted(source.table)
    names = ", ".join(
        f"{without_blobs(store.quoted(name))} as {store.quoted(name)}"
        for name in [source.key, *colours.columns(conn, source)]
    )
    cursor = conn.execute(f"select {names} from {table} where {key} = ?", [id])
    row = zip([name for name, *_ in cursor.description], cursor.fetchone() or ())
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row
    }
