"""The SQL functions, for Datasette's connections and for sqlite-utils."""

from __future__ import annotations

import functools
import json
import math
import sqlite3
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from cachetools import LRUCache

from .. import sqlite_errors
from ..db import schema, versions
from ..db.spaces import Space, choose_space
from ..db.tables import SourceTable, quoted
from ..errors import ImgsimError, listed
from ..limits import LIMITS
from . import interrupts, paths, ranking, reranking, results
from .arguments import (
    DEFAULT_K,
    OPTIONS,
    PATH_OPTIONS,
    PICTURE_OPTIONS,
    SIMILAR_OPTIONS,
    STATUS_OPTIONS,
    VECTOR_OPTIONS,
    count_of,
    parsed_options,
)
from .calibration import Calibration, get_calibration
from .index import Index
from .indexes import Indexes, is_interrupt
from .ranking import Query
from .vectors import VECTOR_SQL, decoded

Address = Callable[[str, object], str]
"""Gives the address of the thumbnail of an image of a table."""


Configured: TypeAlias = Callable[[sqlite3.Connection], "str | None"]


@dataclass(frozen=True)
class View:
    """The meaning of one set of options."""

    space: Space
    table: SourceTable
    weights: np.ndarray
    """(levels,), sum 1."""
    ranked: bool
    rerank: bool
    plus: list
    minus: list
    queries: dict[object, Query | None] = field(default_factory=dict)
    """The last queries by id, since most statements compare with the same image."""
    raws: dict = field(default_factory=dict)
    """The last raw vector by id, likewise."""


class Functions:
    """The functions of one connection. While a statement runs, they all use the same vectors."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        spaces: Indexes,
        configured: Configured,
        address: Address | None,
    ):
        self.conn, self.spaces, self.configured, self.address = conn, spaces, configured, address
        self.began = self.ended = self.checked = 0.0
        self.views: dict[tuple, View] = {}
        self.answers: LRUCache = LRUCache(LIMITS.bytes_of_answers, len)
        """The last answers of `similar_to`: in a statement, it may be called for each row."""
        # Weak, so that an idle connection does not keep a replaced index in memory.
        self.indexes: dict[int, weakref.ref[Index]] = {}

    def called(self, function: Callable) -> Callable:
        """Wraps a function for SQLite: the result is null if an argument is."""

        @functools.wraps(function)
        def inner(*arguments):
            if None in arguments:
                return None
            self._begin(time.monotonic())
            try:
                value = function(*arguments)
                self._check_time()
                return value
            except sqlite_errors.OperationalError as ex:
                if not is_interrupt(ex):
                    raise
                # The time limit ended our own query: it must end the user's query, too.
                self.conn.interrupt()
            finally:
                self.ended = time.monotonic()

        return inner

    def _begin(self, now: float) -> None:
        """Forgets what the last statement used, unless this call seems to belong to it."""
        if self._is_new_statement(now):
            self.views.clear()
            self.indexes.clear()
            self.answers.clear()
            self.began = now

    def _is_new_statement(self, now: float) -> bool:
        return (
            now - self.ended > LIMITS.seconds_between_statements
            or now - self.began > LIMITS.seconds_a_statement
        )

    def _check_time(self) -> None:
        """Raises an interrupt if the time limit of the connection is over."""
        now = time.monotonic()
        if now - self.checked > LIMITS.seconds_between_checks:
            interrupts.check(self.conn)
            self.checked = now

    def similar_to(self, id, k=DEFAULT_K, options="{}"):
        """A JSON array of the k hits most like an image, best first, as `Hit` has them."""
        # Rows may be deleted by hand while a statement seems to go on.
        (version,) = self.conn.execute("pragma data_version").fetchone()
        key = (id, k, options, version, self.conn.total_changes)
        answer = self.answers.get(key)
        if answer is None:
            answer = self._similar_to(id, count_of(k), self._view(options, SIMILAR_OPTIONS))
            if len(answer) <= self.answers.maxsize:
                self.answers[key] = answer
        return answer

    def _similar_to(self, id, k: int, view: View) -> str:
        index = self._index(view.space)
        row = self._row(index, id)
        if row is None:
            return "[]"
        plus, minus = (
            ranking.example_rows(name, ids, functools.partial(self._row_of_any, index))
            for name, ids in (("plus", view.plus), ("minus", view.minus))
        )
        query = ranking.query_of_examples(self.conn, index, row, plus, minus, view.weights)
        hits = results.best(self.conn, index, query, k, view.rerank)
        texts = (json.dumps(vars(hit)) for hit in interrupts.checked(self.conn, hits))
        return f"[{', '.join(texts)}]"

    def _calibration(self, view: View) -> Calibration | None:
        return get_calibration(self.conn, self._index(view.space), view.weights)

    def imgsim_percentile(self, score, options="{}"):
        """The percentile of a score, 0..100; None without a score, or for too few images."""
        if score == "":
            return None
        if isinstance(score, str):
            try:
                score = float(score)
            except ValueError:
                pass
        if not isinstance(score, (int, float)) or not math.isfinite(score):
            raise ImgsimError(f"A score is a number from -1 to 1, not {score!r:.60}")
        calibration = self._calibration(self._view(options))
        return calibration and calibration.percentile(score)

    def imgsim_score(self, a, b, options="{}"):
        """The score of two images, -1..1, or None if one of them has no vector.

        The image that others are compared with is looked up in its table, once. The others are
        not, since that takes longer than the score: an image deleted by hand may have a score.
        """
        view = self._view(options)
        index, queries = self._index(view.space), view.queries
        if a not in queries and b not in queries:
            # Only the next call shows which of the two images stays the same.
            both = {id: self._query(index, view, id) for id in (a, b)}
            queries.clear()
            queries.update(both)
        if b not in queries:
            a, b = b, a
        row, query = self._row_of_any(index, a), queries[b]
        if row is None or query is None or queries.get(a, query) is None:
            return None
        return ranking.pair(query, index.vector(self.conn, row))

    def _query(self, index: Index, view: View, id) -> Query | None:
        row = self._row(index, id)
        if row is None:
            return None
        return ranking.query_of_image(self.conn, index, row, view.weights)

    def _row(self, index: Index, id) -> int | None:
        """The row of an image in the index; None if it is not in its table or has no vector."""
        key = index.table.find(self.conn, id)
        return None if key is None else index.row(self.conn, key)

    def _row_of_any(self, index: Index, id) -> int | None:
        """Like `_row`, but also for an image deleted by hand; fast for a key as stored."""
        row = index.row(self.conn, id)
        return self._row(index, id) if row is None else row

    def imgsim_distance(self, a, b, options="{}"):
        """The Euclidean distance of two images' raw vectors, weighted by level, or None."""
        view = self._view(options)
        if a in view.raws:
            a, b = b, a
        if b not in view.raws:
            _replace(view.raws, b, self._raw(view, b))
        x, y = self._raw(view, a), view.raws[b]
        if x is None or y is None:
            return None
        starts = [part.start for part in view.space.slices.values()]
        squares = np.add.reduceat((x - y) ** 2, starts, dtype=np.float64)
        return float(np.sqrt(view.weights @ squares))  # NaN, from damaged norms, is NULL in SQL

    def imgsim_vector(self, id, options="{}"):
        """The vector of an image as little-endian float32 bytes, or None.

        It is the stored one, or with the option ranked one whose inner products are scores.
        """
        view = self._view(options, VECTOR_OPTIONS)
        if not view.ranked:
            stored = self._stored(view, id)
            return None if stored is None else stored[0].astype("<f4").tobytes()
        index = self._index(view.space)
        row = self._row(index, id)
        if row is None:
            return None
        scale = np.sqrt(ranking.per_number(view.space, view.weights))
        return (index.vector(self.conn, row) * scale).astype("<f4").tobytes()

    def imgsim_path(self, a, b, options="{}"):
        """A JSON array of the images on the shortest way between two, as `Step` has them."""
        view = self._view(options, PATH_OPTIONS)
        first, last = (view.table.find(self.conn, id) for id in (a, b))
        if first is None or last is None:
            return "[]"
        graph = self.spaces.graphs.get(self.conn, view.space)
        steps = paths.path(self.conn, graph, view.table, first, last)
        return json.dumps([vars(step) for step in steps])

    def imgsim_picture(self, id, options="{}"):
        """The address of an image's thumbnail; None if it has none.

        Where there are no addresses: the path in its row, or None.
        """
        table = self._view(options, PICTURE_OPTIONS).table
        key = table.find(self.conn, id)
        if key is None:
            return None
        if self.address is None:
            return table.path(self.conn, key)
        ((_name, has_thumbnail),) = table.described(self.conn, [key]).values()
        return self.address(table.name, key) if has_thumbnail else None

    def imgsim_status(self, options="{}"):
        """A sentence: what is loaded or loading, or what is wrong with the options."""
        try:
            space = self._new_view(options, STATUS_OPTIONS).space
            index = self.spaces.get(self.conn, space, wait=0)
            index.check()
        except ImgsimError as ex:
            return str(ex)
        text = f"The space {space.name!r} of the table {space.source_table!r} is {index.place}: "
        text += "1 image" if len(index) == 1 else f"{len(index):,} images"
        if index.damaged:
            ids = listed(str(id) for id in index.damaged[:5])
            text += f"; {len(index.damaged):,} damaged vectors are left out, such as of {ids}"
        if index.space.generation != space.generation:
            text += f"; a newer version {self.spaces.newer(space)}"
        text += self.spaces.graphs.state(space)
        return text

    def _stored(self, view: View, id) -> tuple[np.ndarray, bytes] | None:
        """(vector, norms) of an image that is in its table, from the database; or None."""
        if isinstance(id, bytes):
            raise ImgsimError("An id must be a number or text, not a BLOB")
        table = view.table
        # Without "+", the key's affinity would keep SQLite from using the index.
        sql = f"""
            select {VECTOR_SQL}, v.norms from {table.rows_sql}
            join imgsim_vectors v on v.image_key = +{table.key_sql}
            where v.space_id = ? and {table.key_sql} = ?
        """
        row = self.conn.execute(sql, [view.space.id, id]).fetchone()
        if row is None:  # perhaps '7' stands for 7
            row = self.conn.execute(sql, [view.space.id, table.find(self.conn, id)]).fetchone()
        if row is None:
            return None
        vectors, (usable,) = decoded(view.space, row[:1])
        return (vectors[0], row[1]) if usable else None

    def _raw(self, view: View, id) -> np.ndarray | None:
        """The vector as the network computed it: each level's unit vector times its norm."""
        stored = self._stored(view, id)
        if stored is None or len(stored[1]) != 4 * len(view.space.levels):
            return None
        norms = np.frombuffer(stored[1], "<f4")
        return stored[0] * ranking.per_number(view.space, norms)

    def _view(self, options: str, allowed: tuple = OPTIONS) -> View:
        view = self.views.get((options, allowed))
        if view is None:
            view = self.views[options, allowed] = self._new_view(options, allowed)
        return view

    def _new_view(self, options: str, allowed: tuple) -> View:
        parsed = parsed_options(options, allowed)
        configured = self.configured(self.conn)
        if "imgsim_spaces" not in schema.tables(self.conn):
            attached = _attached_with_vectors(self.conn)
            if attached:
                raise ImgsimError(
                    "The functions work only in the database that has the vectors, not where it is "
                    f"attached: run the query in {listed(attached)}"
                )
            raise ImgsimError(
                "This database holds no vectors: run 'datasette imgsim embed DATABASE FOLDER'"
            )
        versions.check_version(self.conn)
        space = choose_space(self.conn, parsed.get("space"), configured=configured)
        table = SourceTable.read(self.conn, space.source_table)
        weights = ranking.weights(space, parsed.get("level_weights"))
        plus, minus = (parsed.get(name) or [] for name in ("plus", "minus"))
        ranked, rerank = (bool(parsed.get(name)) for name in ("ranked", "rerank"))
        if rerank:
            reranking.check(self.conn, space, weights)
        return View(space, table, weights, ranked, rerank, plus, minus)

    def _index(self, space: Space) -> Index:
        index = self.indexes.get(space.id, lambda: None)()
        if index is None:
            index = self.spaces.get(self.conn, space)
            self.indexes[space.id] = weakref.ref(index)
        return index


def _attached_with_vectors(conn: sqlite3.Connection) -> list[str]:
    """The names of the attached databases that hold vectors."""
    names = [name for _, name, _ in conn.execute("pragma database_list") if name != "main"]
    sql = "select 1 from {}.sqlite_master where name = 'imgsim_spaces'"
    return [name for name in names if conn.execute(sql.format(quoted(name))).fetchone()]


def _replace(remembered: dict, id, value) -> None:
    remembered.clear()
    remembered[id] = value


ARITIES = {
    "similar_to": (1, 2, 3),
    "imgsim_score": (2, 3),
    "imgsim_distance": (2, 3),
    "imgsim_percentile": (1, 2),
    "imgsim_vector": (1, 2),
    "imgsim_path": (2, 3),
    "imgsim_picture": (1, 2),
    "imgsim_status": (0, 1),
}


def register(
    conn: sqlite3.Connection,
    spaces: Indexes,
    configured: Configured = lambda conn: None,
    address: Address | None = None,
) -> None:
    """Adds the functions to a connection.

    `configured` gives the name of the space that is used by default, if the database does not say
    that itself. It may raise ImgsimError.
    """
    functions = Functions(conn, spaces, configured, address)
    for name, arities in ARITIES.items():
        function = functions.called(getattr(functions, name))
        for arity in arities:
            # Not deterministic, or an index on an expression could be made of them, which would
            # be wrong as soon as other images are embedded.
            conn.create_function(name, arity, function)
