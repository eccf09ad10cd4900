"""How a level's map becomes a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GEM_POWER = 3


def avg(maps: torch.Tensor) -> torch.Tensor:
    """Mean over the cells: (N, C, H, W) -> (N, C). Babenko & Lempitsky 2015, arXiv 1510.07493."""
    return maps.mean(dim=(2, 3))


def max(maps: torch.Tensor) -> torch.Tensor:
    """Largest cell: (N, C, H, W) -> (N, C). MAC of Tolias et al. 2016, arXiv 1511.05879."""
    return maps.amax(dim=(2, 3))


def gem(maps: torch.Tensor) -> torch.Tensor:
    """Generalised mean with p = 3: (N, C, H, W) -> (N, C).

    Radenović, Tolias & Chum 2018, arXiv 1711.02512, equation 3; negative cells count as 0.
    """
    return maps.clamp(min=0).pow(GEM_POWER).mean(dim=(2, 3)).pow(1 / GEM_POWER)


def flatten(maps: torch.Tensor) -> torch.Tensor:
    """The whole map in C, H, W order: (N, C, H, W) -> (N, C * H * W)."""
    return maps.flatten(start_dim=1)


POOLINGS = {function.__name__: function for function in (avg, max, gem, flatten)}
