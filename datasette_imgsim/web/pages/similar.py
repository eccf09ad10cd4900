"""The similar page: one picture, and the images most like it."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from datasette.utils import tilde_decode, tilde_encode

from ...db.atlas import read_point
from ...db.spaces import Space, all_spaces
from ...ingest.originals import Original
from ...search import ranking, reranking
from ...search.graph import NoNeighbours
from ...search.index import Index
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
from ..chooser import chooser, may_look
from ..levels import level_words, presets
from ..options import (
    Options,
    chosen_space,
    chosen_weights,
    default_space,
    in_own_space,
    parse_similar_options,
)
from ..refused import Refused
from ..results import Results, Tile, get_index, ranked, similar_sql, tiles
from ..source import Source
from ..urls import sql_url
from . import parts
from .walk import read_walk


class Missing(Exception):
    """A picture cannot be compared in a space; says why."""


class Picture(Protocol):
    """What images are compared with."""

    @property
    def path(self) -> str:
        """The address of its similar page."""

    @property
    def why(self) -> str:
        """The address below which pages say why images are like it."""

    @property
    def id(self) -> int | str | None:
        """The key of the image; None for a picture that is not in the table."""

    @property
    def space(self) -> str | None:
        """The name of the space that is used if a request names none; None: the default one."""

    @property
    def facts(self) -> dict:
        """What JSON says of a picture that is not in the table."""

    def query(
        self,
        conn: sqlite3.Connection,
        index: Index,
        plus: Collection[int],
        minus: Collection[int],
        weights: np.ndarray,
    ) -> ranking.Query:
        """What images are ranked by, with rows of examples. Raises Missing."""

    def originals(self, conn: sqlite3.Connection, source: Source) -> list[Original]:
        """Where it can be decoded from, best first."""


@dataclass(frozen=True)
class StoredImage:
    """An image of the table, as what images are compared with."""

    id: int | str
    path: str
    why: str
    space: None = None

    @classmethod
    def found(cls, conn: sqlite3.Connection, source: Source, text: str) -> StoredImage:
        """The image that a request names. Raises Refused."""
        id = source.find(conn, text)
        return cls(id, source.urls.similar(id), source.urls.why(id))

    @property
    def facts(self) -> dict:
        return {}

    def query(
        self,
        conn: sqlite3.Connection,
        index: Index,
        plus: Collection[int],
        minus: Collection[int],
        weights: np.ndarray,
    ) -> ranking.Query:
        """What images are ranked by. Raises Missing for an image without a vector."""
        row = index.row(conn, self.id)
        if row is None:
            raise Missing(
                f"The image {str(self.id)!r} has no vector in the space {index.space.name!r}: "
                "run 'datasette imgsim embed' again, or choose another space"
            )
        return ranking.query_of_examples(conn, index, row, plus, minus, weights)

    def originals(self, conn: sqlite3.Connection, source: Source) -> list[Original]:
        """Where the server may decode it from, best first."""
        return source.originals(conn, self.id)


@dataclass(frozen=True)
class SimilarPage:
    """What a similar page shows."""

    picture: Picture
    image: Tile | None
    """The image of the table that is the picture; None for one that is not in the table."""
    options: Options
    """With the examples' keys as they are stored, each once."""
    space: Space
    spaces: list[str]
    is_default: bool
    """Whether the space is the one that is used if a request names none."""
    level_weights: dict[str, float]
    rerank: bool
    """Whether the results are in order of mutual likeness."""
    not_reranked: NoNeighbours | None
    """Why they are not, if a request asks for it."""
    plus: list[Tile]
    minus: list[Tile]
    place: tuple[float, float] | None
    """x and y on the map, 0 to 256."""
    sql: str | None
    """The query for the same results; None for a picture that is not in the table, or a part."""
    results: Results | None
    """None while the space is loading, and for a picture that cannot be compared."""
    loading: Loading | None
    missing: str | None
    """Why there can be no results."""


@page
async def similar(datasette, request, source):
    text = tilde_decode(request.url_vars["id"])
    return await answer_similar(
        datasette, request, source, lambda conn: StoredImage.found(conn, source, text)
    )


async def answer_similar(
    datasette,
    request,
    source: Source,
    find: Callable[[sqlite3.Connection], Picture],
    headers: dict | None = None,
):
    """The similar page of the picture that `find` gives, or its JSON, with these headers."""
    options = parse_similar_options(request)
    if options.part:
        find = await parts.part_found(request, source, options, find)
    whole = options.weaker or is_json(request)
    content = await source.db.execute_fn(
        lambda conn: _read_page(conn, source, options, find(conn), whole)
    )
    options, picture = content.options, content.picture
    path, following = picture.path, content.results.next if content.results else None
    walk = None
    if content.image:
        walk = await read_walk(source, options, content.space, content.image.id)
    if is_json(request):
        if content.loading:
            raise content.loading
        if content.missing:
            raise Refused(404, content.missing)
        if content.not_reranked:
            raise content.not_reranked
        return json_answer(
            datasette,
            {
                "ok": True,
                "space": content.space.name,
                "query": {
                    **_json_of_picture(content),
                    "level_weights": content.level_weights,
                    "plus": [tile.id for tile in content.plus],
                    "minus": [tile.id for tile in content.minus],
                    "rerank": content.rerank,
                },
                "cut": content.results.json_cut(),
                "rows": [tile.json() for tile in content.results.tiles],
                **({"walk": walk.json()} if walk and options.walk_to else {}),
                **next_link(source, request, following, f"{path}.json{options.paged(following)}"),
            },
            headers=headers,
        )
    start = options.start
    previous = str(max(0, start - options.size)) if start > options.size else None
    context = {
        **common_context(source, options),
        "content": content,
        "walk": walk,
        "end_walk_url": path + replace(options, walk_to=None).paged(options.next),
        "presets": presets(content.space),
        "words": level_words(list(content.space.levels)),
        "path": path,
        "start": start,
        "weaker_url": weaker_url(content, path),
        "next_url": path + options.paged(following) if following else None,
        "previous_url": path + options.paged(previous) if start else None,
        "alternate_url_json": f"{path}.json{options.paged(options.next)}",
        "upload": chooser(source, request.actor, content.space),
        "may_look": may_look(source, request.actor, content.space),
        "why_url": lambda id: f"{picture.why}/{tilde_encode(str(id))}{options.explained()}",
    }
    if content.image:
        context |= {
            "map_url": source.urls.map + options.query(level_weights=None, id=content.image.id),
            "rows_like_url": source.urls.rows_like(content.image.id),
            "sql_url": await sql_url(datasette, request.actor, source.db.name, content.sql),
        }
    status = 404 if content.missing else 200
    headers = NOT_KEPT if content.loading else headers
    return await html_answer(datasette, request, "imgsim_similar.html", context, status, headers)


def _json_of_picture(content: SimilarPage) -> dict:
    crop = {"crop": list(content.options.part)} if content.options.part else {}
    if content.image is None:
        return content.picture.facts | crop
    place = dict(zip("xy", content.place or ()))
    image = content.image
    return {"id": image.id, "href": image.href, "thumbnail": image.thumbnail, **place, **crop}


def _read_page(
    conn, source: Source, options: Options, picture: Picture, whole: bool
) -> SimilarPage:
    options = in_own_space(conn, source, options, picture.space)
    space = chosen_space(conn, source, options)
    weights, level_weights = chosen_weights(space, options)
    plus, minus = (
        list(dict.fromkeys(source.find(conn, key) for key in keys))
        for keys in (options.plus, options.minus)
    )
    options = replace(options, plus=tuple(map(str, plus)), minus=tuple(map(str, minus)))
    own = [] if picture.id is None else [picture.id]
    asked = [*own, *plus, *minus]
    rerank, not_reranked = _rerank(conn, options, space, weights)
    results = loading = missing = None
    try:
        index = get_index(conn, source, space)
        row_of = functools.partial(index.row, conn)
        query = picture.query(
            conn,
            index,
            ranking.example_rows("plus", plus, row_of),
            ranking.example_rows("minus", minus, row_of),
            weights,
        )
        results = ranked(conn, source, options, index, query, whole, asked, rerank)
    except Loading as ex:
        loading = ex
    except Missing as ex:
        missing = str(ex)
    ends = bool(results and results.cut and results.cut.alike != 0 and not whole)
    beside = [*asked, *(tile.id for tile in results.tiles)] if results else asked
    place = read_point(conn, space, picture.id) if own else None
    sql = None
    if own and not options.part:
        asked_in_sql = _ranking(options, plus, minus, rerank)
        sql = similar_sql(conn, source, space, picture.id, options.size, asked_in_sql, alike=ends)
    return SimilarPage(
        picture=picture,
        image=tiles(conn, source, options, own, beside)[0] if own else None,
        options=options,
        space=space,
        spaces=[listed.name for listed in all_spaces(conn, source.table.name)],
        is_default=space == default_space(conn, source),
        level_weights=level_weights,
        rerank=rerank,
        not_reranked=not_reranked,
        plus=tiles(conn, source, options, plus, beside),
        minus=tiles(conn, source, options, minus, beside),
        place=place and place[:2],
        sql=sql,
        results=results,
        loading=loading,
        missing=missing,
    )


def _rerank(
    conn, options: Options, space: Space, weights: np.ndarray
) -> tuple[bool, NoNeighbours | None]:
    """Whether results are to be in order of mutual likeness; why not, if a request asks for it."""
    if options.rerank is False:
        return False, None
    try:
        reranking.check(conn, space, weights)
    except NoNeighbours as ex:
        return False, ex if options.rerank else None
    return True, None


def weaker_url(content: SimilarPage, path: str) -> str | None:
    """The address of the page that goes on where this one ends, if weaker results follow."""
    options, results = content.options, content.results
    if not (results and results.weaker):
        return None
    if int(results.weaker) == options.start + options.size:
        options = replace(options, next=results.weaker)
    return f"{path}{options.with_weaker(True)}#weaker"


def _ranking(options: Options, plus: list, minus: list, rerank: bool) -> dict:
    """The options that make the SQL function rank like the page."""
    weights = options.level_weights
    sql_options = {
        "level_weights": ranking.parse_level_weights(weights) if weights else None,
        "plus": plus,
        "minus": minus,
        "rerank": rerank,
    }
    return {name: value for name, value in sql_options.items() if value}
