"""The interface of a model: a description, and a method that cuts the network."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..errors import ImgsimError

if TYPE_CHECKING:
    import numpy as np
    import torch


class ModelUnavailable(ImgsimError):
    """The network or its weights are not available on this machine."""


@dataclass(frozen=True)
class Description:
    """What is known of a model without loading it."""

    name: str
    about: str
    """What the network is, in a few words for the user."""
    channels: dict[str, int]
    """Each level, in network order, and how many channels (C) its map has."""
    default_levels: tuple[str, ...]
    default_pooling: str = "gem"
    size: int = 224
    """Input pictures are size x size pixels."""
    normalise: str | dict = "torchvision"
    """How pixels are scaled: a name in `network.NORMALISE`, or {"mean": [R, G, B], "deviation":
    [R, G, B]} of values between 0 and 1."""
    licence: str = ""
    """The licence of the weights, and whom to credit."""
    version: str = ""
    """The version of the weights, if this package carries them."""
    download: str = ""
    """The size of what is downloaded at the first use, such as '528 MB', if it is known."""
    level_weights: dict[str, float] = field(default_factory=dict)
    """Default level weights; a level that is not named weighs 1."""


class NumpyCut(Protocol):
    """A cut network that works without torch."""

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Normalised pixels (N, 3, size, size) float32 -> the map (N, C, H, W) of each level."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays that are used, by name, and no others: they identify the weights."""


Cut: TypeAlias = "torch.nn.Module | NumpyCut"


class Model(ABC):
    """A network that can be cut at named levels. To add one, subclass this and register it."""

    description: Description
    packages: tuple[str, ...] = ()
    """The packages, apart from numpy, that `cut` imports."""

    @abstractmethod
    def cut(self, levels: list[str], weights: Path | None, size: int) -> Cut:
        """The network up to the deepest of `levels`, with its weights.

        `levels` are in network order; `weights` is a file, or None for the model's own; pictures
        will have size x size pixels. Returns a `NumpyCut`, or a float32 `torch.nn.Module` with the
        same methods for tensors: its `state_dict` holds only the tensors used. Raises ImgsimError.
        """

    def missing_package(self) -> str | None:
        """A sentence about a package that must be installed first, or None; must be quick."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return f"This needs {package}: pip install 'datasette-imgsim[embed]'"
        return None

    def unavailable(self) -> str | None:
        """Why the model's own weights are not on this machine, or None; must be quick."""
        return None
