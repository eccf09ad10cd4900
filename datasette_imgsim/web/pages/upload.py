"""Pictures that visitors send: how they arrive, and what becomes of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from ...db.spaces import Space
from ...ingest.part import Box
from ...limits import LIMITS
from ...search import ranking
from .. import compat
from ..answers import NOT_KEPT, json_answer, json_only, next_link
from ..chooser import check_may_upload
from ..held import Held
from ..options import Options, chosen_weights, parse_options, parse_similar_options
from ..refused import Refused
from ..results import get_index, ranked
from ..source import Source
from ..worker import prepare, too_many, usable_space, with_network

NAMELESS = "your image"
"""The name of a picture that was sent without one."""


class _Arriving:
    """A body that is arriving. If all of them are too large together, the oldest gives way."""

    all: list[_Arriving] = []

    def __init__(self, request, max_bytes: int):
        self.size, self.gives_way = 0, False
        pieces = LIMITS.bytes_a_piece, LIMITS.seconds_a_piece
        body = compat.body(request, max_bytes, pieces, self.arrived)
        self.task = asyncio.ensure_future(asyncio.wait_for(body, LIMITS.seconds_a_body))

    async def data(self) -> bytes | None:
        """The whole body; None if it is longer than allowed. Raises Refused if it gives way."""
        _Arriving.all.append(self)
        try:
            return await self.task
        except asyncio.CancelledError:
            if self.gives_way:
                raise too_many() from None
            raise  # the client has gone
        finally:
            if self in _Arriving.all:
                _Arriving.all.remove(self)

    def arrived(self, count: int) -> None:
        """Counts a piece."""
        self.size += count
        while sum(each.size for each in _Arriving.all) > LIMITS.bytes_of_bodies:
            oldest = _Arriving.all.pop(0)
            oldest.gives_way = True
            oldest.task.cancel()


@json_only
async def search(datasette, request, source):
    """What is most like a picture that is sent, for programs."""
    if request.method != "POST":
        raise Refused(405, "POST an image here, as the request body", {"allow": "POST"})
    check_may_upload(source, request.actor)
    options = parse_similar_options(request)
    part = options.part
    _, (space, weights, level_weights), picture = await _received(request, source, part)

    def results(conn):
        index = get_index(conn, source, space)
        query = ranking.query_of_vector(conn, index, picture.vector, weights)
        return ranked(conn, source, options, index, query, True, rerank=bool(options.rerank))

    page = await source.db.execute_fn(results)
    following = source.urls.search + replace(options, part=part).paged(page.next)
    return json_answer(
        datasette,
        {
            "ok": True,
            "space": space.name,
            "query": {
                "width": picture.facts.width,
                "height": picture.facts.height,
                "format": picture.facts.format,
                **({"crop": list(part)} if part else {}),
                "level_weights": level_weights,
                "rerank": bool(options.rerank),
            },
            "cut": page.json_cut(),
            "rows": [tile.json() for tile in page.tiles],
            **next_link(source, request, page.next, following),
        },
    )


@json_only
async def upload(datasette, request, source):
    """Takes a picture that gets a page; GET asks for the network to be loaded before that."""
    check_may_upload(source, request.actor)
    if request.method == "POST":
        return await _hold(datasette, request, source)
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, "POST an image here, as the request body", {"allow": "GET, HEAD, POST"})
    options = parse_options(request)
    space = await source.db.execute_fn(lambda conn: usable_space(conn, source, options))
    is_ready = prepare(space, source.folder)
    await source.db.execute_fn(lambda conn: get_index(conn, source, space))
    answer = {"ok": True, "ready": is_ready}
    token = compat.csrf_token(request)
    return json_answer(datasette, answer | ({"csrftoken": token} if token else {}), 200, NOT_KEPT)


async def _hold(datasette, request, source: Source):
    """Holds the picture that is sent, and gives the address of its page."""
    options, (space, _, _), picture = await _received(request, source)
    name = " ".join((request.args.get("name") or "").split())[: LIMITS.characters_of_name]
    token = source.state.held.put(Held(source.table.name, space, name or NAMELESS, picture))
    href = source.urls.uploaded(token) + options.query()
    return json_answer(datasette, {"ok": True, "href": href}, headers=NOT_KEPT)


async def _received(request, source: Source, part: Box | None = None):
    """(the options, the space and level weights, the picture that is sent). Raises Refused."""
    options = parse_options(request)
    # Errors in the request, and a space that is not loaded, are reported before the image is read.
    chosen = await source.db.execute_fn(lambda conn: _prepared(conn, source, options))
    return options, chosen, await _embedded(request, source, chosen[0], part)


def _prepared(conn, source: Source, options: Options):
    """The space and level weights to search with. Raises Loading if the space is not loaded."""
    space = usable_space(conn, source, options)
    weights, level_weights = chosen_weights(space, options)
    get_index(conn, source, space)
    return space, weights, level_weights


async def _body(request, max_bytes: int) -> bytes:
    try:
        data = await _Arriving(request, max_bytes).data()
    except asyncio.TimeoutError:
        raise Refused(
            408,
            f"The image did not arrive within {LIMITS.seconds_a_body:g} s, or less than "
            f"{LIMITS.bytes_a_piece / 1e3:g} kB of it in {LIMITS.seconds_a_piece:g} s: send it "
            "again, or a smaller one",
        ) from None
    except compat.BrokenUpload:
        raise Refused(400, "The image did not arrive completely: send it again") from None
    if data is None:
        raise Refused(413, f"The image is larger than {max_bytes / 1e6:g} MB: send a smaller one")
    if not data:
        raise Refused(400, "There is no image in the request: send one as its body")
    return data


async def _embedded(request, source: Source, space, part: Box | None):
    """The uploaded image, or the part of it, as an EmbeddedPicture. Raises Refused."""
    data = await _body(request, source.config.max_upload_bytes)
    return await with_network(space, embed, space, source.folder, data, part)


def embed(space: Space, base: Path, picture: str | bytes, part: Box | None):
    """A picture within the limits of uploads, as an EmbeddedPicture, as `ingest.query` does it."""
    from ...ingest import query

    limits = LIMITS.pixels_of_upload, LIMITS.seconds_of_upload
    return query.embed_picture(space, base, picture, *limits, part)
