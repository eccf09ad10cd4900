"""An index: the vectors of a space, in memory in one of three forms.

The form depends on the size of the vectors as float32:

- up to LIMITS.bytes_scanned: `InMemory` compares a query with all vectors
- up to LIMITS.bytes_in_memory: `WithReduction` also has reduced vectors, which choose candidates
- above: `ReductionOnly` has only reduced vectors; whole ones are read from the database

The form for vectors in an engine is in `engine`.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cachetools import LRUCache

from ..db.spaces import Space
from ..db.tables import SourceTable
from ..limits import LIMITS
from .reduction import Reduction
from .vectors import at_most, centred, decoded, stored_blobs

ROUGH = 1e-5
"""Scores that differ by less than this rounding error of float32 products count as equal."""
BYTES_RESCORED, ALLOWANCE = 4_000_000, 2
"""A reduction chooses ALLOWANCE times as many candidates as results, and LIMITS.rescored more,
or fewer if the vectors of these would exceed BYTES_RESCORED."""
FEW = 250
"""For up to this many results the reduction chooses the candidates."""
LARGEST_ROUNDING = 1e-4
"""Reduced vectors of the same picture differ by less than this, those of different ones by more."""
READ_AHEAD, BLOCKS_KEPT = 64, 8
"""How many vectors are read from the database at once, and how many such blocks are kept: queries
often need them one after the other."""


@dataclass(frozen=True)
class Sample:
    """Some images of an index, which stand for all of them."""

    rows: np.ndarray
    """(m,), ascending."""
    vectors: np.ndarray
    """(m, dimensions) float32."""


@dataclass(eq=False)
class Index(ABC):
    """The vectors of one generation of a space. A vector's row is the place of its id in `ids`."""

    space: Space
    table: SourceTable
    centre: np.ndarray | None
    """(dimensions,), subtracted from the vectors; None without centring."""
    ids: Sequence
    """The ids of the images by row. In memory they are ascending, an array if all are integers."""
    damaged: list
    """The ids of images left out: their stored vector has a wrong length or is not finite."""
    sample: Sample | None = None
    """Images chosen at random, once `calibration` has read them."""
    sampled_cosines: np.ndarray | None = None
    """The cosines of random pairs, (pairs, levels), once `calibration` has computed them."""
    calibrations: dict = field(default_factory=dict)
    """The calibrations for the level weights used last, kept here by `calibration`."""

    rankings: LRUCache = field(
        default_factory=lambda: LRUCache(LIMITS.bytes_of_rankings, _bytes_of_ranking)
    )
    """The last rankings, kept here by `ranking`."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """For `rankings`, which threads share."""

    most_hits: int | None = None
    """The most results that a search may have; None means no limit."""

    place = "loaded"
    """Where its vectors are, in words."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, conn: sqlite3.Connection, id) -> int | None:
        """The row of an image, by its key as stored; None if it has no vector."""
        if isinstance(self.ids, list):
            return self._rows.get(id)
        if not isinstance(id, (int, float)):
            return None
        row = bisect_left(self.ids, id)
        return row if row < len(self.ids) and self.ids[row] == id else None

    @functools.cached_property
    def _rows(self) -> dict:
        return {id: row for row, id in enumerate(self.ids)}

    def check(self) -> None:  # noqa: B027  (in memory, it always can)
        """Raises ImgsimError if it cannot answer now."""

    def some_rows(self, conn: sqlite3.Connection, count: int) -> np.ndarray:
        """Rows (m,), ascending, of up to `count` images chosen at random, the same each time."""
        if count >= len(self):
            return np.arange(len(self))
        random = np.random.default_rng(0)
        return np.sort(random.choice(len(self), count, replace=False, shuffle=False))

    @abstractmethod
    def vector(self, conn: sqlite3.Connection, row: int) -> np.ndarray:
        """The vector in a row, (dimensions,) float32: each level centred, then made unit length."""

    @abstractmethod
    def vectors(self, conn: sqlite3.Connection, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The vectors in rows, (rows, dimensions) float32, as `vector` returns them."""

    @abstractmethod
    def scaled(self, factors: np.ndarray) -> np.ndarray:
        """All vectors, (n, d) float32, each level multiplied by its factor (levels,).

        d is `space.dimensions`, or less if only reduced vectors are in memory. Raises ImgsimError
        if they are in an engine.
        """

    def compact(self, factors: np.ndarray) -> np.ndarray:
        """The same of the reduced vectors, (n, fewer numbers), where the index has them."""
        return self.scaled(factors)

    @abstractmethod
    def candidates(self, query: np.ndarray, count: int) -> np.ndarray:
        """Rows (m,) that include the `count` best for the vector of a query (dimensions,)."""


@dataclass(eq=False)
class InMemory(Index):
    """An index with all vectors in memory."""

    matrix: np.ndarray = field(kw_only=True)
    """(n, dimensions) float32."""

    def vector(self, conn, row):
        return self.matrix[row]

    def vectors(self, conn, rows):
        return self.matrix[rows]

    def scaled(self, factors):
        return self.matrix * np.repeat(factors.astype(np.float32), [*self.space.levels.values()])

    def candidates(self, query, count):
        return _best_rows(self.matrix, query, count)


@dataclass(eq=False)
class WithReduction(InMemory):
    """An index with all vectors in memory, and reduced ones that choose candidates."""

    reduction: Reduction = field(kw_only=True)
    reduced: np.ndarray = field(kw_only=True)
    """(n, reduction.numbers) float32."""

    def compact(self, factors):
        return _scaled_reduced(self, factors)

    def candidates(self, query, count):
        if count > FEW:
            return super().candidates(query, count)
        return _reduced_candidates(self, query, count)


@dataclass(eq=False)
class ReductionOnly(Index):
    """An index with only reduced vectors in memory; whole ones are read from the database."""

    reduction: Reduction = field(kw_only=True)
    reduced: np.ndarray = field(kw_only=True)
    """(n, reduction.numbers) float32."""
    blocks: dict[int, np.ndarray] = field(default_factory=dict, kw_only=True)
    """Vectors read ahead, (up to READ_AHEAD, dimensions), by the number of the block."""

    def __post_init__(self):
        self.most_hits = LIMITS.most_hits_from_database

    def vector(self, conn, row):
        """As in Index; also reads the vectors around it, which are often needed next."""
        number, place = divmod(row, READ_AHEAD)
        block = self.blocks.get(number)
        if block is None:
            start = number * READ_AHEAD
            block = self.vectors(conn, range(start, min(start + READ_AHEAD, len(self))))
            if len(self.blocks) >= BLOCKS_KEPT:
                self.blocks.clear()
            self.blocks[number] = block
        return block[place]

    def vectors(self, conn, rows):
        """As in Index, from the database.

        A stored vector is used only if it has the reduced vector that is in memory. If it was
        changed or removed since this generation was loaded, it is replaced by one reconstructed
        from the reduced vector, so that results are always of one generation.
        """
        reduced = self.reduced[rows]
        blobs = stored_blobs(conn, self.space, [self.ids[row] for row in rows])
        raw, usable = decoded(self.space, blobs)
        stored, places = centred(self.space, self.centre, raw), np.flatnonzero(usable)
        change = np.abs(self.reduction.reduce(stored) - reduced[places]).max(axis=1, initial=0)
        is_same = change < LARGEST_ROUNDING
        if is_same.all() and len(is_same) == len(reduced):
            return stored
        vectors = self.reduction.reconstruct(reduced)
        vectors[places[is_same]] = stored[is_same]
        return vectors

    def scaled(self, factors):
        return _scaled_reduced(self, factors)

    def candidates(self, query, count):
        return _reduced_candidates(self, query, count)


def _bytes_of_ranking(ranking: tuple[np.ndarray, np.ndarray]) -> int:
    return sum(part.nbytes for part in ranking)


def _scaled_reduced(index: WithReduction | ReductionOnly, factors: np.ndarray) -> np.ndarray:
    sizes = [axes.shape[1] for _, _, axes in index.reduction.parts]
    return index.reduced * np.repeat(factors.astype(np.float32), sizes)


def _reduced_candidates(
    index: WithReduction | ReductionOnly, query: np.ndarray, count: int
) -> np.ndarray:
    """The rows with the best reduced vectors: more than `count`, since these are not exact."""
    spare = at_most(LIMITS.rescored, BYTES_RESCORED, index.space.dimensions)
    total = count * ALLOWANCE + spare
    return _best_rows(index.reduced, index.reduction.reduce(query), total, all_ties=False)


def _best_rows(
    matrix: np.ndarray, query: np.ndarray, count: int, all_ties: bool = True
) -> np.ndarray:
    """Rows (m,) of a matrix (n, d) that include the `count` best for a query (d,).

    With `all_ties` they include all rows that tie with the last of these, else as many as needed.
    """
    if count >= len(matrix):
        return np.arange(len(matrix))
    # A matrix product is fast, but may round equal rows differently. So it only chooses rows, with
    # a margin for rounding.
    used = np.flatnonzero(query)  # first and last levels that weigh 0 are skipped
    part = slice(used[0], used[-1] + 1) if len(used) else slice(0)
    rough = matrix[:, part] @ query[part]
    least = np.partition(rough, -count)[-count]
    rows = np.flatnonzero(rough >= least - ROUGH)
    if not all_ties:
        # There may be many copies of one picture: of rows that tie, the first ones are enough.
        tied = rough[rows] <= least + ROUGH
        rows = rows[~tied | (np.cumsum(tied) <= count)]
    return rows
