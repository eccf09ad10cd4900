"""The vectors of a space in memory, in one of three forms.

The form depends on how many bytes the vectors would be as float32:

- few: `InMemory` holds all of them, and every query looks at all
- more: `WithReduction` also holds their reduction, which tells where to look
- many: `ReductionOnly` holds just that; single vectors are read from the database
"""

from __future__ import annotations

import functools
import sqlite3
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..db.spaces import Space
from ..db.tables import SourceTable
from ..limits import LIMITS
from .reduction import Reduction
from .vectors import at_most, centred, decoded, stored_blobs

# float32 products are rounded: with this margin, all that tie with the last one stay in.
ROUGH = 1e-5
BYTES_RESCORED, ALLOWANCE = 4_000_000, 2
"""Beyond the reduction's best, so many are scored with their whole vectors."""
FEW = 250
"""Up to so many results the reduction chooses; for more, all vectors in memory are looked at."""
# Between the reduction in memory and one made anew: rounding is less, another picture is more.
LARGEST_ROUNDING = 1e-4
READ_AHEAD, BLOCKS_KEPT = 64, 8
"""Of vectors that are not in memory: queries often ask for one after the other."""


@dataclass(eq=False)
class Index(ABC):
    """The vectors of one generation of a space."""

    space: Space
    table: SourceTable
    centre: np.ndarray | None
    ids: array | list
    """The images, in ascending order; an array where all are integers."""
    damaged: list
    """Images left out, whose stored vector has a wrong length or is not finite."""
    sampled_cosines: np.ndarray | None = None
    """(pairs, levels) of random pairs, once `calibration` has drawn them."""
    calibrations: dict = field(default_factory=dict)
    """What `calibration` has made for some level weights."""

    most_hits: int | None = None
    """How many results can be given at most; None where that does not matter."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, id) -> int | None:
        """Where an image's vector is, by its key as stored; None where it has none."""
        if isinstance(self.ids, list):
            return self._rows.get(id)
        if not isinstance(id, (int, float)):
            return None
        row = bisect_left(self.ids, id)
        return row if row < len(self.ids) and self.ids[row] == id else None

    @functools.cached_property
    def _rows(self) -> dict:
        return {id: row for row, id in enumerate(self.ids)}

    @abstractmethod
    def vector(self, conn: sqlite3.Connection, row: int) -> np.ndarray:
        """(dimensions,) float32: each level centred, then of unit length."""

    @abstractmethod
    def vectors(self, conn: sqlite3.Connection, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(rows, dimensions) float32, as `vector` gives them."""

    @abstractmethod
    def scaled(self, factors: np.ndarray) -> np.ndarray:
        """All vectors, (n, d) float32, each level times its factor (levels,).

        Of a space that is not in memory d is smaller: what its reduction keeps.
        """

    @abstractmethod
    def candidates(self, query: np.ndarray, count: int) -> np.ndarray:
        """Rows (m,) among which the `count` best are, for a query (dimensions,)."""


@dataclass(eq=False)
class InMemory(Index):
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
    reduction: Reduction = field(kw_only=True)
    reduced: np.ndarray = field(kw_only=True)
    """(n, reduction.numbers) float32."""

    def candidates(self, query, count):
        if count > FEW:
            return super().candidates(query, count)
        return _reduced_candidates(self, query, count)


@dataclass(eq=False)
class ReductionOnly(Index):
    reduction: Reduction = field(kw_only=True)
    reduced: np.ndarray = field(kw_only=True)
    """(n, reduction.numbers) float32."""
    blocks: dict[int, np.ndarray] = field(default_factory=dict, kw_only=True)
    """Vectors read ahead, by number of the block."""

    def __post_init__(self):
        self.most_hits = LIMITS.most_hits_from_database

    def vector(self, conn, row):
        """Also reads those that follow: they are often asked for next."""
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
        """From the database.

        A vector there counts only if its reduction is the one in memory. One that was written or
        removed since this generation was loaded is reconstructed from its reduction instead: so an
        answer is of one generation, in which such an image has the score of its reduction.
        """
        reduced = self.reduced[rows]
        blobs = stored_blobs(conn, self.space, [self.ids[row] for row in rows])
        raw, usable = decoded(self.space, blobs)
        stored, places = centred(self.space, self.centre, raw), np.flatnonzero(usable)
        off = np.abs(self.reduction.reduce(stored) - reduced[places]).max(axis=1, initial=0)
        same = off < LARGEST_ROUNDING
        if same.all() and len(same) == len(reduced):
            return stored
        vectors = self.reduction.reconstruct(reduced)
        vectors[places[same]] = stored[same]
        return vectors

    def scaled(self, factors):
        sizes = [axes.shape[1] for _, _, axes in self.reduction.parts]
        return self.reduced * np.repeat(factors.astype(np.float32), sizes)

    def candidates(self, query, count):
        return _reduced_candidates(self, query, count)


def _reduced_candidates(
    index: WithReduction | ReductionOnly, query: np.ndarray, count: int
) -> np.ndarray:
    """The rows whose reductions are best, more than `count` since a reduction may be wrong."""
    more = at_most(LIMITS.rescored, BYTES_RESCORED, index.space.dimensions)
    many = count * ALLOWANCE + more
    return _best_rows(index.reduced, index.reduction.reduce(query), many, all_ties=False)


def _best_rows(
    matrix: np.ndarray, query: np.ndarray, count: int, all_ties: bool = True
) -> np.ndarray:
    """Rows (m,) of a matrix (n, d) among which the `count` best for a query (d,) are.

    Of rows that tie with the last one all stay in, or as many as are needed.
    """
    if count >= len(matrix):
        return np.arange(len(matrix))
    # A product of matrices is fast, but need not be alike for equal rows. So it only chooses,
    # with room for its rounding.
    used = np.flatnonzero(query)  # levels that weigh nothing lie before or behind these
    part = slice(used[0], used[-1] + 1) if len(used) else slice(0)
    rough = matrix[:, part] @ query[part]
    least = np.partition(rough, -count)[-count]
    rows = np.flatnonzero(rough >= least - ROUGH)
    if not all_ties:
        # Copies of one picture may be many; of those that tie the first ones are enough.
        tied = rough[rows] <= least + ROUGH
        rows = rows[~tied | (np.cumsum(tied) <= count)]
    return rows
