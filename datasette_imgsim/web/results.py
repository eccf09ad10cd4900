"""Search results on pages: tiles, a page of a ranking, and the ranking as a query in SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..db.spaces import Space, choose_space
from ..db.tables import quoted
from ..errors import ImgsimError
from ..limits import LIMITS
from ..search.calibration import in_words
from ..search.index import Index
from ..search.indexes import CannotLoad
from ..search.likeness import FAINT
from ..search.ranking import Query
from ..search.results import Cut, best_and_cut
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
    large: str | None = None
    """The address of its large picture, if there is one."""
    score: float | None = None
    percentile: float | None = None
    word: str | None = None

    @property
    def figures(self) -> str:
        """Score and percentile as text."""
        return figures(self.score, self.percentile)

    @property
    def is_faint(self) -> bool:
        return self.word == FAINT

    def json(self) -> dict:
        """Without score, percentile and word where nothing was ranked."""
        likeness = {"score": self.score, "percentile": self.percentile, "word": self.word}
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
        source.urls.similar(id) + options.asking(id),
        source.urls.row(id),
        source.urls.thumbnail(id) if has_thumbnail else None,
        source.large(id),
    )


def figures(score: float, percentile: float | None) -> str:
    """A score as text, with its percentile if there is one."""
    return f"score {score:.3f}" + ("" if percentile is None else f", {in_words(percentile)}")


@dataclass(frozen=True)
class Results:
    """One page of a ranking."""

    tiles: list[Tile]
    next: str | None
    """The `_next` of the page that follows, if there is one."""
    cut: Cut | None
    """Where images stop being alike; None if there are too few to say."""
    weaker: str | None
    """The `_next` of the first that is not alike, if the page ends before it."""
    has_line: bool
    """Whether the first one on the page that is not alike is the first of all."""

    @property
    def count(self) -> str:
        """How many images are alike, in words; empty if there are too few to say."""
        if self.cut is None:
            return ""
        if self.cut.alike is None:
            return f"More than {LIMITS.first_hits:,} alike"
        return f"{self.cut.alike:,} alike" if self.cut.alike else "None is alike"

    def json_cut(self) -> dict | None:
        return self.cut and {"score": self.cut.score, "alike": self.cut.alike}


def get_index(conn, source: Source, space: Space, wait: float = 0.5) -> Index:
    """The index of a space. Raises Loading, or Refused if it cannot be loaded."""
    try:
        return source.state.indexes.get(conn, space, wait)
    except CannotLoad as ex:
        raise Refused(503, str(ex)) from ex


def ranked(
    conn,
    source: Source,
    options: Options,
    vectors: Index,
    query: Query,
    whole: bool,
    beside: Iterable = (),
    rerank: bool = False,
) -> Results:
    """A page of the images most like a query. `next` is a place in the ranking.

    Only if `whole` it goes on where images are no longer alike, or if none is alike. The images
    `beside` are shown on the same page. With `rerank` they are in order of mutual likeness. Raises
    Refused, and NoNeighbours.
    """
    start, end = options.start, options.start + options.size
    if vectors.most_hits is not None and end > vectors.most_hits:
        raise Refused(400, f"Of so many images only the best {vectors.most_hits:,} are ranked")
    hits, cut = best_and_cut(conn, vectors, query, max(end, LIMITS.first_hits) + 1, rerank)
    weaker = None
    if cut and cut.alike and not whole and cut.alike < len(hits):
        if cut.alike <= end:
            weaker = str(cut.alike)
        hits = hits[: cut.alike]
    shown = hits[start:end]
    ids = [hit.id for hit in shown]
    page = [
        replace(tile, score=hit.score, percentile=hit.percentile, word=hit.word)
        for tile, hit in zip(tiles(conn, source, options, ids, beside), shown)
        if tile
    ]
    has_line = bool(cut and cut.alike and start <= cut.alike < end)
    return Results(page, str(end) if len(hits) > end else None, cut, weaker, has_line)


def similar_sql(
    conn, source: Source, space: Space, id, k: int, options: dict, alike: bool = False
) -> str:
    """The SQL query for the rows of the k images most like an image, best first.

    With `alike`, those that are only faintly alike are left out.
    """
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
        + (f"where json_extract(found.value, '$.word') <> '{FAINT}'\n" if alike else "")
        + "order by found.key"
    )


def sql_options(conn, source: Source, space: Space) -> dict:
    """The options that make the SQL functions use this space."""
    try:
        default = choose_space(conn, configured=source.config.space_in(conn)).name
    except ImgsimError:
        default = None
    return {} if default == space.name else {"space": space.name}


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
