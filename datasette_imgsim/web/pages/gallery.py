"""The gallery page: all images of a source table, its spaces and failures, and the upload form."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from ...db.atlas import has_atlas
from ...db.spaces import Space, all_spaces, count_vectors
from ...db.tables import WHOLE_NUMBER
from ...ingest import settings
from ...search.indexes import Loading
from .. import compat
from ..answers import (
    NOT_KEPT,
    common_context,
    html_answer,
    is_json,
    json_answer,
    next_link,
    page,
)
from ..options import (
    Options,
    bounds_params,
    chosen_space,
    chosen_weights,
    parse_bounds,
    parse_options,
    within_bounds,
)
from ..refused import Refused
from ..results import Tile, get_index, tiles
from ..source import Source
from .atlas import check_map, map_command

FAILURES_SHOWN = 100


@dataclass(frozen=True)
class Contents:
    """What a gallery page shows, read from the database."""

    images: int
    """How many rows the table has."""
    spaces: list[dict]
    space: Space | None
    """The chosen space; None if the table has none yet."""
    vectors: int
    """How many vectors the chosen space has."""
    failures: list[dict]
    """The first FAILURES_SHOWN."""
    failed: int
    """How many failures there are."""
    tiles: list[Tile]
    next: str | None
    """The `_next` of the page that follows, if there is one."""
    note: str | None
    """Why there can be no search at present."""
    loading: bool
    """Whether the note is about a space that is being loaded."""
    has_map: bool
    map_command: str | None
    """The command that makes the map, if there is none and there are vectors."""


@page
async def gallery(datasette, request, source):
    options = parse_options(request)
    contents = await source.db.execute_fn(lambda conn: _contents(conn, source, options))
    headers = NOT_KEPT if contents.loading else None
    if is_json(request):
        body = _json(source, request, options, contents)
        return json_answer(datasette, body, headers=headers)
    context = {
        **common_context(source, options),
        "contents": contents,
        "file": source.file,
        "upload": _upload(source, request, options, contents),
        "failures_url": await _failures_url(datasette, request, source, contents),
        "next_url": source.urls.gallery + options.paged(contents.next) if contents.next else None,
        "alternate_url_json": f"{source.urls.gallery}.json{options.paged(options.next)}",
    }
    return await html_answer(datasette, request, "imgsim_gallery.html", context, headers=headers)


def _contents(conn, source: Source, options: Options) -> Contents:
    spaces = all_spaces(conn, source.table.name)
    is_needed = spaces or options.space or options.bbox
    space = chosen_space(conn, source, options) if is_needed else None
    if space:
        chosen_weights(space, options)  # refuses a wrong parameter here, not at each link
    counts = count_vectors(conn)
    failed = "from imgsim_failures where source_table = ?"
    failures = conn.execute(
        f"select source, error {failed} order by source limit {FAILURES_SHOWN}", [source.table.name]
    )
    shown, following = _rows(conn, source, options, space)
    note, loading = _note(conn, source, space)
    vectors = counts.get(space.id, 0) if space else 0
    has_map = bool(space) and has_atlas(conn, space)
    return Contents(
        images=conn.execute(f"select count(*) from {source.table.rows_sql}").fetchone()[0],
        spaces=[_described(listed, counts) for listed in spaces],
        space=space,
        vectors=vectors,
        failures=[{"source": file, "error": error} for file, error in failures],
        failed=conn.execute(f"select count(*) {failed}", [source.table.name]).fetchone()[0],
        tiles=shown,
        next=following,
        note=note,
        loading=loading,
        has_map=has_map,
        map_command=map_command(conn, source, space) if vectors and not has_map else None,
    )


def _rows(
    conn, source: Source, options: Options, space: Space | None
) -> tuple[list[Tile], str | None]:
    """One page of images in the order of their key, and the `_next` of the page that follows."""
    key = source.table.key_sql
    where, params = ["1"], {"limit": options.size + 1}
    if options.bbox and space:
        bounds = parse_bounds(options.bbox)
        check_map(conn, source, space)
        where.append(within_bounds(key))
        params |= bounds_params(space, bounds)
    if options.next is not None:
        where.append(f"{key} > :after")
        params["after"] = _after(conn, source, options.next)
    rows = conn.execute(
        f"select {key} from {source.table.rows_sql} where {' and '.join(where)} "
        f"order by {key} limit :limit",
        params,
    )
    ids = [id for (id,) in rows]
    shown = tiles(conn, source, options, ids[: options.size])
    return [tile for tile in shown if tile], (
        str(ids[options.size - 1]) if len(ids) > options.size else None
    )


def _after(conn, source: Source, text: str):
    """The key, as stored, after which a page begins; its row may have been deleted meanwhile.

    Raises Refused if the text cannot be a key.
    """
    table = source.table
    key = table.find(conn, text)
    if key is not None:
        return key
    # SQLite sorts numbers before text: if the last key is a number, all keys are.
    (kind,) = conn.execute(f"select typeof(max({table.key_sql})) from {table.rows_sql}").fetchone()
    if kind != "integer":
        return text
    if not WHOLE_NUMBER.fullmatch(text):
        raise Refused(400, f"_next is the key of an image, not {text!r}")
    return max(-(2**63), min(2**63 - 1, int(text)))


def _note(conn, source: Source, space: Space | None) -> tuple[str | None, bool]:
    """(why there can be no search, whether the space is being loaded); (None, False) if it can."""
    if space is None:
        return None, False
    try:
        get_index(conn, source, space, wait=0)
    except Loading as ex:
        return str(ex), True
    except Refused as ex:
        return ex.message, False
    return None, False


def _described(space: Space, counts: dict[int, int]) -> dict:
    return {
        "name": space.name,
        "is_default": space.is_default,
        "model": space.model,
        "levels": list(space.levels),
        "pooling": space.pooling,
        "dimensions": space.dimensions,
        "dtype": space.dtype,
        "vectors": counts.get(space.id, 0),
    }


def _upload(source: Source, request, options: Options, contents: Contents) -> dict | None:
    """What the upload form needs; None if the actor may not search with an image."""
    if not contents.vectors or not source.config.may_upload(request.actor):
        return None
    return {
        "url": source.urls.search + options.query(),
        "max_bytes": source.config.max_upload_bytes,
        "max_mb": source.config.max_upload_mb,
        "unavailable": settings.unavailable(contents.space, source.folder),
    }


async def _failures_url(datasette, request, source: Source, contents: Contents) -> str | None:
    """The address of all failures, if there are more than shown and the actor may view them."""
    table = "imgsim_failures"
    if contents.failed <= FAILURES_SHOWN or not await compat.can_view(
        datasette, request.actor, source.db.name, table
    ):
        return None
    query = urllib.parse.urlencode({"source_table__exact": source.table.name})
    return f"{datasette.urls.table(source.db.name, table)}?{query}"


def _json(source: Source, request, options: Options, contents: Contents) -> dict:
    return {
        "ok": True,
        "space": contents.space.name if contents.space else None,
        "rows": [tile.json() for tile in contents.tiles],
        **next_link(source, request, f"{source.urls.gallery}.json", options, contents.next),
        "loading": contents.note if contents.loading else None,
        "counts": {
            "images": contents.images,
            "vectors": contents.vectors,
            "failures": contents.failed,
        },
        "spaces": contents.spaces,
        "failures": contents.failures,
    }
