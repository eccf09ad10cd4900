"""The parameters of a request that all pages share."""

from __future__ import annotations

import json
import math
import sqlite3
import urllib.parse
from dataclasses import dataclass, replace

import numpy as np

from ..atlas.cells import SIDE
from ..atlas.load import MAP, WALL
from ..db.spaces import Space, choose_space
from ..ingest.part import Box, box_text, parse_box
from ..search import ranking
from .refused import Refused
from .source import Source

PAGE_SIZE, MAX_PAGE_SIZE = 40, 200


@dataclass(frozen=True)
class Options:
    """The parameters of a request that all pages share."""

    space: str | None
    level_weights: str | None
    """As in a URL, such as pool5:1,pool3:.5."""
    size: int
    """How many images a page has."""
    next: str | None
    """Where the page begins; its meaning depends on the page."""
    plus: tuple[str, ...] = ()
    """Images that results should be more like, as keys in a URL."""
    minus: tuple[str, ...] = ()
    """Images that results should be less like."""
    view: str = MAP
    """Whether places are those of the MAP or of its WALL."""
    weaker: bool = False
    """Whether results go on where they are no longer alike."""
    scores: bool = False
    """Whether scores are shown beside the words for them."""
    rerank: bool | None = None
    """Whether results are in order of mutual likeness; None: where that is known."""
    walk_to: str | None = None
    """The image to which a walk is shown: its id, or text in its columns."""
    part: Box | None = None
    """The part of the picture that is searched with; pages of one picture alone have it."""

    @property
    def wall(self) -> str | None:
        """The view as a parameter, which the map needs none of."""
        return self.view if self.view == WALL else None

    def query(self, **more) -> str:
        """The query string, with '?', that keeps the space, level weights and shown scores."""
        values = {
            "space": self.space,
            "level_weights": self.level_weights,
            **more,
            "_scores": "1" if self.scores else None,
        }
        kept = {name: value for name, value in values.items() if value not in (None, ())}
        # pool5:1,pool3:.5 stays readable.
        return "?" + urllib.parse.urlencode(kept, safe=":,", doseq=True) if kept else ""

    def paged(self, next: str | None, **more) -> str:
        """The query string that keeps all parameters and leads to another page."""
        size = self.size if self.size != PAGE_SIZE else None
        crop = self.part and box_text(self.part)
        own = {"rerank": self._rerank, "walk_to": self.walk_to}
        kept = {"crop": crop, "plus": self.plus, "minus": self.minus, **own, **more}
        weaker = "1" if self.weaker else None
        return self.query(**kept, _size=size, _next=next, _weaker=weaker)

    def moved(self, id, to: str | None) -> str:
        """The query string with an image as an example: `to` is 'plus', 'minus' or None."""
        examples = self._examples_but(id)
        if to:
            examples[to] += (str(id),)
        return replace(self, **examples).paged(None)

    def asking(self, id) -> str:
        """The query string of another image's similar page, with the examples but that image."""
        return self.query(**self._examples_but(id), rerank=self._rerank)

    @property
    def _rerank(self) -> str | None:
        return None if self.rerank is None else str(int(self.rerank))

    def _examples_but(self, id) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(example for example in getattr(self, name) if example != str(id))
            for name in ("plus", "minus")
        }

    def in_space(self, name: str) -> str:
        """The query string of the same examples in another space, which has levels of its own."""
        return replace(self, space=name, level_weights=None).paged(None)

    def weighted(self, level_weights: str | None) -> str:
        """The query string with other level weights, as in a URL."""
        return replace(self, level_weights=level_weights).paged(None)

    def reranked(self, rerank: bool) -> str:
        """The query string of the first page in another order."""
        return replace(self, rerank=rerank).paged(None)

    def of_part(self, part: Box | None) -> str:
        """The query string of the same page for a part of the picture, or for all of it."""
        return replace(self, part=part).paged(None)

    def explained(self) -> str:
        """The query string of the page that says why an image is a result."""
        return self.query(crop=self.part and box_text(self.part))

    def with_weaker(self, weaker: bool) -> str:
        """The query string of the same page, with weaker results or without."""
        return replace(self, weaker=weaker).paged(self.next)

    def with_scores(self, scores: bool) -> str:
        """The query string of the same page, with scores or without."""
        return replace(self, scores=scores).paged(self.next)

    @property
    def start(self) -> int:
        """`next` as a place in a ranking, from 0. Raises Refused."""
        if self.next is None:
            return 0
        if not self.next.isdecimal() or len(self.next) > 9:
            raise Refused(400, f"_next is a whole number from 0, not {self.next!r}")
        return int(self.next)


def parse_options(request, largest: int = MAX_PAGE_SIZE) -> Options:
    """The options of a request, with pages of up to `largest` images. Raises Refused."""
    size = request.args.get("_size") or str(PAGE_SIZE)
    if size == "max":
        size = str(largest)
    # int() itself refuses numbers of thousands of digits.
    if not size.isdecimal() or len(size) > 9 or not 1 <= int(size) <= largest:
        raise Refused(400, f"_size is a whole number from 1 to {largest}, not {size!r:.60}")
    view = request.args.get("view") or MAP
    if view not in (MAP, WALL):
        raise Refused(400, f"view is {MAP} or {WALL}, not {view!r:.60}")
    return Options(
        request.args.get("space") or None,
        request.args.get("level_weights") or None,
        int(size),
        request.args.get("_next") or None,
        tuple(filter(None, request.args.getlist("plus"))),
        tuple(filter(None, request.args.getlist("minus"))),
        view,
        request.args.get("_weaker") == "1",
        request.args.get("_scores") == "1",
    )


def parse_similar_options(request) -> Options:
    """The options of a request to a page of similar images, which has more of them."""
    return replace(
        parse_options(request),
        rerank={"0": False, "1": True}.get(request.args.get("rerank")),
        part=parse_part(request),
        walk_to=request.args.get("walk_to") or None,
    )


def parse_part(request) -> Box | None:
    """The part of a picture that a request is about; None for all of it. Raises ImgsimError.

    It is one parameter, x0,y0,x1,y1, or four of them, as a form without scripts gives them.
    """
    text = ",".join(filter(None, request.args.getlist("crop")))
    return parse_box(text) if text else None


def parse_bounds(text: str, name: str = "bbox") -> tuple[float, float, float, float]:
    """The numbers in 'x0,y0,x1,y1': a rectangle x0 <= x < x1, y0 <= y < y1. Raises Refused."""
    try:
        x0, y0, x1, y1 = map(float, text.split(","))
    except ValueError:
        x0, x1, y0, y1 = 1, 0, 0, 0
    if not (-math.inf < x0 <= x1 < math.inf and -math.inf < y0 <= y1 < math.inf):  # or a NaN
        raise Refused(
            400, f"{name} is x0,y0,x1,y1 with x0 <= x1 and y0 <= y1, 0 to {SIDE}, not {text!r:.60}"
        )
    return x0, y0, x1, y1


def within_bounds(key: str) -> str:
    """The SQL condition that `key` is in a rectangle of the map, given by `bounds_params`."""
    return (
        f"{key} in (select image_key from imgsim_atlas where space_id = :imgsim_space "
        "and x >= :imgsim_x0 and x < :imgsim_x1 and y >= :imgsim_y0 and y < :imgsim_y1)"
    )


def bounds_params(space: Space, bounds: tuple[float, float, float, float]) -> dict:
    """The parameters of `within_bounds`."""
    names = ("imgsim_x0", "imgsim_y0", "imgsim_x1", "imgsim_y1")
    return {"imgsim_space": space.id, **dict(zip(names, bounds))}


def named_space(conn: sqlite3.Connection, source: Source, name: str | None) -> Space:
    """The space of a name, else the default one. Raises ImgsimError."""
    return choose_space(conn, name, source.table.name, source.config.space_in(conn))


def among(key: str) -> str:
    """The SQL condition that `key` is one of some ids, given by `among_params`."""
    return f"{key} in (select value from json_each(:imgsim_ids))"


def among_params(ids: list) -> dict:
    """The parameters of `among`."""
    return {"imgsim_ids": json.dumps(ids)}


def chosen_space(conn: sqlite3.Connection, source: Source, options: Options) -> Space:
    """The space that a request names, else the default one. Raises ImgsimError."""
    return named_space(conn, source, options.space)


def default_space(conn: sqlite3.Connection, source: Source) -> Space:
    """The space that is used if a request names none. Raises ImgsimError."""
    return named_space(conn, source, None)


def in_own_space(
    conn: sqlite3.Connection, source: Source, options: Options, own: str | None
) -> Options:
    """The options with the space that a picture has of its own, if they name none."""
    if options.space is None and own not in (None, default_space(conn, source).name):
        return replace(options, space=own)
    return options


def chosen_weights(space: Space, options: Options) -> tuple[np.ndarray, dict[str, float]]:
    """The level weights of a request, as an array (levels,) with sum 1 and by level, rounded."""
    text = options.level_weights
    weights = ranking.weights(space, ranking.parse_level_weights(text) if text else None)
    return weights, dict(zip(space.levels, weights.round(6).tolist()))
