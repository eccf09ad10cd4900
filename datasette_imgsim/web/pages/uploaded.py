"""The page of a picture that a visitor has sent, and the images most like it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from datasette import Response

from ...ingest.originals import COPY, Original
from ...search import ranking
from ...search.index import Index
from ..answers import NOT_KEPT, common_context, html_answer, is_json, json_only, page
from ..chooser import check_may_upload, chooser
from ..held import Held
from ..options import chosen_space, parse_options
from ..refused import Refused
from ..source import Source
from .similar import Missing, answer_similar

GONE = "This picture is no longer held here: choose it again"


@dataclass(frozen=True)
class HeldPicture:
    """A picture that is held, as what images are compared with."""

    held: Held
    path: str
    why: str
    id: None = None

    @classmethod
    def of_token(cls, held: Held, source: Source, token: str) -> HeldPicture:
        return cls(held, source.urls.uploaded(token), source.urls.uploaded_why(token))

    @property
    def space(self) -> str:
        return self.held.space.name

    @property
    def facts(self) -> dict:
        """Its name, width and height in pixels, and format."""
        facts = self.held.picture.facts
        size = {"width": facts.width, "height": facts.height}
        return {"name": self.held.name, **size, "format": facts.format}

    def query(
        self,
        conn: sqlite3.Connection,
        index: Index,
        plus: Collection[int],
        minus: Collection[int],
        weights: np.ndarray,
    ) -> ranking.Query:
        """What images are ranked by. Raises Missing for an index of another space."""
        if index.space.identity != self.held.space.identity:
            raise Missing(
                f"This picture was compared in the space {self.space!r}: choose it again to "
                f"compare it in the space {index.space.name!r}"
            )
        vector = self.held.picture.vector
        return ranking.query_of_vector(conn, index, vector, weights, plus, minus)

    def originals(self, conn: sqlite3.Connection, source: Source) -> list[Original]:
        """The copy of it that is held."""
        return [Original(self.held.picture.thumbnail, COPY)]


@page
async def uploaded(datasette, request, source):
    held = _held(source, request)
    if held is None:
        return await _gone(datasette, request, source)
    picture = HeldPicture.of_token(held, source, request.url_vars["token"])
    return await answer_similar(datasette, request, source, lambda conn: picture, NOT_KEPT)


@json_only
async def thumbnail(datasette, request, source):
    held = _held(source, request)
    if held is None:
        raise Refused(404, GONE, NOT_KEPT)
    headers = {**NOT_KEPT, "x-content-type-options": "nosniff"}
    return Response(held.picture.thumbnail, headers=headers, content_type="image/jpeg")


def held_picture(source: Source, request) -> HeldPicture:
    """The picture whose token a request has. Raises Refused."""
    held = _held(source, request)
    if held is None:
        raise Refused(404, GONE, NOT_KEPT)
    return HeldPicture.of_token(held, source, request.url_vars["token"])


def _held(source: Source, request) -> Held | None:
    check_may_upload(source, request.actor)
    return source.state.held.get(source.table.name, request.url_vars["token"])


async def _gone(datasette, request, source: Source):
    """The page that says so, on which one can choose the picture again."""
    if is_json(request):
        raise Refused(404, GONE, NOT_KEPT)
    options = parse_options(request)
    space = await source.db.execute_fn(lambda conn: chosen_space(conn, source, options))
    context = {
        **common_context(source, options),
        "title": "The picture is gone",
        "message": GONE,
        "upload": chooser(source, request.actor, space),
    }
    return await html_answer(datasette, request, "imgsim_error.html", context, 404, NOT_KEPT)
