"""Filters of Datasette's own page of a source table: by likeness, by group, by place on the map.

`?_similar_to=42` shows the rows whose image is like that of row 42, `?_in_group=7` those whose
image is in the group 7, `?_in_atlas=x0,y0,x1,y1` those whose image is in a rectangle of the map,
`?_in_wall=` the same of the wall. `_space=NAME` says in which space.
"""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass

from datasette.filters import FilterArguments
from datasette.utils import tilde_encode
from datasette.views.base import DatasetteError

from ...atlas.load import MAP, WALL
from ...db.spaces import Space
from ...db.tables import quoted
from ...errors import ImgsimError, listed
from ...search import ranking
from ...search.calibration import get_calibration
from ...search.engine import EngineError
from ...search.indexes import Loading
from ...search.likeness import ALIKE, FAINT, WORDS
from ...search.results import Hit, reaching
from .. import compat
from ..groups import FACET, check_facet, find_group
from ..options import bounds_params, named_space, parse_bounds, within_bounds
from ..pages.atlas import atlas_of, check_map
from ..refused import Refused
from ..results import get_index, sql_options
from ..source import Source, requested_source

SECONDS_FOR_LOADING = 2


@dataclass(frozen=True)
class Likeness:
    """A filter by likeness, with the images it shows."""

    database: str
    table: str
    id: int | str
    """The image that the others are like."""
    hits: dict[int | str, Hit]
    """The images it shows, by id, best first."""
    minimum: Minimum
    options: dict
    """Those of the SQL functions."""
    text: str
    """The filter in words."""
    name: str
    """The display name of the image."""
    has_thumbnail: bool

    def hit(self, database: str, table: str, id) -> Hit | None:
        return self.hits.get(id) if (database, table) == (self.database, self.table) else None


# For the hooks of cells and menus on the same page, which do not get the request.
current: contextvars.ContextVar[Likeness | None] = contextvars.ContextVar("likeness", default=None)


# The path of the request, likewise.
_path: contextvars.ContextVar[str] = contextvars.ContextVar("path", default="")


def reset_filter_middleware(app):
    """Wraps the ASGI application, so that each request begins without a filter."""

    async def inner(scope, receive, send):
        tokens = current.set(None), _path.set(scope.get("path", ""))
        try:
            await app(scope, receive, send)
        finally:
            current.reset(tokens[0])
            _path.reset(tokens[1])

    return inner


def is_row_page(database: str, table: str, id) -> bool:
    """Whether the request is for Datasette's page of one row."""
    return _path.get().endswith("/" + "/".join(map(tilde_encode, (database, table, str(id)))))


async def filters_from_request(datasette, request):
    """The where clauses for the filters in a request, or None. Raises DatasetteError."""
    filters = [filter for name, filter in FILTERS.items() if any(request.args.getlist(name))]
    counted = request.args.getlist(FACET)
    if not (filters or counted):
        return None
    try:
        source = await requested_source(datasette, request)
        for name in (*FILTERS, "_similar_min", "_space"):
            if len(request.args.getlist(name)) > 1:
                raise Refused(400, f"{name} is there more than once: give it once")
        if counted:
            await _check_facet(source, request.args)
        clauses = [await filter(source, request.args) for filter in filters]
    except Refused as ex:
        raise DatasetteError(ex.message, status=ex.status) from ex
    except Loading as ex:
        raise DatasetteError(f"{ex}: load the page again in a moment", status=503) from ex
    except EngineError as ex:
        raise DatasetteError(str(ex), status=503) from ex
    except ImgsimError as ex:
        raise DatasetteError(str(ex), status=400) from ex
    except compat.UNREADABLE as ex:
        raise DatasetteError(compat.unreadable(ex), status=503) from ex
    return FilterArguments(
        [where for where, _, _ in clauses],
        params={name: value for _, params, _ in clauses for name, value in params.items()},
        human_descriptions=[text for _, _, text in clauses],
    )


async def _check_facet(source: Source, args) -> None:
    """Raises Refused unless the groups can be counted: a facet itself must not raise errors."""
    values, space_name = args.getlist(FACET), args.get("_space") or None
    await source.db.execute_fn(
        lambda conn: check_facet(conn, source, named_space(conn, source, space_name), values)
    )


async def _in_atlas(source: Source, args) -> tuple[str, dict, str]:
    """(where clause, its parameters, the filter in words)"""
    bounds, space, text = await _area(source, args, "_in_atlas", MAP)
    return within_bounds(quoted(source.table.key)), bounds_params(space, bounds), text


async def _in_wall(source: Source, args) -> tuple[str, dict, str]:
    """(where clause, its parameters, the filter in words)"""
    bounds, space, text = await _area(source, args, "_in_wall", WALL)
    atlas = await atlas_of(source, space)
    ids = [atlas.id(row) for row in atlas.wall.inside(*bounds)]
    # The wall is not stored, so the images are named one by one.
    where = f"{quoted(source.table.key)} in (select value from json_each(:imgsim_ids))"
    return where, {"imgsim_ids": json.dumps(ids)}, text


async def _in_group(source: Source, args) -> tuple[str, dict, str]:
    """(where clause, its parameters, the filter in words)"""
    text, space_name = args.get("_in_group"), args.get("_space") or None

    def find(conn):
        space = named_space(conn, source, space_name)
        return space, *find_group(conn, source, space, text)

    space, id, name = await source.db.execute_fn(find)
    where = (
        f"{quoted(source.table.key)} in (select image_key from imgsim_group_members "
        "where space_id = :imgsim_space and group_id = :imgsim_group)"
    )
    params = {"imgsim_space": space.id, "imgsim_group": id}
    return where, params, f"the picture is in the group {name}"


async def _area(source: Source, args, name: str, view: str) -> tuple[tuple, Space, str]:
    """(the rectangle of a parameter, the space it is in, the filter in words). Raises NoMap."""
    bounds = parse_bounds(args.get(name), name)
    space_name = args.get("_space") or None
    space = await source.db.execute_fn(lambda conn: _mapped_space(conn, source, space_name))
    x0, y0, x1, y1 = bounds
    area = f"between x {x0:g} and {x1:g}, y {y0:g} and {y1:g}"
    return bounds, space, f"the picture is on the {view} {area}"


def _mapped_space(conn, source: Source, name: str | None) -> Space:
    """The space of this name, else the default one. Raises NoMap if it has no map."""
    space = named_space(conn, source, name)
    check_map(conn, source, space)
    return space


async def find_likeness(source: Source, args) -> Likeness | None:
    """The filter by likeness that parameters ask for, or None. Raises Refused and Loading."""
    text, space = args.get("_similar_to"), args.get("_space") or None
    if not text:
        return None
    minimum = parse_minimum(args.get("_similar_min"))
    # A CSV stream asks for each of its pages. Which rows pass is looked up in SQL every time.
    return await source.state.remember_found(
        ("likeness", source.table, text, minimum, space),
        lambda: source.db.execute_fn(lambda conn: _like(conn, source, text, minimum, space)),
    )


async def _similar_to(source: Source, args) -> tuple[str, dict, str]:
    """(where clause, its parameters, the filter in words)"""
    likeness = await find_likeness(source, args)
    current.set(likeness)
    # The minimum is checked again: similar_to replaces rows that were deleted by hand by others.
    where = (
        f"{quoted(source.table.key)} in (select json_extract(value, '$.id') from "
        "json_each(similar_to(:imgsim_similar_to, :imgsim_k, :imgsim_options)) "
        f"where {likeness.minimum.sql})"
    )
    params = {
        "imgsim_similar_to": likeness.id,
        "imgsim_k": len(likeness.hits),
        "imgsim_options": json.dumps(likeness.options),
        **likeness.minimum.params,
    }
    return where, params, likeness.text


FILTERS = {
    "_similar_to": _similar_to,
    "_in_group": _in_group,
    "_in_atlas": _in_atlas,
    "_in_wall": _in_wall,
}


@dataclass(frozen=True)
class Minimum:
    """How like an image must be to pass: a percentile, or a word."""

    percentile: float | None
    words: tuple[str, ...]
    """The words that pass, best first, if it is no percentile."""

    def passes(self, hit: Hit) -> bool:
        if self.percentile is None:
            return hit.word in self.words
        return (hit.percentile or 0) >= self.percentile

    @property
    def sql(self) -> str:
        """The same as a condition on a `value` of similar_to."""
        if self.percentile is None:
            words = ", ".join(f"'{word}'" for word in self.words)
            return f"json_extract(value, '$.word') in ({words})"
        # "View and edit SQL" passes all parameters as text, and any text is more than a number.
        return "json_extract(value, '$.percentile') >= cast(:imgsim_min as real)"

    @property
    def params(self) -> dict:
        """The parameters of `sql`."""
        return {} if self.percentile is None else {"imgsim_min": self.percentile}

    def text(self, name: str) -> str:
        """The filter in words; `name` is that of the query."""
        if self.percentile is None:
            return f"the picture is {self.words[-1]} to {name}"
        closer = f"closer than {self.percentile:g} % of random pairs"
        return f"the picture is similar to {name}, {closer}"


def parse_minimum(text: str | None) -> Minimum:
    """The minimum that `_similar_min` names; without it, images that are alike pass."""
    words = tuple(word for word in WORDS if word != FAINT)
    chosen = text or ALIKE
    if chosen in words:
        return Minimum(None, words[: words.index(chosen) + 1])
    try:
        percentile = float(chosen)
    except ValueError:
        percentile = -1
    if not 0 <= percentile <= 100:
        raise Refused(
            400,
            f"_similar_min is a percentile from 0 to 100, or {listed(words)}, not {text!r:.60}",
        )
    return Minimum(percentile, ())


def _like(conn, source: Source, text: str, minimum: Minimum, space_name: str | None) -> Likeness:
    space = named_space(conn, source, space_name)
    id = source.find(conn, text)
    index = get_index(conn, source, space, SECONDS_FOR_LOADING)
    row = index.row(conn, id)
    if row is None:
        raise Refused(404, f"The image {text!r} has no vector in the space {space.name!r}")
    weights = ranking.weights(space)
    if get_calibration(conn, index, weights) is None:
        raise Refused(400, "There are too few images to say which are alike: embed three or more")
    query = ranking.query_of_image(conn, index, row, weights)
    ((name, has_thumbnail),) = source.table.described(conn, [id]).values()
    hits = reaching(conn, index, query, minimum.passes)
    if hits is None:
        raise Refused(400, "So many images are alike to that degree: raise _similar_min")
    return Likeness(
        source.db.name,
        source.table.name,
        id,
        {hit.id: hit for hit in hits},
        minimum,
        sql_options(conn, source, space),
        minimum.text(name),
        name,
        has_thumbnail,
    )
