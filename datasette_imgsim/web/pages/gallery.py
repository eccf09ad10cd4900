"""The gallery page: all images of a source table, its spaces and failures."""

from __future__ import annotations

import urllib.parse
from contextlib import suppress
from dataclasses import dataclass, replace

from ...db import duplicates, groups
from ...db.atlas import has_atlas
from ...db.spaces import Space, all_spaces, count_vectors
from ...db.tables import WHOLE_NUMBER
from ...limits import LIMITS
from ...search.indexes import Loading
from ...search.results import Hit
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
from ..chooser import chooser
from ..options import PAGE_SIZE, Options, chosen_space, chosen_weights, parse_options
from ..query import OWN_OF_GALLERY, Query
from ..refused import Refused
from ..results import Tile, get_index, tiles
from ..selection import Selection, best_first, count_all, select
from ..source import Source
from ..views import Views
from .atlas import map_command
from .groups import cards

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
    map_command: str | None
    """The command that makes the map, if there is none and there are vectors."""
    has_duplicates: bool
    """Whether groups of duplicates are stored for the chosen space."""
    has_groups: bool
    """Whether groups of images that belong together are stored for it."""


@dataclass(frozen=True)
class Asked:
    """What a query asks for; without one, the gallery shows all images in the order of the key."""

    query: Query
    selection: Selection | None = None
    """None without a query, and while the space of a filter by likeness is being loaded."""
    keys: tuple = ()
    """The images of the page."""
    next: str | None = None
    count: int | None = None
    """How many images are selected; None if they are too many to count."""
    is_ranked: bool = False
    """Whether they are in order of likeness."""
    waiting: str | None = None
    """Why nothing can be selected yet."""

    @property
    def is_all(self) -> bool:
        """Whether nothing is asked for."""
        return self.selection is None and self.waiting is None

    @property
    def words(self) -> str:
        """The filters and the order in words."""
        return f"{self.selection.words}, best first" if self.is_ranked else self.selection.words


@page
async def gallery(datasette, request, source):
    options = parse_options(request)
    query = Query.of_page(request.query_string, OWN_OF_GALLERY)
    try:
        asked = await _asked(source, request.actor, options, query)
    except Loading as ex:
        if is_json(request):
            raise
        asked = Asked(query, waiting=str(ex))
    contents = await source.db.execute_fn(lambda conn: _contents(conn, source, options, asked))

    def url(base: str, next: str | None, query: Query = query) -> str:
        return query.page_url(base, _own(options, next))

    address, json_address = source.urls.gallery, f"{source.urls.gallery}.json"
    headers = NOT_KEPT if contents.loading or asked.waiting else None
    if is_json(request):
        link = next_link(source, request, contents.next, url(json_address, contents.next))
        return json_answer(datasette, _json(contents, asked) | link, headers=headers)
    likeness = asked.selection and asked.selection.likeness
    faceted = asked.selection
    if asked.is_all and options.next is None and contents.images <= LIMITS.rows_for_facets:
        with suppress(Refused):  # the gallery of all images needs Datasette for nothing else
            faceted = await select(source, request.actor, query, with_facets=True)
    # Cards choose a group of all images: among those of another filter there may be none of it.
    has_cards = contents.has_groups and options.next is None and not query.in_group(None).is_filter
    context = {
        **common_context(source, options),
        "cards": await cards(source, options, contents.space, query) if has_cards else [],
        "contents": contents,
        "asked": asked,
        "faceted": faceted,
        "views": Views("Gallery", query, source.urls, likeness),
        "file": source.file,
        "upload": chooser(source, request.actor, contents.space) if contents.vectors else None,
        "failures_url": await _failures_url(datasette, request, source, contents),
        "url_of": lambda query: url(address, None, query),
        "first_url": url(address, None),
        "next_url": url(address, contents.next) if contents.next else None,
        "alternate_url_json": url(json_address, options.next),
    }
    return await html_answer(datasette, request, "imgsim_gallery.html", context, headers=headers)


def _own(options: Options, next: str | None) -> dict:
    """The gallery's own parameters, beside the space, which is in the query."""
    return {
        "level_weights": options.level_weights,
        "_size": options.size if options.size != PAGE_SIZE else None,
        "_next": next,
    }


async def _asked(source: Source, actor, options: Options, query: Query) -> Asked:
    """What a query asks for. Raises Refused and Loading."""
    if not query.asks and not await _is_arranged(source):
        return Asked(query)
    is_ranked = bool(query.get("_similar_to")) and not (
        query.get("_sort") or query.get("_sort_desc")
    )
    on_first = options.next is None and not is_ranked
    # On later pages, Datasette counts only what is left.
    selection = await select(
        source, actor, query, options.size if on_first else 0, with_facets=True
    )
    if is_ranked:
        hits = await best_first(source, selection)
        keys = tuple(hit.id for hit in hits[options.start : options.start + options.size])
        end = options.start + options.size
        following = str(end) if len(hits) > end else None
        return Asked(query, selection, keys, following, len(hits), is_ranked)
    part = selection
    if not on_first:
        part = await select(source, actor, query, options.size, options.next)
    count = selection.count
    if count is None:
        count = await count_all(source, selection)
    return Asked(query, selection, tuple(part.keys), part.next, count)


async def _is_arranged(source: Source) -> bool:
    """Whether facets, or an order of rows, are configured for the table."""
    settings = await compat.table_config(source.datasette, source.db.name, source.table.name)
    return any(settings.get(name) for name in ("facets", "sort", "sort_desc"))


def _contents(conn, source: Source, options: Options, asked: Asked) -> Contents:
    spaces = all_spaces(conn, source.table.name)
    space = chosen_space(conn, source, options) if spaces or options.space else None
    if space:
        chosen_weights(space, options)  # refuses a wrong parameter here, not at each link
    counts = count_vectors(conn)
    failed = "from imgsim_failures where source_table = ?"
    failures = conn.execute(
        f"select source, error {failed} order by source limit {FAILURES_SHOWN}", [source.table.name]
    )
    shown, following = _page(conn, source, options, asked)
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
        map_command=map_command(conn, source, space) if vectors and not has_map else None,
        has_duplicates=bool(space) and duplicates.has_groups(conn, space),
        has_groups=bool(space) and groups.has_groups(conn, space),
    )


def _page(conn, source: Source, options: Options, asked: Asked) -> tuple[list[Tile], str | None]:
    """One page of images, and the `_next` of the page that follows."""
    ids, following = asked.keys, asked.next
    if asked.is_all:
        ids, following = _rows(conn, source, options)
    shown = [tile for tile in tiles(conn, source, options, ids) if tile]
    likeness = asked.selection and asked.selection.likeness
    if likeness:
        shown = [_scored(tile, likeness.hits.get(tile.id)) for tile in shown]
    return shown, following


def _scored(tile: Tile, hit: Hit | None) -> Tile:
    return replace(tile, score=hit.score, percentile=hit.percentile, word=hit.word) if hit else tile


def _rows(conn, source: Source, options: Options) -> tuple[list, str | None]:
    """One page of keys in their order, and the `_next` of the page that follows."""
    key = source.table.key_sql
    where, params = "1", {"limit": options.size + 1}
    if options.next is not None:
        where = f"{key} > :after"
        params["after"] = _after(conn, source, options.next)
    rows = conn.execute(
        f"select {key} from {source.table.rows_sql} where {where} order by {key} limit :limit",
        params,
    )
    ids = [id for (id,) in rows]
    following = str(ids[options.size - 1]) if len(ids) > options.size else None
    return ids[: options.size], following


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


async def _failures_url(datasette, request, source: Source, contents: Contents) -> str | None:
    """The address of all failures, if there are more than shown and the actor may view them."""
    table = "imgsim_failures"
    if contents.failed <= FAILURES_SHOWN or not await compat.can_view(
        datasette, request.actor, source.db.name, table
    ):
        return None
    query = urllib.parse.urlencode({"source_table__exact": source.table.name})
    return f"{datasette.urls.table(source.db.name, table)}?{query}"


def _json(contents: Contents, asked: Asked) -> dict:
    return {
        "ok": True,
        "space": contents.space.name if contents.space else None,
        "rows": [tile.json() for tile in contents.tiles],
        "filtered": contents.images if asked.is_all else asked.count,
        "facets": [] if asked.is_all else [facet.json() for facet in asked.selection.facets],
        "loading": contents.note if contents.loading else None,
        "counts": {
            "images": contents.images,
            "vectors": contents.vectors,
            "failures": contents.failed,
        },
        "spaces": contents.spaces,
        "failures": contents.failures,
    }
