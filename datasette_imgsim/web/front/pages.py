"""What stands on top of Datasette's own pages: some pictures, or the picture of a row."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from datasette import Forbidden
from datasette.utils import tilde_decode
from markupsafe import Markup

from ...db import duplicates, groups
from ...db.atlas import has_atlas
from ...errors import ImgsimError
from ...search import ranking
from ...search.indexes import Loading
from .. import compat
from ..options import Options, default_space
from ..refused import Refused
from ..results import Tile, get_index, ranked, tiles
from ..source import Source, find_source
from ..table.cells import source_tables

SHOWN = 12
LIKES = 8
TABLES_AT_HOME = 6
"""The page of the instance shows the pictures of so many tables."""
ALL = Options(space=None, level_weights=None, size=SHOWN, next=None)
BEST = Options(space=None, level_weights=None, size=LIKES, next=None)


@dataclass(frozen=True)
class Strip:
    """Some of the pictures of a source table, from all parts of it."""

    source: Source
    tiles: list[Tile]
    map: str | None
    """The address of its map; None if there is none."""
    groups: str | None
    """The address of its groups; None if there are none."""
    duplicates: str | None
    """The address of its duplicates; None if there are none."""


@dataclass(frozen=True)
class Picture:
    """The picture of a row, and those most like it."""

    source: Source
    tile: Tile
    large: str | None
    map: str | None
    """The address of its map; None if there is none."""
    likes: list[Tile]
    """None while vectors are loaded, and where there is nothing to rank, or too much."""
    loading: str | None
    """How far the vectors are loaded, while they are."""


async def instance(datasette, request) -> Markup:
    """Pictures of the first tables, for the page that lists the databases."""
    strips: list[Strip] = []
    for name in list(datasette.databases):
        if len(strips) < TABLES_AT_HOME and await _has_visible(datasette, request.actor, name):
            strips += await _strips(datasette, request.actor, name)
    context = {"strips": strips[:TABLES_AT_HOME], "at_home": True}
    return await _render(datasette, request, "_imgsim_strips.html", context)


async def _has_visible(datasette, actor, database: str) -> bool:
    """Whether a database has source tables, and the actor may view its page."""
    return bool(await source_tables(datasette, database)) and await compat.can_view_database(
        datasette, actor, database
    )


async def database(datasette, request, name: str) -> Markup:
    """Pictures of each source table, for the page of a database."""
    context = {"strips": await _strips(datasette, request.actor, name), "at_home": False}
    return await _render(datasette, request, "_imgsim_strips.html", context)


async def row(datasette, request, database: str, table: str) -> Markup:
    """The picture of a row, for its page; empty if the row has none."""
    if table not in await source_tables(datasette, database):
        return Markup("")
    try:
        source = await find_source(
            datasette, request.actor, datasette.get_database(database), table
        )
        text = tilde_decode(request.url_vars["pks"])
        picture = await source.db.execute_fn(lambda conn: _picture(conn, source, text))
    except (Forbidden, Refused, ImgsimError, *compat.UNREADABLE):
        return Markup("")  # our own pages say what is wrong
    if picture is None:
        return Markup("")
    return await _render(datasette, request, "_imgsim_row.html", {"picture": picture})


async def _render(datasette, request, template: str, context: dict) -> Markup:
    return Markup(await compat.template(datasette, request, template).render_async(context))


async def _strips(datasette, actor, database: str) -> list[Strip]:
    """A strip for each source table that has thumbnails and that the actor may view."""
    strips = []
    for name in await source_tables(datasette, database):
        try:
            source = await find_source(datasette, actor, datasette.get_database(database), name)
            strip = await source.db.execute_fn(lambda conn, source=source: _strip(conn, source))
        except (Forbidden, Refused, ImgsimError, *compat.UNREADABLE):
            continue
        if strip.tiles:
            strips.append(strip)
    return strips


def _strip(conn, source: Source) -> Strip:
    # Twice as many as are shown, for images without a thumbnail.
    found = tiles(conn, source, ALL, source.table.spread(conn, 2 * SHOWN))
    shown = [tile for tile in found if tile and tile.thumbnail]
    step = max(1, len(shown) / SHOWN)
    chosen = [shown[int(n * step)] for n in range(min(SHOWN, len(shown)))]
    try:
        space = default_space(conn, source)
    except ImgsimError:  # a table without a space
        return Strip(source, chosen, None, None, None)
    urls = source.urls
    return Strip(
        source,
        chosen,
        urls.map if has_atlas(conn, space) else None,
        urls.groups if groups.has_groups(conn, space) else None,
        urls.duplicates if duplicates.has_groups(conn, space) else None,
    )


def _map(conn, source: Source) -> str | None:
    try:
        return source.urls.map if has_atlas(conn, default_space(conn, source)) else None
    except ImgsimError:  # a table without a space
        return None


def _picture(conn, source: Source, text: str) -> Picture | None:
    """The picture of a row and its likes; None if the row has no thumbnail."""
    id = source.find(conn, text)
    likes: list[Tile] = []
    loading = None
    try:
        likes = _likes(conn, source, id)
    except Loading as ex:
        loading = str(ex)
    except (Refused, ImgsimError):
        pass  # there is the picture all the same
    (tile,) = tiles(conn, source, BEST, [id], [like.id for like in likes])
    large = source.large(id)
    if tile is None or not (tile.thumbnail or large):
        return None
    map = _map(conn, source)
    place = f"{map}?{urllib.parse.urlencode({'id': str(id)})}" if map else None
    return Picture(source, tile, large, place, likes, loading)


def _likes(conn, source: Source, id) -> list[Tile]:
    """The images most like an image; none if it has no vector. Raises Loading, ImgsimError.

    None either in a space of so many images that its vectors are in the database only: ranking
    them takes about a second, which a page that did without for long must not cost.
    """
    space = default_space(conn, source)
    index = get_index(conn, source, space, wait=0)
    row = index.row(conn, id)
    if row is None or index.most_hits is not None:
        return []
    query = ranking.query_of_image(conn, index, row, ranking.weights(space))
    return ranked(conn, source, BEST, index, query, [id]).tiles
