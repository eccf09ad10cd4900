"""The similar page: one image, and the images most like it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from datasette.utils import tilde_decode

from ...db.atlas import read_point
from ...db.spaces import Space, all_spaces
from ...search import ranking
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
from ..levels import level_words, presets
from ..options import Options, chosen_space, chosen_weights, default_space, parse_options
from ..refused import Refused
from ..results import Results, Tile, get_index, ranked, similar_sql, tiles
from ..source import Source
from ..urls import sql_url


@dataclass(frozen=True)
class SimilarPage:
    """What a similar page shows."""

    image: Tile
    options: Options
    """With the examples' keys as they are stored, each once."""
    space: Space
    spaces: list[str]
    is_default: bool
    """Whether the space is the one that is used if a request names none."""
    level_weights: dict[str, float]
    plus: list[Tile]
    minus: list[Tile]
    place: tuple[float, float] | None
    """x and y on the map, 0 to 256."""
    sql: str
    results: Results | None
    """None while the space is loading, and for an image without a vector."""
    loading: Loading | None
    missing: str | None
    """Why there can be no results."""


@page
async def similar(datasette, request, source):
    options = parse_options(request)
    text = tilde_decode(request.url_vars["id"])
    whole = options.weaker or is_json(request)
    content = await source.db.execute_fn(
        lambda conn: _read_page(conn, source, options, text, whole)
    )
    options, path = content.options, source.urls.similar(content.image.id)
    following = content.results.next if content.results else None
    if is_json(request):
        if content.loading:
            raise content.loading
        if content.missing:
            raise Refused(404, content.missing)
        return json_answer(
            datasette,
            {
                "ok": True,
                "space": content.space.name,
                "query": {
                    "id": content.image.id,
                    "href": content.image.href,
                    "thumbnail": content.image.thumbnail,
                    **({"x": content.place[0], "y": content.place[1]} if content.place else {}),
                    "level_weights": content.level_weights,
                    "plus": [tile.id for tile in content.plus],
                    "minus": [tile.id for tile in content.minus],
                },
                "cut": content.results.json_cut(),
                "rows": [tile.json() for tile in content.results.tiles],
                **next_link(source, request, following, f"{path}.json{options.paged(following)}"),
            },
        )
    start = options.start
    previous = str(max(0, start - options.size)) if start > options.size else None
    context = {
        **common_context(source, options),
        "content": content,
        "presets": presets(content.space),
        "words": level_words(list(content.space.levels)),
        "path": path,
        "start": start,
        "weaker_url": weaker_url(content, path),
        "next_url": path + options.paged(following) if following else None,
        "previous_url": path + options.paged(previous) if start else None,
        "map_url": source.urls.map + options.query(level_weights=None, id=content.image.id),
        "rows_like_url": source.urls.rows_like(content.image.id),
        "sql_url": await sql_url(datasette, request.actor, source.db.name, content.sql),
        "alternate_url_json": f"{path}.json{options.paged(options.next)}",
    }
    status = 404 if content.missing else 200
    headers = NOT_KEPT if content.loading else None
    return await html_answer(datasette, request, "imgsim_similar.html", context, status, headers)


def _read_page(conn, source: Source, options: Options, text: str, whole: bool) -> SimilarPage:
    space = chosen_space(conn, source, options)
    weights, level_weights = chosen_weights(space, options)
    id = source.find(conn, text)
    plus, minus = (
        list(dict.fromkeys(source.find(conn, key) for key in keys))
        for keys in (options.plus, options.minus)
    )
    options = replace(options, plus=tuple(map(str, plus)), minus=tuple(map(str, minus)))
    asked = [id, *plus, *minus]
    results = loading = missing = None
    try:
        index = get_index(conn, source, space)
        row = index.row(id)
        if row is None:
            missing = (
                f"The image {text!r} has no vector in the space {space.name!r}: "
                "run 'datasette imgsim embed' again, or choose another space"
            )
        else:
            examples = (
                ranking.example_rows(name, ids, index.row)
                for name, ids in (("plus", plus), ("minus", minus))
            )
            query = ranking.query_of_examples(conn, index, row, *examples, weights)
            results = ranked(conn, source, options, index, query, whole, asked)
    except Loading as ex:
        loading = ex
    place = read_point(conn, space, id)
    ends = bool(results and results.cut and results.cut.alike != 0 and not whole)
    beside = [*asked, *(tile.id for tile in results.tiles)] if results else asked
    return SimilarPage(
        image=tiles(conn, source, options, [id], beside)[0],
        options=options,
        space=space,
        spaces=[listed.name for listed in all_spaces(conn, source.table.name)],
        is_default=space == default_space(conn, source),
        level_weights=level_weights,
        plus=tiles(conn, source, options, plus, beside),
        minus=tiles(conn, source, options, minus, beside),
        place=place and place[:2],
        sql=similar_sql(
            conn, source, space, id, options.size, _ranking(options, plus, minus), alike=ends
        ),
        results=results,
        loading=loading,
        missing=missing,
    )


def weaker_url(content: SimilarPage, path: str) -> str | None:
    """The address of the page that goes on where this one ends, if weaker results follow."""
    options, results = content.options, content.results
    if not (results and results.weaker):
        return None
    if int(results.weaker) == options.start + options.size:
        options = replace(options, next=results.weaker)
    return f"{path}{options.with_weaker(True)}#weaker"


def _ranking(options: Options, plus: list, minus: list) -> dict:
    """The options that make the SQL function rank like the page."""
    weights = options.level_weights
    sql_options = {
        "level_weights": ranking.parse_level_weights(weights) if weights else None,
        "plus": plus,
        "minus": minus,
    }
    return {name: value for name, value in sql_options.items() if value}
