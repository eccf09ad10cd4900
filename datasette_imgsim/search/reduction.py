"""Vectors in fewer numbers, whose inner products are nearly those of the whole ones."""

from __future__ import annotations

import numpy as np

# A level keeps a quarter of its numbers, within these limits.
SHARE = 4
FEWEST, MOST = 32, 128


class Reduction:
    """Each level of a space on its principal axes: those along which most of a sample lies.

    The axes are not moved to the sample's mean (Jolliffe 2002, Principal Component Analysis,
    section 14.2.3), so that of all reductions to so few numbers theirs keeps the inner products
    best. Levels stay apart: level weights scale a reduced query as they scale a whole one.
    """

    def __init__(self, levels: dict[str, int], sample: np.ndarray):
        """`sample` is (m, dimensions) float32, of vectors as `index.centred` makes them."""
        self.parts: list[tuple[slice, slice, np.ndarray]] = []
        """Where each level lies in whole vectors and in reduced ones, and its axes as columns."""
        self.numbers = self.dimensions = 0
        for numbers in levels.values():
            whole = slice(self.dimensions, self.dimensions + numbers)
            axes = _principal(sample[:, whole], max(FEWEST, min(MOST, numbers // SHARE)))
            self.parts.append((whole, slice(self.numbers, self.numbers + axes.shape[1]), axes))
            self.dimensions += numbers
            self.numbers += axes.shape[1]

    def reduce(self, vectors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(..., dimensions) -> (..., numbers) float32, into `out` if given."""
        if out is None:
            out = np.empty((*vectors.shape[:-1], self.numbers), np.float32)
        for whole, few, axes in self.parts:
            out[..., few] = vectors[..., whole] @ axes
        return out

    def reconstruct(self, reduced: np.ndarray) -> np.ndarray:
        """(..., numbers) -> (..., dimensions): what a reduced vector still tells of the whole."""
        vectors = np.empty((*reduced.shape[:-1], self.dimensions), np.float32)
        for whole, few, axes in self.parts:
            vectors[..., whole] = reduced[..., few] @ axes.T
        return vectors


def _principal(sample: np.ndarray, count: int) -> np.ndarray:
    """(numbers, up to `count`) orthonormal columns, the most telling last."""
    rows, numbers = sample.shape
    if numbers <= rows:
        return np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, -count:])
    # A whole map has more numbers than the sample has vectors, and its axes are sums of these.
    sums = np.linalg.eigh(sample @ sample.T)[1][:, -count:]
    return np.linalg.qr(sample.T @ sums)[0]
