"""VGG networks (Simonyan & Zisserman 2015, arXiv 1409.1556), cut at the paper's levels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImgsimError
from .base import Description, Model, ModelUnavailable

if TYPE_CHECKING:
    import torch

POOL = "M"
# The paper's configurations A, B, D and E: channels of each 3x3 convolution, M for max-pooling.
LAYERS = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"),
    "vgg19": (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"),
}
MEGABYTES = {"vgg11": 507, "vgg13": 508, "vgg16": 528, "vgg19": 548}
HEAD = {"fc6": 4096, "fc7": 4096}


def convolution_levels(layers: tuple) -> dict[str, tuple[int, int]]:
    """Each level's name -> (how many of `layers` reach it, its channels), in network order."""
    levels, block, number, channels = {}, 1, 0, 0
    for depth, layer in enumerate(layers, start=1):
        if layer == POOL:
            levels[f"pool{block}"] = (depth, channels)
            block, number = block + 1, 0
        else:
            channels, number = layer, number + 1
            levels[f"conv{block}_{number}"] = (depth, channels)
    return levels


class VGG(Model):
    """A VGG of torchvision, with its default weights or those of a file."""

    def __init__(self, name: str):
        self.layers = LAYERS[name.removesuffix("_bn")]
        self.batch_norm = name.endswith("_bn")
        self.description = Description(
            name=name,
            about="torchvision's network, trained on ImageNet",
            channels={k: c for k, (_, c) in convolution_levels(self.layers).items()} | HEAD,
            default_levels=("pool5",),
            licence="BSD-3-Clause (torchvision); trained on ImageNet",
            download=f"{MEGABYTES[name.removesuffix('_bn')]} MB",
        )

    def cut(self, levels: list[str], weights: Path | None) -> torch.nn.Module:
        module = build(self.layers, self.batch_norm, levels)
        state = read_weights(weights) if weights else self._download()
        load(module, state, weights or self.description.name)
        return module

    def _download(self) -> dict[str, torch.Tensor]:
        import torchvision

        enum = torchvision.models.get_model_weights(self.description.name).DEFAULT
        try:
            return enum.get_state_dict(progress=True, check_hash=True)
        except Exception as ex:
            if cached := self._cached():
                raise ModelUnavailable(
                    f"{cached[0]} is damaged ({ex}): remove it, and it is downloaded again"
                ) from ex
            raise ModelUnavailable(
                f"The weights of {self.description.name} could not be downloaded ({ex}): give "
                "them with --weights FILE, or use the bundled network with --model vgg-mini"
            ) from ex

    def unavailable(self) -> str | None:
        import importlib.util

        if importlib.util.find_spec("torchvision") is None:
            return "This needs torchvision: pip install 'datasette-imgsim[embed]'"
        if not self._cached():
            return (
                f"The weights of {self.description.name} are not on this machine: the first "
                f"'embed' with it downloads them ({self.description.download})"
            )
        return None

    def _cached(self) -> list[Path]:
        """The files that torchvision has downloaded."""
        import os

        home = os.environ.get("TORCH_HOME") or os.path.join(
            os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "torch"
        )
        return [*Path(home, "hub", "checkpoints").glob(f"{self.description.name}-*.pth")]


def build(layers: tuple, batch_norm: bool, levels: list[str]) -> torch.nn.Module:
    """The layers up to the deepest of `levels`, named as torchvision names them, without values."""
    import torch
    from torchvision.models.vgg import make_layers

    known = convolution_levels(layers)
    head = [level for level in HEAD if level in levels]
    depth = len(layers) if head else max(known[level][0] for level in levels)

    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = make_layers(list(layers[:depth]), batch_norm)
            if head:
                self.classifier = torch.nn.Sequential(
                    *_fully_connected(512 * 7 * 7),
                    *([torch.nn.Dropout(), *_fully_connected(4096)] if "fc7" in head else []),
                )

        def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
            found = {}
            maps = _walk(self.features, pixels, iter(known), found)
            if head:
                flat = torch.nn.functional.adaptive_avg_pool2d(maps, (7, 7)).flatten(1)
                _walk(self.classifier, flat, iter(HEAD), found)
            return [found[level] for level in levels]

    # Nothing is allocated or drawn at random: `load` puts the weights in place.
    with torch.device("meta"):
        return Cut().eval()


def _fully_connected(inputs: int) -> list[torch.nn.Module]:
    import torch

    return [torch.nn.Linear(inputs, 4096), torch.nn.ReLU()]


def _walk(modules, values: torch.Tensor, names: Iterator[str], found: dict) -> torch.Tensor:
    """Runs the modules and keeps what comes out of each ReLU and pooling, as (N, C, H, W)."""
    import torch

    for module in modules:
        values = module(values)
        if isinstance(module, (torch.nn.ReLU, torch.nn.MaxPool2d)):
            found[next(names)] = values if values.dim() == 4 else values[:, :, None, None]
    return values


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pth or .pt file, as float32. Raises ImgsimError."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelUnavailable(
            f"The weights file {path} is not there: put it back or name another with --weights"
        ) from None
    except Exception as ex:
        reason = str(ex).splitlines()[0] if str(ex) else type(ex).__name__
        raise ImgsimError(
            f"The weights file {path} cannot be read ({reason}): give a .safetensors, .pth or "
            ".pt file that holds only tensors"
        ) from ex
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise ImgsimError(f"The weights file {path} holds no named tensors")
    return {k: v.float() for k, v in state.items() if isinstance(v, torch.Tensor)}


def load(module: torch.nn.Module, state: dict[str, torch.Tensor], source: str | Path) -> None:
    """Puts the tensors a cut network needs in place. Raises ImgsimError naming what is missing."""
    wanted = module.state_dict()
    # Files from before batch norm counted its batches are complete without the count.
    for name in wanted:
        if name.endswith("num_batches_tracked"):
            state = {name: wanted[name].new_zeros((), device="cpu"), **state}
    missing = [name for name in wanted if name not in state]
    if missing:
        deepest = [name for name in state if name in wanted]
        have = f"; the last one it has is {deepest[-1]}" if deepest else ""
        raise ImgsimError(
            f"{source} has no layer {missing[0]!r}, which the deepest level asked for needs{have}: "
            "ask for earlier --levels or give a fuller file"
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise ImgsimError(
                f"{source} is of another network: {name!r} has the shape "
                f"{tuple(state[name].shape)}, not {tuple(tensor.shape)}"
            )
    module.load_state_dict({name: state[name] for name in wanted}, assign=True)
