"""Images as they appear in results: a page of a ranking, and the same as a query in SQL."""

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
    """An image in a gallery or in results."""

    id: int | str
    name: str
    href: str
    row: str
    thumbnail: str | None
    score: float | None = None
    percentile: float | None = None

    @property
    def share(self) -> str:
        """The percentile with as few digits as tell it from 100."""
        return shortened(self.percentile)

    @property
    def words(self) -> str:
        """What the score means."""
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


def tiles(conn, source: Source, options: Options, ids: Iterable) -> list[Tile | None]:
    """A tile for each image; None where its row has gone from the source table."""
    ids = list(ids)
    known = source.table.described(conn, ids)
    return [_tile(source, options, id, *known[id]) if id in known else None for id in ids]


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
    chance: float | None
    """The score up to which chance reaches, where this page or a later one comes down to it."""


def get_index(conn, source: Source, space: Space, wait: float = 0.5) -> Index:
    """The vectors of a space. Raises Loading, or Refused where they cannot be loaded."""
    try:
        return source.state.indexes.get(conn, space, wait)
    except CannotLoad as ex:
        raise Refused(503, str(ex)) from ex


def ranked(conn, source: Source, options: Options, vectors: Index, query: Query) -> Results:
    """A page of the images most like a query. `next` is a place in the ranking."""
    start, end = options.start, options.start + options.size
    if vectors.most_hits is not None and end > vectors.most_hits:
        raise Refused(400, f"Of so many images only the best {vectors.most_hits:,} are ranked")
    hits = best(conn, vectors, query, end + 1)
    calibration = get_calibration(conn, vectors, query.weights)
    chance = calibration and calibration.chance
    if chance is not None and hits[:start] and hits[:start][-1].score <= chance:
        chance = None  # an earlier page has drawn the line
    shown = hits[start:end]
    page = [
        replace(tile, score=hit.score, percentile=hit.percentile)
        for tile, hit in zip(tiles(conn, source, options, [hit.id for hit in shown]), shown)
        if tile
    ]
    return Results(page, str(end) if len(hits) > end else None, chance)


def similar_sql(conn, source: Source, space: Space, id, k: int, options: dict) -> str:
    """The query that gives the rows of the k images most like one, best first."""
    arguments = [str(id) if isinstance(id, int) else _literal(str(id)), str(k)]
    given = sql_options(conn, source, space) | options
    if given:
        arguments.append(_literal(json.dumps(given)))
    key = f"image.{quoted(source.table.key)}"
    return (
        f"select round(json_extract(found.value, '$.score'), 3) as score, image.*\n"
        f"from json_each(similar_to({', '.join(arguments)})) as found\n"
        f"join {quoted(source.table.name)} as image\n"
        f"  on {key} = json_extract(found.value, '$.id')\n"
        f"order by found.key"
    )


def sql_options(conn, source: Source, space: Space) -> dict:
    """The options without which the SQL functions would use another space."""
    try:
        default = choose_space(conn, configured=source.config.space).name
    except ImgsimError:
        default = None
    return {} if default == space.name else {"space": space.name}


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
