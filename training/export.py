"""Writes mini.safetensors from a training checkpoint: batch norm folded, float16, metadata.

python -m training.export CHECKPOINT.safetensors mini.safetensors --version 1
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models.pooling import POOLINGS
from datasette_imgsim.models.vgg import convolution_levels
from datasette_imgsim.search.ranking import parse_level_weights

from .student import EPSILON

KEPT = ("weight", "running_mean", "running_var")
"""What a file carries of each batch norm beside the folded convolution, to train it further."""


def fold(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Training names (block1.conv1, block1.bn1, …) -> torchvision's (features.0.weight, .bias).

    A batch norm y = (x - mean) / sqrt(var + eps) * weight + bias is one more factor and shift of
    the convolution before it (Jacob et al. 2018, arXiv 1712.05877, section 3.2).
    """
    folded = {}
    for norm, position in positions(state):
        factor, mean = factor_of(state, norm), state[f"{norm}.running_mean"].double()
        weight = state[f"{norm.replace('bn', 'conv')}.weight"].double()
        folded[f"features.{position}.weight"] = (weight * factor[:, None, None, None]).half()
        folded[f"features.{position}.bias"] = (state[f"{norm}.bias"] - mean * factor).half()
        folded |= {f"{norm}.{key}": state[f"{norm}.{key}"].float() for key in KEPT}
    return folded


def unfold(folded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `fold` made of a checkpoint -> the checkpoint, but for rounding."""
    state = {}
    for norm, position in positions(folded):
        factor, mean = factor_of(folded, norm), folded[f"{norm}.running_mean"].double()
        weight, bias = (folded[f"features.{position}.{key}"].double() for key in ("weight", "bias"))
        state[f"{norm.replace('bn', 'conv')}.weight"] = weight / factor[:, None, None, None]
        state[f"{norm}.bias"] = bias + mean * factor
        state |= {f"{norm}.{key}": folded[f"{norm}.{key}"] for key in KEPT}
    return {name: tensor.float() for name, tensor in state.items()}


def positions(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, int]]:
    """Each batch norm ('block1.bn1') and where its convolution lies in torchvision's network."""
    norms = sorted(name.removesuffix(".running_var") for name in state if "running_var" in name)
    for place, norm in enumerate(norms):
        pools = int(norm.removeprefix("block").partition(".")[0]) - 1
        yield norm, 2 * place + pools  # a convolution and its ReLU count as two


def factor_of(state: dict[str, torch.Tensor], norm: str) -> torch.Tensor:
    """What a batch norm multiplies its channels with, never quite 0."""
    weight, variance = (state[f"{norm}.{key}"].double() for key in ("weight", "running_var"))
    factor = weight / (variance + EPSILON).sqrt()
    return torch.where(factor.abs() < 1e-6, 1e-6, factor)


def layers(state: dict[str, torch.Tensor]) -> list:
    """The network as `models.vgg.LAYERS` writes one."""
    found, block = [], "block1"
    for norm, _ in positions(state):
        if not norm.startswith(f"{block}."):
            found.append("M")
            block = norm.partition(".")[0]
        found.append(len(state[f"{norm}.weight"]))
    return [*found, "M"]


def read(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint, or the file that the package carries, as a checkpoint.

    Raises ClickException for another file.
    """
    try:
        state = load_file(path)
    except SafetensorError as ex:
        raise click.ClickException(f"{path} is not a .safetensors file ({ex})") from ex
    return unfold(state) if "features.0.weight" in state else state


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of `path`: that is whole at any moment."""
    unfinished = path.with_name(f"{path.name}.new")
    yield unfinished
    unfinished.replace(path)


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--version", required=True, help="Of these weights, as users will see it")
@click.option(
    "--levels", default="pool2=0.3,pool4=1,conv5_2=3", show_default=True, help="With their weights"
)
@click.option("--pooling", type=click.Choice(list(POOLINGS)), default="gem", show_default=True)
@click.option(
    "--size",
    type=click.IntRange(32),
    default=176,
    show_default=True,
    help="Input pictures are SIZE x SIZE",
)
def export(checkpoint, output, version, levels, pooling, size):
    """Write the file that the package carries."""
    state = read(checkpoint)
    try:
        level_weights = parse_level_weights(levels)
    except ImgsimError as ex:
        raise click.ClickException(str(ex)) from ex
    network = layers(state)
    known = convolution_levels(network)
    for level in level_weights:
        if level not in known:
            raise click.ClickException(f"There is no level {level!r}: there is {', '.join(known)}")
    metadata = {
        "about": "the small VGG that comes with the package",
        "version": version,
        "layers": network,
        "levels": list(level_weights),
        "pooling": pooling,
        "level_weights": level_weights,
        "size": size,
        "normalise": "torchvision",
        "licence": "Apache-2.0",
    }
    with aside(output) as path:
        save_file(fold(state), path, {name: json.dumps(value) for name, value in metadata.items()})


if __name__ == "__main__":
    export()
