"""The page that says why two pictures are alike: both of them, with heat over what carries it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from datasette import Response
from datasette.utils import tilde_decode, tilde_encode

from ...db.spaces import Space
from ...ingest.originals import COPY, THUMBNAIL, Original
from ...limits import LIMITS
from ...search.indexes import Loading
from ...search.results import Hit, of_pair
from ..answers import (
    NOT_KEPT,
    common_context,
    html_answer,
    is_json,
    json_answer,
    json_only,
    page,
)
from ..chooser import check_may_look
from ..levels import level_words
from ..options import Options, chosen_weights, in_own_space, parse_options, parse_part
from ..refused import Refused
from ..results import Tile, figures, get_index, tiles
from ..source import Source
from ..worker import usable_space, with_network
from .parts import part_found, told
from .similar import Missing, Picture, StoredImage
from .uploaded import held_picture

if TYPE_CHECKING:
    from ...explore.why import Why

FROM = {
    THUMBNAIL: "The heat was found in its thumbnail, since its file cannot be read here.",
    COPY: "The heat was found in the copy that is held here, which may be smaller.",
}
"""What a page says of a picture that was not decoded from its file or BLOB."""
DIFFERENCE = 0.005
"""A score that is further from the stored vectors' is told apart from it."""


@dataclass(frozen=True)
class Pair:
    """Two pictures, and what is to be explained of them."""

    picture: Picture
    image: Tile | None
    """The image that the first one is; None for one that is not in the table."""
    other: Tile
    options: Options
    space: Space
    weights: np.ndarray
    """(levels,), sum 1."""
    hit: Hit
    """What the second one is worth as a result of the first."""
    centre: np.ndarray | None
    originals: tuple[list[Original], list[Original]]

    @property
    def name(self) -> str:
        return self.image.name if self.image else self.picture.facts["name"]

    @property
    def facts(self) -> dict:
        """What JSON says of the first one."""
        if self.image is None:
            return self.picture.facts
        return _json_of_image(self.image)


@page
async def why(datasette, request, source):
    return await _answer(datasette, request, source, _stored(request, source))


@page
async def uploaded_why(datasette, request, source):
    return await _answer(datasette, request, source, _uploaded(request, source))


@json_only
async def overlay(datasette, request, source):
    return await _overlay(request, source, _stored(request, source))


@json_only
async def uploaded_overlay(datasette, request, source):
    return await _overlay(request, source, _uploaded(request, source))


Find = Callable[[sqlite3.Connection], Picture]


def _stored(request, source: Source) -> Find:
    text = tilde_decode(request.url_vars["id"])
    return lambda conn: StoredImage.found(conn, source, text)


def _uploaded(request, source: Source) -> Find:
    picture = held_picture(source, request)
    return lambda conn: picture


async def _overlay(request, source: Source, find: Find) -> Response:
    """The heat over one of the pictures, as a PNG file."""
    found = await _explained(source, await _pair(request, source, _options(request), find))
    number = ("first", "second").index(request.url_vars["picture"])
    headers = {**NOT_KEPT, "x-content-type-options": "nosniff"}
    return Response(found.pictures[number].overlay, headers=headers, content_type="image/png")


async def _answer(datasette, request, source: Source, find: Find) -> Response:
    options = _options(request)
    try:
        pair = await _pair(request, source, options, find)
    except Loading as ex:
        if is_json(request):
            raise
        context = {**common_context(source, options), "loading": ex, "json_url": _json_url(request)}
        return await html_answer(datasette, request, "imgsim_why.html", context, 200, NOT_KEPT)
    found = await _explained(source, pair)
    if is_json(request):
        return json_answer(datasette, _json(pair, found), headers=NOT_KEPT)
    options, other = pair.options, pair.other
    path = f"{pair.picture.why}/{tilde_encode(str(other.id))}"
    query = options.explained()
    names = level_words(list(pair.space.levels))
    context = {
        **common_context(source, options),
        "pair": pair,
        "found": found,
        "words": names,
        "figures": figures(pair.hit.score, pair.hit.percentile),
        "differs": abs(pair.hit.score - found.score) >= DIFFERENCE,
        "is_whole": all(each.heats[0].size == 1 for each in found.levels),
        "similar_url": pair.picture.path + options.of_part(options.part),
        "overlay_urls": [f"{path}/{each}.png{query}" for each in ("first", "second")],
        "alternate_url_json": f"{path}.json{query}",
        "from": FROM,
        "stops": _stops(),
    }
    return await html_answer(datasette, request, "imgsim_why.html", context, 200, NOT_KEPT)


def _stops() -> tuple:
    """The colours of the heat, for the legend."""
    from ...explore.heat import COLOURS

    return COLOURS


def _json_url(request) -> str:
    path, query = request.path, request.query_string
    return f"{path}.json?{query}" if query else f"{path}.json"


def _options(request) -> Options:
    return replace(parse_options(request), part=parse_part(request))


async def _pair(request, source: Source, options: Options, find: Find) -> Pair:
    """What a request asks about. Raises Refused, and Loading while the space is loading."""
    check_may_look(source, request.actor)
    if options.part:
        find = await part_found(request, source, options, find)
    other = tilde_decode(request.url_vars["other"])
    return await source.db.execute_fn(lambda conn: _read(conn, source, options, find(conn), other))


def _read(conn, source: Source, options: Options, picture: Picture, text: str) -> Pair:
    options = in_own_space(conn, source, options, picture.space)
    space = usable_space(conn, source, options)
    weights, _ = chosen_weights(space, options)
    other = StoredImage.found(conn, source, text)
    index = get_index(conn, source, space)
    try:
        query = picture.query(conn, index, (), (), weights)
        other.query(conn, index, (), (), weights)
    except Missing as ex:
        raise Refused(404, str(ex)) from ex
    ids = [other.id] if picture.id is None else [other.id, picture.id]
    shown = tiles(conn, source, options, ids)
    return Pair(
        picture=picture,
        image=None if picture.id is None else shown[1],
        other=shown[0],
        options=options,
        space=space,
        weights=weights,
        hit=of_pair(conn, index, query, index.row(conn, other.id)),
        centre=index.centre,
        originals=(picture.originals(conn, source), other.originals(conn, source)),
    )


async def _explained(source: Source, pair: Pair) -> Why:
    """Why the pictures are alike: found by the network, unless that was done a while ago."""
    name = (
        "why", pair.picture.path, pair.options.part, pair.other.id, pair.space.identity,
        pair.space.generation, pair.weights.tobytes(),
    )  # fmt: skip
    found = source.state.whys.get(name)
    if found is None:
        found = await source.state.once(
            name, lambda: with_network(pair.space, _computed, source, pair)
        )
        with suppress(ValueError):  # it may be too large to be kept
            source.state.whys[name] = found
    return found


def _computed(source: Source, pair: Pair) -> Why:
    from ...explore.why import Asked, explain

    first, second = pair.originals
    asked = (
        Asked(told(pair.picture.id), first, pair.options.part),
        Asked(told(pair.other.id), second),
    )
    return explain(
        pair.space, source.folder, pair.centre, pair.weights, asked,
        LIMITS.pixels_of_upload, LIMITS.seconds_of_upload,
    )  # fmt: skip


def _json(pair: Pair, found: Why) -> dict:
    hit, crop = pair.hit, pair.options.part
    return {
        "ok": True,
        "space": pair.space.name,
        "pooling": pair.space.pooling,
        "score": hit.score,
        "percentile": hit.percentile,
        "word": hit.word,
        "heat": round(found.score, 9),
        "levels": found.json_of_levels(),
        "query": {
            **pair.facts,
            **({"crop": list(crop)} if crop else {}),
            **found.json_of_picture(0),
        },
        "other": {**_json_of_image(pair.other), **found.json_of_picture(1)},
    }


def _json_of_image(image: Tile) -> dict:
    return {"id": image.id, "key": str(image.id), "href": image.href, "thumbnail": image.thumbnail}
