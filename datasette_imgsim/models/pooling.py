"""How a level's map becomes a vector; the same for tensors of torch and arrays of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    Maps = TypeVar("Maps", np.ndarray, torch.Tensor)

GEM_POWER = 3


def avg(maps: Maps) -> Maps:
    """Mean over the cells: (N, C, H, W) -> (N, C). Babenko & Lempitsky 2015, arXiv 1510.07493."""
    return maps.mean((2, 3))


def max(maps: Maps) -> Maps:
    """Largest cell: (N, C, H, W) -> (N, C). MAC of Tolias et al. 2016, arXiv 1511.05879."""
    # torch's own `max` takes only one axis.
    array: Any = maps
    return array.amax((2, 3)) if hasattr(maps, "amax") else array.max((2, 3))


def gem(maps: Maps) -> Maps:
    """Generalised mean with p = 3: (N, C, H, W) -> (N, C).

    Radenović, Tolias & Chum 2018, arXiv 1711.02512, equation 3; negative cells count as 0.
    """
    return (maps.clip(0) ** GEM_POWER).mean((2, 3)) ** (1 / GEM_POWER)


def flatten(maps: Maps) -> Maps:
    """The whole map in C, H, W order: (N, C, H, W) -> (N, C * H * W)."""
    return maps.reshape(len(maps), -1)


POOLINGS = {function.__name__: function for function in (avg, max, gem, flatten)}


def pooled(maps: Maps, pooling: str) -> Maps:
    """A level's maps as vectors: (N, C, H, W) -> (N, D). Maps of a single cell are not pooled.

    `pooling` is a key of POOLINGS.
    """
    is_one_cell = maps.shape[2] == maps.shape[3] == 1
    return flatten(maps) if is_one_cell else POOLINGS[pooling](maps)


def along(maps: np.ndarray, pooling: str, direction: np.ndarray) -> np.ndarray:
    """How far each cell takes the pooled vector along a direction: (C, H, W), (D,) -> (H, W).

    The sum is the inner product of the pooled vector and the direction, for each pooling: a cell's
    share is its value times the gradient of the pooling there, and a pooling that doubles with its
    map is the sum of these (Euler's theorem on homogeneous functions). Of a mean that is the cell's
    part of the sum (Stylianou, Souvenir & Pless 2019, arXiv 1901.00536, equation 2), of `gem` the
    cell's part of the sum of cubes, and of `max` the largest cell has all; equal ones divide it.
    """
    maps, direction = maps.astype(np.float64), direction.astype(np.float64)
    if pooling == "flatten" or maps.shape[1] == maps.shape[2] == 1:
        return (maps * direction.reshape(maps.shape)).sum(0)
    vector = pooled(maps[None], pooling)[0][:, None, None]
    if pooling == "avg":
        shares = maps / maps[0].size
    else:
        parts = maps.clip(0) ** GEM_POWER if pooling == "gem" else (maps == vector).astype(float)
        totals = parts.sum((1, 2), keepdims=True)
        shares = vector * parts / np.where(totals > 0, totals, 1)
    return np.tensordot(direction, shares, 1)
