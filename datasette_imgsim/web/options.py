"""The parameters of a request that all pages share."""

from __future__ import annotations

import math
import sqlite3
import urllib.parse
from dataclasses import dataclass, replace

import numpy as np

from ..atlas.cells import SIDE
from ..db.spaces import Space, choose_space
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

    def query(self, **more) -> str:
        """The query string, with '?', that keeps the space and the level weights."""
        values = {"space": self.space, "level_weights": self.level_weights, **more}
        kept = {name: value for name, value in values.items() if value not in (None, ())}
        # pool5:1,pool3:.5 stays readable.
        return "?" + urllib.parse.urlencode(kept, safe=":,", doseq=True) if kept else ""

    def paged(self, next: str | None, **more) -> str:
        """The query string that keeps all parameters and leads to another page."""
        size = self.size if self.size != PAGE_SIZE else None
        kept = {"plus": self.plus, "minus": self.minus, **more}
        return self.query(**kept, _size=size, _next=next)

    def moved(self, id, to: str | None) -> str:
        """The query string with an image as an example: `to` is 'plus', 'minus' or None."""
        key = str(id)
        examples = {
            name: tuple(example for example in getattr(self, name) if example != key)
            for name in ("plus", "minus")
        }
        if to:
            examples[to] += (key,)
        return replace(self, **examples).paged(None)

    def weighted(self, level_weights: str | None) -> str:
        """The query string with other level weights, as in a URL."""
        return replace(self, level_weights=level_weights).paged(None)

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
    return Options(
        request.args.get("space") or None,
        request.args.get("level_weights") or None,
        int(size),
        request.args.get("_next") or None,
        tuple(filter(None, request.args.getlist("plus"))),
        tuple(filter(None, request.args.getlist("minus"))),
    )


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
        f"{key} in (select image_id from imgsim_atlas where space_id = :imgsim_space "
        "and x >= :imgsim_x0 and x < :imgsim_x1 and y >= :imgsim_y0 and y < :imgsim_y1)"
    )


def bounds_params(space: Space, bounds: tuple[float, float, float, float]) -> dict:
    """The parameters of `within_bounds`."""
    names = ("imgsim_x0", "imgsim_y0", "imgsim_x1", "imgsim_y1")
    return {"imgsim_space": space.id, **dict(zip(names, bounds))}


def named_space(conn: sqlite3.Connection, source: Source, name: str | None) -> Space:
    """The space of a name, else the default one. Raises ImgsimError."""
    return choose_space(conn, name, source.table.name, source.config.space)


def chosen_space(conn: sqlite3.Connection, source: Source, options: Options) -> Space:
    """The space that a request names, else the default one. Raises ImgsimError."""
    return named_space(conn, source, options.space)


def default_space(conn: sqlite3.Connection, source: Source) -> Space:
    """The space that is used if a request names none. Raises ImgsimError."""
    return named_space(conn, source, None)


def chosen_weights(space: Space, options: Options) -> tuple[np.ndarray, dict[str, float]]:
    """The level weights of a request, as an array (levels,) with sum 1 and by level, rounded."""
    text = options.level_weights
    weights = ranking.weights(space, ranking.parse_level_weights(text) if text else None)
    return weights, dict(zip(space.levels, weights.round(6).tolist()))
