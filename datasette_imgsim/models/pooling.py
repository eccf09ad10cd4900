"""How a level's map becomes a vector; the same for tensors of torch and arrays of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
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
