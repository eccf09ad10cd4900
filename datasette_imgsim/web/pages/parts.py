"""Parts of pictures, as what images are compared with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...db.spaces import Space
from ...ingest.originals import Original, first_that
from ...ingest.part import Box
from ...search import ranking
from ...search.index import Index
from ..chooser import check_may_look
from ..options import Options, in_own_space
from ..source import Source
from ..worker import usable_space, with_network
from .upload import embed

if TYPE_CHECKING:
    from .similar import Picture

OVERHEAD_BYTES = 500


@dataclass(frozen=True)
class EmbeddedPart:
    """A part of a picture, embedded as a picture of its own."""

    vector: np.ndarray
    """(dimensions,)."""
    width: int
    height: int
    """Of the whole picture, in pixels."""
    kind: str
    """What it was decoded from, as in `originals`."""

    @property
    def bytes(self) -> int:
        return self.vector.nbytes + OVERHEAD_BYTES


@dataclass(frozen=True)
class PartOfPicture:
    """A part of a picture, as what images are compared with."""

    whole: Picture
    embedded: EmbeddedPart

    @property
    def path(self) -> str:
        return self.whole.path

    @property
    def why(self) -> str:
        return self.whole.why

    @property
    def id(self) -> int | str | None:
        return self.whole.id

    @property
    def space(self) -> str | None:
        return self.whole.space

    @property
    def facts(self) -> dict:
        return self.whole.facts

    def query(
        self,
        conn: sqlite3.Connection,
        index: Index,
        plus: Collection[int],
        minus: Collection[int],
        weights: np.ndarray,
    ) -> ranking.Query:
        """What images are ranked by; the image itself is left out."""
        vector = self.embedded.vector
        query = ranking.query_of_vector(conn, index, vector, weights, plus, minus)
        return query if self.id is None else replace(query, ids=(self.id, *query.ids))

    def originals(self, conn: sqlite3.Connection, source: Source) -> list[Original]:
        return self.whole.originals(conn, source)


def told(id: int | str | None) -> str:
    """What a picture is called at the beginning of a sentence; None for one that is not stored."""
    return "Your image" if id is None else f"The image {str(id)!r}"


async def part_found(
    request, source: Source, options: Options, find: Callable[[sqlite3.Connection], Picture]
) -> Callable[[sqlite3.Connection], PartOfPicture]:
    """A function that gives the part, which `options` name, of the picture that `find` gives.

    It is embedded, unless that was done a while ago. Raises Refused.
    """
    check_may_look(source, request.actor)
    part = options.part

    def asked(conn) -> tuple[Picture, Space, list[Original]]:
        picture = find(conn)
        own = in_own_space(conn, source, options, picture.space)
        space = usable_space(conn, source, own)
        return picture, space, picture.originals(conn, source)

    whole, space, candidates = await source.db.execute_fn(asked)
    # Its address, without the base_url that it may have, is a picture's name in this database.
    name = ("part", whole.path, space.identity, space.generation, part)
    embedded = source.state.parts.get(name)
    if embedded is None:
        embedded = await source.state.once(
            name,
            lambda: with_network(space, _embedded, space, source, whole, candidates, part),
        )
        with suppress(ValueError):  # it may be too large to be kept
            source.state.parts[name] = embedded
    return lambda conn: PartOfPicture(whole, embedded)


def _embedded(
    space: Space, source: Source, whole: Picture, candidates: list[Original], part: Box
) -> EmbeddedPart:
    found, kind = first_that(
        told(whole.id), lambda each: embed(space, source.folder, each, part), candidates
    )
    return EmbeddedPart(found.vector, found.facts.width, found.facts.height, kind)
