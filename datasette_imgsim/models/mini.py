"""vgg-mini: the small VGG that the package carries, so that everything works offline."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .base import Description, Model
from .vgg import build, convolution_levels, load, read_weights

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).with_name("mini.safetensors")


def read_metadata(path: Path) -> dict:
    """What a safetensors file says of itself: {name: parsed JSON}.

    The header is an 8-byte little-endian length and JSON: https://github.com/huggingface/safetensors
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        texts = json.loads(file.read(length))["__metadata__"]
    return {name: json.loads(text) for name, text in texts.items()}


class Mini(Model):
    """Plain convolutions whose batch norm was folded; its file says how to use it."""

    @functools.cached_property
    def metadata(self) -> dict:
        return read_metadata(WEIGHTS)

    @functools.cached_property
    def layers(self) -> tuple:
        return tuple(self.metadata["layers"])

    @functools.cached_property
    def description(self) -> Description:
        meta = self.metadata
        return Description(
            name="vgg-mini",
            about=meta["about"],
            channels={k: c for k, (_, c) in convolution_levels(self.layers).items()},
            default_levels=tuple(meta["levels"]),
            default_pooling=meta["pooling"],
            size=meta["size"],
            normalise=meta["normalise"],
            licence=meta["licence"],
            version=meta["version"],
            level_weights=meta["level_weights"],
        )

    def cut(self, levels: list[str], weights: Path | None) -> torch.nn.Module:
        module = build(self.layers, batch_norm=False, levels=levels)
        path = weights or WEIGHTS
        load(module, read_weights(path), path)
        return module
