"""Reduces vectors to fewer numbers that have nearly the same inner products."""

from __future__ import annotations

import numpy as np

# A level keeps a quarter of its numbers, within these limits.
SHARE = 4
FEWEST, MOST = 32, 128


class Reduction:
    """Projects each level of a space on the principal axes of a sample of its vectors.

    The sample's mean is not subtracted (Jolliffe 2002, Principal Component Analysis, section
    14.2.3): of all projections to as few numbers, this one preserves the inner products best.
    Levels stay separate, so level weights scale a reduced query as they scale a whole one.
    """

    def __init__(self, levels: dict[str, int], sample: np.ndarray):
        """`levels` are as in `Space`; `sample` (m, dimensions) are vectors made by `centred`."""
        self.parts: list[tuple[slice, slice, np.ndarray]] = []
        """For each level: its part of whole vectors, of reduced ones, and its axes as columns."""
        self.numbers = self.dimensions = 0
        """How many numbers reduced vectors have, and whole ones."""
        for numbers in levels.values():
            whole = slice(self.dimensions, self.dimensions + numbers)
            axes = _principal(sample[:, whole], max(FEWEST, min(MOST, numbers // SHARE)))
            self.parts.append((whole, slice(self.numbers, self.numbers + axes.shape[1]), axes))
            self.dimensions += numbers
            self.numbers += axes.shape[1]

    def reduce(self, vectors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Reduces vectors: (..., dimensions) -> (..., numbers) float32, into `out` if given."""
        if out is None:
            out = np.empty((*vectors.shape[:-1], self.numbers), np.float32)
        for whole_part, reduced_part, axes in self.parts:
            out[..., reduced_part] = vectors[..., whole_part] @ axes
        return out

    def reconstruct(self, reduced: np.ndarray) -> np.ndarray:
        """Approximates whole vectors: (..., numbers) -> (..., dimensions) float32."""
        vectors = np.empty((*reduced.shape[:-1], self.dimensions), np.float32)
        for whole_part, reduced_part, axes in self.parts:
            vectors[..., whole_part] = reduced[..., reduced_part] @ axes.T
        return vectors


def _principal(sample: np.ndarray, count: int) -> np.ndarray:
    """The principal axes of a sample (m, numbers): up to `count` orthonormal columns (numbers,)."""
    rows, numbers = sample.shape
    if numbers <= rows:
        return np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, -count:])
    # A flattened map has more numbers than there are vectors: its axes are weighted sums of these.
    sums = np.linalg.eigh(sample @ sample.T)[1][:, -count:]
    return np.linalg.qr(sample.T @ sums)[0]
