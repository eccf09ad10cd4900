"""Blocks of images, and rough scores of all pairs of two blocks by matrix products."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..atlas import layout
from ..models import network
from ..search.index import ROUGH, InMemory

ROWS_AT_ONCE = 1_024
QUICK_FROM = 5_000
"""For fewer images, loading torch takes longer than what its quick products save."""
# Rounding both factors to 8 bits changes a sum of products of unit vectors by up to 2^-8 (by the
# inequality of Cauchy and Schwarz), rounding the sum itself by up to 2^-9.
ROUGH_IN_BFLOAT16 = 2**-7


@dataclass
class Block:
    """Some images of an index, of which all are compared with all of another block."""

    rows: np.ndarray
    """(m,), ascending."""
    vectors: np.ndarray
    """(m, dimensions) float32."""
    factors: np.ndarray
    """(dimensions,): the inner product of a vector times these, and a vector, is the score."""
    is_quick: bool
    """Whether products in bfloat16 are quick on this machine."""

    @property
    def queries(self) -> np.ndarray:
        return self.vectors * self.factors

    @functools.cached_property
    def small_queries(self):
        """The queries as bfloat16, for torch."""
        return _in_bfloat16(self.queries)

    @functools.cached_property
    def small_vectors(self):
        """The vectors as bfloat16, for torch."""
        return _in_bfloat16(self.vectors)

    def rough(self, other: Block) -> tuple[np.ndarray, float]:
        """(scores (m, others) float32, how far they are from the true ones at most)."""
        if not self.is_quick:
            return self.better(other)
        import torch

        scores = torch.mm(self.small_queries, other.small_vectors.T)
        return scores.float().numpy(), ROUGH_IN_BFLOAT16

    def better(self, other: Block) -> tuple[np.ndarray, float]:
        """The same with the precision of float32."""
        return self.queries @ other.vectors.T, ROUGH


def _in_bfloat16(vectors: np.ndarray):
    import torch

    return torch.from_numpy(vectors).bfloat16()


def blocks(index: InMemory, factors: np.ndarray, rows: np.ndarray) -> list[Block]:
    """The rows, some in a block; where they are all, those that are alike are near each other."""
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    if len(rows) == len(index):
        heads = index.matrix[np.random.default_rng(0).permutation(len(rows))[: len(parts)]]
        order = np.concatenate(layout.by_group(index.matrix, heads))
        parts = [np.sort(order[part[0] : part[-1] + 1]) for part in parts]
    is_quick = len(index) >= QUICK_FROM and _has_bfloat16()
    return [Block(part, index.matrix[part], factors, is_quick) for part in parts]


def _has_bfloat16() -> bool:
    try:
        return network.has_bfloat16()
    except ImportError:  # torch is missing without the extra 'embed'
        return False
