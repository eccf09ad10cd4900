"""Search results on pages: tiles, a page of a ranking, and the ranking as a query in SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..db.spaces import Space, choose_space
from ..db.tables import quoted
from ..errors import ImgsimError
from ..search.calibration import get_calibration, in_words, shortened
from ..search.index import Index
from ..search.indexes import CannotLoad
from ..search.ranking import Query
from ..search.results import best
from .options import Options
from .refused import Refused
from .source import Source


@dataclass(frozen=True)
class Tile:
    """An image in the grid of a page."""

    id: int | str
    name: str
    href: str
    """The address of its similar page."""
    row: str
    """The address of Datasette's page of its row."""
    thumbnail: str | None
    """The address of its thumbnail, if there is one."""
    score: float | None = None
    percentile: float | None = None

    @property
    def share(self) -> str:
        """The percentile as text."""
        return shortened(self.percentile)

    @property
    def words(self) -> str:
        """The percentile in words."""
        return in_words(self.percentile)

    def json(self) -> dict:
        """Without score and percentile where nothing was ranked."""
        likeness = {"score": self.score, "percentile": self.percentile}
        return {
            "id": self.id,
            # As text, since JavaScript rounds large numbers.
            "key": str(self.id),
            **({} if self.score is None else likeness),
            "href": self.href,
            "thumbnail": self.thumbnail,
        }


def tiles(
    conn, source: Source, options: Options, ids: Iterable, beside: Iterable = ()
) -> list[Tile | None]:
    """A tile for each image; None if its row is no longer in the source table.

    Their names tell them apart, also from the images that are shown `beside` them.
    """
    ids = list(ids)
    described = source.table.described(conn, dict.fromkeys([*ids, *beside]))
    return [_tile(source, options, id, *described[id]) if id in described else None for id in ids]


def _tile(source: Source, options: Options, id, name: str, has_thumbnail: bool) -> Tile:
    return Tile(
        id,
        name,
        source.urls.similar(id) + options.query(),
        source.urls.row(id),
        source.urls.thumbnail(id) if has_thumbnail else None,
    )


@dataclass(frozen=True)
class Results:
    """One page of a ranking."""

    tiles: list[Tile]
    next: str | None
    """The `_next` of the page that follows, if there is one."""
    chance: float | None
    """The highest score of unrelated images; None if unknown, or if an earlier page reached it."""


def get_index(conn, source: Source, space: Space, wait: float = 0.5) -> Index:
    """The index of a space. Raises Loading, or Refused if it cannot be loaded."""
    try:
        return source.state.indexes.get(conn, space, wait)
    except CannotLoad as ex:
        raise Refused(503, str(ex)) from ex


def ranked(
    conn, source: Source, options: Options, vectors: Index, query: Query, beside: Iterable = ()
) -> Results:
    """A page of the images most like a query. `next` is a place in the ranking.

    The images `beside` are shown on the same page.
    """
    start, end = options.start, options.start + options.size
    if vectors.most_hits is not None and end > vectors.most_hits:
        raise Refused(400, f"Of so many images only the best {vectors.most_hits:,} are ranked")
    hits = best(conn, vectors, query, end + 1)
    calibration = get_calibration(conn, vectors, query.weights)
    chance = calibration and calibration.chance
    if chance is not None and hits[:start] and hits[:start][-1].score <= chance:
        chance = None  # an earlier page has marked it
    shown = hits[start:end]
    ids = [hit.id for hit in shown]
    page = [
        replace(tile, score=hit.score, percentile=hit.percentile)
        for tile, hit in zip(tiles(conn, source, options, ids, beside), shown)
        if tile
    ]
    return Results(page, str(end) if len(hits) > end else None, chance)


def similar_sql(conn, source: Source, space: Space, id, k: int, options: dict) -> str:
    """The SQL query for the rows of the k images most like an image, best first."""
    arguments = [str(id) if isinstance(id, int) else _literal(str(id)), str(k)]
    all_options = sql_options(conn, source, space) | options
    if all_options:
        arguments.append(_literal(json.dumps(all_options)))
    key = f"image.{quoted(source.table.key)}"
    return (
        f"select round(json_extract(found.value, '$.score'), 3) as score, image.*\n"
        f"from json_each(similar_to({', '.join(arguments)})) as found\n"
        f"join {quoted(source.table.name)} as image\n"
        f"  on {key} = json_extract(found.value, '$.id')\n"
        f"order by found.key"
    )


def sql_options(conn, source: Source, space: Space) -> dict:
    """The options that make the SQL functions use this space."""
    try:
        default = choose_space(conn, configured=source.config.space).name
    except ImgsimError:
        default = None
    return {} if default == space.name else {"space": space.name}


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
