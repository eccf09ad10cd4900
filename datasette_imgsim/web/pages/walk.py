"""The walk on the similar page: from its image to another one, from neighbour to neighbour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from ...db.spaces import Space
from ...errors import Loading
from ...search import paths
from ...search.graph import NoNeighbours, stored_k
from ..options import Options
from ..refused import Refused
from ..results import Tile, tiles
from ..source import Source
from . import finding


@dataclass(frozen=True)
class Walk:
    """What the page of an image says of walks; empty where none is asked for."""

    form: list[tuple[str, str]]
    """The parameters that a form keeps, which asks for a walk."""
    tiles: list[Tile]
    """The images on the way, both ends included, each with its score with the one before."""
    missing: str | None = None
    """Why there is none."""
    status: int = 200
    """The HTTP status of this reason."""
    loading: Loading | None = None

    def json(self) -> list[dict]:
        """The images on the way. Raises Loading, and Refused where it is unknown what is asked."""
        if self.loading:
            raise self.loading
        if self.status != 200:
            raise Refused(self.status, self.missing or "")
        names = ("id", "key", "href", "thumbnail")
        return [
            {**{name: tile.json()[name] for name in names}, "score": tile.score}
            for tile in self.tiles
        ]


async def read_walk(source: Source, options: Options, space: Space, id) -> Walk | None:
    """The walk that a request asks for. Without one: None if there can be none."""
    text = options.walk_to
    form = parse_qsl(replace(options, walk_to=None).paged(None)[1:])
    try:
        await source.db.execute_fn(lambda conn: stored_k(conn, space))
        if text is None:
            return Walk(form, [])
        found = await finding.find(source, text, limit=1)
        if not found:
            raise Refused(404, f"There is no image {text!r} in the table {source.table.name!r}")
        (target,) = found
        way = await source.db.execute_fn(
            lambda conn: _tiles(conn, source, options, space, id, target)
        )
    except NoNeighbours as ex:
        return None if text is None else Walk(form, [], str(ex), 400)
    except Refused as ex:
        return Walk(form, [], ex.message, ex.status)
    except Loading as ex:
        return Walk(form, [], loading=ex)
    if not way:
        return Walk(form, [], f"No chain of neighbours leads from here to {str(target)!r}")
    return Walk(form, way)


def _tiles(conn, source: Source, options: Options, space: Space, a, b) -> list[Tile]:
    graph = source.state.indexes.graphs.get(conn, space)
    steps = paths.path(conn, graph, source.table, a, b)
    shown = tiles(conn, source, options, [step.id for step in steps])
    return [replace(tile, score=step.score) for tile, step in zip(shown, steps) if tile]
