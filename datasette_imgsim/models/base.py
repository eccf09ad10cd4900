"""What a network that can be cut has to offer: a description and one method."""

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
    normalise: str | dict = "torchvision"
    """How pixels are scaled: a name in `network.NORMALISE`, or {"mean": [R, G, B], "deviation":
    [R, G, B]} of values between 0 and 1."""
    licence: str = ""
    """Of the weights, and whom to credit."""
    version: str = ""
    """Of the weights, where the package itself carries them."""
    download: str = ""
    """How much is fetched on first use; empty where the package carries the weights."""
    level_weights: dict[str, float] = field(default_factory=dict)
    """Default level weights; a level that is not named weighs 1."""


class NumpyCut(Protocol):
    """A network that was cut and that works without torch."""

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Normalised pixels (N, 3, size, size) float32 -> the map (N, C, H, W) of each level."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Just the numbers used, by name: they are the identity of the weights."""


Cut: TypeAlias = "torch.nn.Module | NumpyCut"


class Model(ABC):
    """A network that can be cut at named levels. Subclass it and register it to add one."""

    description: Description
    packages: tuple[str, ...] = ()
    """What is imported to cut it, numpy aside; known without loading anything."""

    @abstractmethod
    def cut(self, levels: list[str], weights: Path | None, size: int) -> Cut:
        """The network up to the deepest of `levels`, with its weights.

        `levels` are in network order; `weights` is a file, or None for the model's own; pictures
        will be size x size pixels. Gives a `torch.nn.Module` in float32, whose `state_dict` holds
        just the tensors used and which does to tensors what `NumpyCut` does to arrays; or a
        `NumpyCut`. Raises ImgsimError.
        """

    def missing_package(self) -> str | None:
        """The sentence that says what to install before the model can be used, or None; quick."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return f"This needs {package}: pip install 'datasette-imgsim[embed]'"
        return None

    def unavailable(self) -> str | None:
        """Why the model's own weights are not on this machine, or None; must be quick."""
        return None
