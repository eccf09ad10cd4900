"""What every page needs: the source table that may be viewed, its links, and how errors look."""

from __future__ import annotations

import functools
import json
import posixpath
import re
import sqlite3
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import numpy as np
from datasette import Forbidden, Response
from datasette.utils import add_cors_headers, tilde_decode, tilde_encode

from .. import compat, schema, store
from ..atlas.cells import SIDE
from ..errors import ImgsimError
from ..search import calibration, index, ranking
from ..search.calibration import Calibration
from . import config

PAGE_SIZE, MAX_PAGE_SIZE = 40, 200
MAX_AGE = 600
MOST_RANKED = 50_000
"""Of a space that is not in memory: each of them is read from the database."""


class Refused(Exception):
    """What an error page says, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: dict | None = None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


@dataclass(frozen=True)
class Source:
    """A source table that this request's actor may view."""

    datasette: object
    db: object
    table: str
    key: str
    affinity: str
    label: str | None
    """The column that names an image to people."""
    config: config.Config

    @property
    def folder(self) -> Path:
        """Where the database file is, which paths are relative to."""
        return Path(self.db.path or ".").absolute().parent

    @property
    def file(self) -> str:
        """The database file, as a command would name it."""
        return posixpath.basename(self.db.path or "DATABASE")

    @property
    def rows(self) -> str:
        """Datasette's own page of the table."""
        return str(self.datasette.urls.table(self.db.name, self.table))

    def rows_like(self, id) -> str:
        """That page, filtered."""
        return f"{self.rows}?{urllib.parse.urlencode({'_similar_to': str(id)})}"

    @property
    def gallery(self) -> str:
        return f"{self.rows}/-/imgsim"

    def similar(self, id) -> str:
        return f"{self.gallery}/similar/{tilde_encode(str(id))}"

    def thumbnail(self, id) -> str:
        return f"{self.gallery}/thumbnail/{tilde_encode(str(id))}.jpg"

    @property
    def map(self) -> str:
        return f"{self.gallery}/map"

    def large(self, id) -> str | None:
        """Where the large picture is, of those that are read from files."""
        if not (self.config.images_root and self.label == "path" and self.db.path):
            return None
        return f"{self.gallery}/large/{tilde_encode(str(id))}.jpg"

    def row(self, id) -> str:
        return str(self.datasette.urls.row(self.db.name, self.table, tilde_encode(str(id))))

    def name(self, id, label) -> str:
        """What people call an image: its file name, where there is one."""
        text = "" if label is None or isinstance(label, bytes) else str(label)
        return (posixpath.basename(text) if self.label == "path" else text) or str(id)


async def source_of(datasette, request) -> Source:
    """The source table named in the URL, once the actor's permission has been checked."""
    route = tilde_decode(request.url_vars["database"])
    table = tilde_decode(request.url_vars["table"])
    try:
        db = datasette.get_database(route=route)
    except KeyError:
        raise Refused(404, f"There is no database {route!r} here") from None
    await compat.ensure_can_view(datasette, request.actor, db.name, table)
    found = await db.execute_fn(functools.partial(_source, table=table))
    if found is None:
        raise Refused(
            404,
            f"The table {table!r} of the database {db.name!r} holds no images: "
            "'datasette imgsim embed DATABASE FOLDER' adds some",
        )
    return Source(datasette, db, table, *found, config.of(datasette, db.name))


def source_tables(conn: sqlite3.Connection) -> list[str]:
    """The tables of a database whose rows are images. Raises ImgsimError."""
    if "imgsim_spaces" not in schema.tables(conn):
        return []
    schema.check_version(conn)
    rows = conn.execute(
        """
        select source_table from imgsim_spaces
        where source_table in (select name from sqlite_master where type = 'table')
        group by source_table order by min(id)
        """
    )
    found = [table for (table,) in rows]
    # Ours has no space while no picture could be embedded; one that is not ours has no images.
    if schema.SOURCE_TABLE not in found and schema.is_ours(conn):
        found.insert(0, schema.SOURCE_TABLE)
    return found


def _source(conn: sqlite3.Connection, table: str) -> tuple[str, str, str | None] | None:
    """(key, affinity, label column) of a source table, or None where it is none."""
    try:
        if table not in source_tables(conn):
            return None
        return (*store.primary_key(conn, table), label_column(conn, table))
    except ImgsimError as ex:
        raise Refused(503, str(ex)) from ex


def label_column(conn: sqlite3.Connection, table: str) -> str | None:
    """The column that names an image to people: the path, else the first text that is no key."""
    rows = conn.execute(
        """
        select name from pragma_table_info(?) where not pk
        order by name <> 'path', upper(type) not in ('TEXT', 'VARCHAR'), cid limit 1
        """,
        [table],
    )
    return next((name for (name,) in rows), None)


def without_blobs(column: str) -> str:
    """SQL for a column's value; a BLOB, which may be a picture, is not read but null."""
    return f"case typeof({column}) when 'blob' then null else {column} end"


def key_candidates(source: Source, text: str) -> list:
    """What a key in a URL may be as it is stored."""
    # Columns of other affinities turn '7' into what they hold; this one tells '7' from 7.
    if source.affinity == "blob" and re.fullmatch("0|-?[1-9][0-9]{0,18}", text):
        return [text, int(text)] if abs(int(text)) < 2**63 else [text]
    return [text]


def find_key(conn: sqlite3.Connection, source: Source, text: str):
    """The key, as stored, of the image that a URL names. Raises Refused."""
    key, table = store.quoted(source.key), store.quoted(source.table)
    for candidate in key_candidates(source, text):
        row = conn.execute(f"select {key} from {table} where {key} = ?", [candidate]).fetchone()
        if row:
            return row[0]
    raise Refused(404, f"There is no image {text!r} in the table {source.table!r}")


def label_of(conn: sqlite3.Connection, source: Source, id) -> str:
    """What people call the image."""
    ((label, _has_thumbnail),) = _described(conn, source, [id]).values()
    return source.name(id, label)


# What a request asks for


@dataclass(frozen=True)
class Options:
    """The parameters that all pages share."""

    space: str | None
    level_weights: str | None
    size: int
    next: str | None
    plus: tuple[str, ...] = ()
    """Images that results should be more like, as keys in a URL."""
    minus: tuple[str, ...] = ()
    """Images that results should be less like."""
    bbox: str | None = None
    """A rectangle of the map: only images within it."""

    def query(self, **more) -> str:
        """The part of a URL from '?' on that keeps the space and the level weights."""
        values = {"space": self.space, "level_weights": self.level_weights, **more}
        kept = {name: value for name, value in values.items() if value not in (None, ())}
        # pool5:1,pool3:.5 stays readable.
        return "?" + urllib.parse.urlencode(kept, safe=":,", doseq=True) if kept else ""

    def paged(self, next: str | None, **more) -> str:
        """The part of a URL from '?' on that keeps everything and leads to another page."""
        size = self.size if self.size != PAGE_SIZE else None
        kept = {"plus": self.plus, "minus": self.minus, "bbox": self.bbox, **more}
        return self.query(**kept, _size=size, _next=next)

    def moved(self, id, to: str | None) -> str:
        """The same with an image as an example: `to` is 'plus', 'minus' or None for neither."""
        key = str(id)
        sides = {
            name: tuple(each for each in getattr(self, name) if each != key)
            for name in ("plus", "minus")
        }
        if to:
            sides[to] += (key,)
        return replace(self, **sides).paged(None)

    def weighted(self, level_weights: str | None) -> str:
        """The same with other level weights, written as in a URL."""
        return replace(self, level_weights=level_weights).paged(None)

    @property
    def start(self) -> int:
        """`next` as a place in a ranking."""
        if self.next is None:
            return 0
        if not self.next.isdecimal() or len(self.next) > 9:
            raise Refused(400, f"_next is a whole number from 0, not {self.next!r}")
        return int(self.next)


def options_of(request, largest: int = MAX_PAGE_SIZE) -> Options:
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
        request.args.get("bbox") or None,
    )


def bounds_of(text: str, name: str = "bbox") -> tuple[float, float, float, float]:
    """'x0,y0,x1,y1' as numbers, which mean x0 <= x < x1 and y0 <= y < y1. Raises Refused."""
    try:
        x0, y0, x1, y1 = map(float, text.split(","))
    except ValueError:
        x0, x1, y0, y1 = 1, 0, 0, 0
    if not (x0 <= x1 and y0 <= y1):  # false for what is no number, too
        raise Refused(
            400, f"{name} is x0,y0,x1,y1 with x0 <= x1 and y0 <= y1, 0 to {SIDE}, not {text!r:.60}"
        )
    return x0, y0, x1, y1


def within_bounds(key: str) -> str:
    """The condition that the image `key` lies in a rectangle of the map, for `bounds_params`."""
    return (
        f"{key} in (select image_id from imgsim_atlas where space_id = :imgsim_space "
        "and x >= :imgsim_x0 and x < :imgsim_x1 and y >= :imgsim_y0 and y < :imgsim_y1)"
    )


def bounds_params(space: store.Space, bounds: tuple[float, float, float, float]) -> dict:
    names = ("imgsim_x0", "imgsim_y0", "imgsim_x1", "imgsim_y1")
    return {"imgsim_space": space.id, **dict(zip(names, bounds))}


def chosen_space(conn: sqlite3.Connection, source: Source, options: Options) -> store.Space:
    return store.choose_space(conn, options.space, source.table, source.config.space)


def usual_space(conn: sqlite3.Connection, source: Source) -> store.Space:
    """The space that is used where none is named."""
    return store.choose_space(conn, None, source.table, source.config.space)


def chosen_weights(space: store.Space, options: Options) -> tuple[np.ndarray, dict[str, float]]:
    """The weights to rank with, and the share of each level."""
    given = options.level_weights
    weights = ranking.weights(space, ranking.parse_level_weights(given) if given else None)
    return weights, dict(zip(space.levels, weights.round(6).tolist()))


def vectors_of(conn, source: Source, space: store.Space, wait: float = 0.5) -> index.Index:
    """The vectors of a space. Raises index.Loading, or Refused where they cannot be loaded."""
    try:
        return index.cache_for(source.db).get(conn, space, wait)
    except index.Loading:
        raise
    except ImgsimError as ex:
        raise Refused(503, str(ex)) from ex


# Images as they appear in results


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
        return calibration.shortened(self.percentile)

    @property
    def words(self) -> str:
        """What the score means."""
        return calibration.in_words(self.percentile)

    def json(self) -> dict:
        return {
            "id": self.id,
            # As text, since JavaScript rounds large numbers.
            "key": str(self.id),
            "score": self.score,
            "percentile": self.percentile,
            "href": self.href,
            "thumbnail": self.thumbnail,
        }


def tiles(
    conn,
    source: Source,
    options: Options,
    scored: Iterable[tuple],
    scale: Calibration | None = None,
) -> list[Tile | None]:
    """A tile for each (id, score); None where the row has gone from the source table."""
    scored = list(scored)
    known = _described(conn, source, [id for id, _score in scored])
    return [
        Tile(
            id,
            source.name(id, known[id][0]),
            source.similar(id) + options.query(),
            source.row(id),
            source.thumbnail(id) if known[id][1] else None,
            score,
            scale and scale.percentile(score),
        )
        if id in known
        else None
        for id, score in scored
    ]


def _described(conn, source: Source, ids: list) -> dict:
    """{id: (label, has a thumbnail)} of those ids that are rows of the source table."""
    key = f"t.{store.quoted(source.key)}"
    label = without_blobs(f"t.{store.quoted(source.label)}") if source.label else "null"
    found = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        # The + takes the key's affinity away, without which the index could not be used.
        rows = conn.execute(
            f"""
            select {key}, {label}, exists (
                select 1 from imgsim_thumbnails where source_table = ? and image_id = +{key}
            )
            from {store.quoted(source.table)} t where {key} in ({", ".join("?" * len(some))})
            """,
            [source.table, *some],
        )
        found.update((id, (label, has_thumbnail)) for id, label, has_thumbnail in rows)
    return found


@dataclass(frozen=True)
class Results:
    """One page of a ranking."""

    tiles: list[Tile]
    next: str | None
    chance: float | None
    """The score up to which chance reaches, where this page or a later one comes down to it."""


def ranked(conn, source, options, vectors: index.Index, query, weights, exclude=()) -> Results:
    """A page of the images most like `query`. `next` is a place in the ranking."""
    start, size = options.start, options.size
    if vectors.matrix is None and start + size > MOST_RANKED:
        raise Refused(400, f"Of so many images only the best {MOST_RANKED:,} are ranked")
    scale = calibration.of(conn, vectors, weights)
    wanted = start + size + 1
    while True:
        scored = ranking.rank(conn, vectors, query, wanted, exclude)
        found = tiles(conn, source, options, scored[start:], scale)
        places = [place for place, tile in enumerate(found) if tile]
        # Rows deleted by hand are made up for by those that follow.
        if len(places) > size or len(scored) < wanted:
            break
        wanted *= 2
    shown = places[:size]
    following = str(start + shown[-1] + 1) if len(places) > size else None
    chance = scale and scale.chance
    if chance is not None and start and scored[start - 1 : start]:
        _, before = scored[start - 1]
        chance = None if before <= chance else chance  # an earlier page has drawn the line
    return Results([found[place] for place in shown], following, chance)


def similar_sql(conn, source: Source, space: store.Space, id, k: int, options: dict) -> str:
    """The query that gives the rows of the k images most like one, best first."""
    arguments = [str(id) if isinstance(id, int) else _literal(str(id)), str(k)]
    given = sql_options(conn, source, space) | options
    if given:
        arguments.append(_literal(json.dumps(given)))
    key = f"image.{store.quoted(source.key)}"
    return (
        f"select round(json_extract(found.value, '$.score'), 3) as score, image.*\n"
        f"from json_each(similar_to({', '.join(arguments)})) as found\n"
        f"join {store.quoted(source.table)} as image\n"
        f"  on {key} = json_extract(found.value, '$.id')\n"
        f"order by found.key"
    )


def sql_options(conn, source: Source, space: store.Space) -> dict:
    """The options without which the SQL functions would use another space."""
    try:
        usual = store.choose_space(conn, configured=source.config.space).name
    except ImgsimError:
        usual = None
    return {} if usual == space.name else {"space": space.name}


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))


async def sql_url(datasette, actor, database: str, sql: str) -> str | None:
    """Where a query can be run, for an actor who may."""
    if not await compat.can_execute_sql(datasette, actor, database):
        return None
    return f"{datasette.urls.database(database)}?{urllib.parse.urlencode({'sql': sql})}"


# Answers


def is_json(request) -> bool:
    return request.url_vars.get("format") == ".json"


def json_answer(datasette, body: dict, status: int = 200, headers: dict | None = None) -> Response:
    headers = dict(headers or {})
    if datasette.cors:
        add_cors_headers(headers)
    return Response.json(body, status=status, headers=headers)


def common_context(source: Source, options: Options) -> dict:
    """What the templates of all pages are told."""
    return {
        "database": source.db.name,
        "table": source.table,
        "color": compat.color(source.db),
        "source": source,
        "options": options,
    }


async def html_answer(datasette, request, template: str, context: dict, status=200) -> Response:
    context = {"imgsim_static": functools.partial(compat.static, datasette), **context}
    body = await datasette.render_template(template, context, request=request, view_name="imgsim")
    return Response.html(body, status=status)


def picture_answer(datasette, request, etag: str, jpeg: bytes, max_age=MAX_AGE) -> Response:
    """A JPEG file, or the word that the browser's own is still good."""
    headers = {
        # Datasette itself makes this private for whoever is logged in.
        "cache-control": f"max-age={max_age}",
        "etag": f'"{etag}"',
        "x-content-type-options": "nosniff",
    }
    if datasette.cors:
        add_cors_headers(headers)
    if matches(request, etag):
        return Response(b"", status=304, headers=headers, content_type="image/jpeg")
    return Response(jpeg, headers=headers, content_type="image/jpeg")


def matches(request, etag: str) -> bool:
    wanted = request.headers.get("if-none-match", "")
    return wanted == "*" or etag in [part.strip().strip('W/"') for part in wanted.split(",")]


def next_link(
    source: Source, request, path: str, options: Options, next: str | None, **more
) -> dict:
    """The keys 'next' and 'next_url' of a JSON answer; `more` are parameters of this page alone."""
    query = options.paged(next, **more)
    url = source.datasette.absolute_url(request, path + query) if next else None
    return {"next": next, "next_url": url}


def page(view):
    """A view(datasette, request, source) whose errors are a page of one sentence, or JSON."""
    return _answering(view, is_json)


def json_only(view):
    """A view(datasette, request, source) whose errors are {"ok": false, "error": ...}."""
    return _answering(view, lambda request: True)


def _answering(view, wants_json):
    # Datasette looks at the names of these arguments, so this is no functools.wraps.
    async def answer(datasette, request):
        source = None
        try:
            source = await source_of(datasette, request)
            return await view(datasette, request, source)
        except Forbidden:
            if not wants_json(request):
                raise  # Datasette's own page, which plugins may turn into a login form
            refused = Refused(403, "You may not view this table: log in as somebody who may")
        except Refused as ex:
            refused = ex
        except index.Loading as ex:
            waiting = {"ok": False, "error": str(ex), "loading": True}
            return json_answer(datasette, waiting, headers={"retry-after": "1"})
        except ImgsimError as ex:
            refused = Refused(400, str(ex))
        except sqlite3.Error as ex:
            refused = Refused(503, f"The database cannot be read just now ({ex}): try again later")
        if wants_json(request):
            error = {"ok": False, "error": refused.message}
            return json_answer(datasette, error, refused.status, refused.headers)
        context = {
            "title": HTTPStatus(refused.status).phrase,
            "message": refused.message,
            "source": source,
            "database": source and source.db.name,
            "table": source and source.table,
        }
        return await html_answer(datasette, request, "imgsim_error.html", context, refused.status)

    return answer
