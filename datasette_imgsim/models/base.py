"""What a network that can be cut has to offer: a description and one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImgsimError

if TYPE_CHECKING:
    import torch


class ModelUnavailable(ImgsimError):
    """The network or its weights cannot be had on this machine."""


@dataclass(frozen=True)
class Description:
    """What can be said of a model without loading it."""

    name: str
    about: str
    channels: dict[str, int]
    """Each level in network order, and how many channels (C) its map has."""
    default_levels: tuple[str, ...]
    default_pooling: str = "gem"
    size: int = 224
    """Input pictures are size x size pixels."""
    normalise: str = "torchvision"
    """How pixels are scaled: 'torchvision' or 'oxford' (see `network.NORMALISE`)."""
    licence: str = ""
    """Of the weights."""
    version: str = ""
    """Of the weights, where the package itself carries them."""
    download: str = ""
    """How much is fetched on first use; empty where the package carries the weights."""
    level_weights: dict[str, float] = field(default_factory=dict)
    """Default level weights; a level that is not named weighs 1."""


class Model(ABC):
    """A network that can be cut at named levels. Subclass it and register it to add one."""

    description: Description

    @abstractmethod
    def cut(self, levels: list[str], weights: Path | None) -> torch.nn.Module:
        """The network up to the deepest of `levels`, in float32, with its weights.

        `levels` are in network order; `weights` is a file, or None for the model's own. The
        module takes normalised pixels (N, 3, size, size) and returns a list with the map
        (N, C, H, W) of each level. Its `state_dict` holds just the tensors used: they are the
        identity of the weights. Raises ImgsimError.
        """

    def unavailable(self) -> str | None:
        """Why the model's own weights are not on this machine, or None; must be quick."""
        return None
