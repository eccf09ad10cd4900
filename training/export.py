"""Writes mini.safetensors from a training checkpoint: batch norm folded, float16, metadata.

python -m training.export CHECKPOINT.safetensors mini.safetensors --version 1
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from safetensors.torch import load_file, save_file

BLOCKS, CONVOLUTIONS = 5, 2
EPSILON = 1e-5


def fold(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Training names (block1.conv1, block1.bn1, …) -> torchvision's (features.0.weight, .bias).

    A batch norm y = (x - mean) / sqrt(var + eps) * weight + bias is one more factor and shift of
    the convolution before it (Jacob et al. 2018, arXiv 1712.05877, section 3.2).
    """
    folded, position = {}, 0
    for block in range(1, BLOCKS + 1):
        for number in range(1, CONVOLUTIONS + 1):
            norm = {
                name: state[f"block{block}.bn{number}.{name}"].double()
                for name in ("weight", "bias", "running_mean", "running_var")
            }
            factor = norm["weight"] / (norm["running_var"] + EPSILON).sqrt()
            weight = state[f"block{block}.conv{number}.weight"].double()
            folded[f"features.{position}.weight"] = weight * factor[:, None, None, None]
            folded[f"features.{position}.bias"] = norm["bias"] - norm["running_mean"] * factor
            position += 2  # the convolution and its ReLU
        position += 1  # the pooling
    return {name: tensor.half() for name, tensor in folded.items()}


def layers(state: dict[str, torch.Tensor]) -> list:
    """The network as `models.vgg.LAYERS` writes one."""
    found = []
    for block in range(1, BLOCKS + 1):
        channels = state[f"block{block}.conv1.weight"].shape[0]
        found += [channels] * CONVOLUTIONS + ["M"]
    return found


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--version", required=True, help="Of these weights, as users will see it")
@click.option("--levels", default="conv5_2", show_default=True)
@click.option("--pooling", default="gem", show_default=True)
@click.option("--size", default=160, show_default=True, help="Input pictures are SIZE x SIZE")
def export(checkpoint, output, version, levels, pooling, size):
    """Write the file that the package carries."""
    state = load_file(checkpoint)
    levels = levels.split(",")
    metadata = {
        "about": "the small VGG that comes with the package",
        "version": version,
        "layers": layers(state),
        "levels": levels,
        "pooling": pooling,
        "level_weights": dict.fromkeys(levels, 1),
        "size": size,
        "normalise": "torchvision",
        "licence": "Apache-2.0",
    }
    save_file(fold(state), output, {name: json.dumps(value) for name, value in metadata.items()})


if __name__ == "__main__":
    export()
