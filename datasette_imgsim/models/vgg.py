"""VGG networks (Simonyan & Zisserman 2015, arXiv 1409.1556), cut at the paper's levels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import Description, Model, ModelUnavailable
from .weights import load, not_downloaded, not_here, read, torch_checkpoints

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
OXFORD_VERSION = "1"
OXFORD_WEIGHTS = Path(__file__).with_name("vgg16_oxford.safetensors")
# The largest value behind each ReLU, which int8 needs, over 100 photos of public sets. Made by
# python benchmarks/int8.py --calibrate PHOTOS
OXFORD_MAXIMA = {
    "conv1_1": 771, "conv1_2": 3278,
    "conv2_1": 5882, "conv2_2": 9651,
    "conv3_1": 13596, "conv3_2": 13338, "conv3_3": 14698,
    "conv4_1": 10493, "conv4_2": 5646, "conv4_3": 3180,
    "conv5_1": 1980, "conv5_2": 1432, "conv5_3": 364,
}  # fmt: skip


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
    """A VGG, cut at its levels; subclasses find its own weights."""

    packages = ("torch", "torchvision", "safetensors")

    def __init__(self, layers: tuple, description: Description, batch_norm: bool = False):
        self.layers, self.description, self.batch_norm = layers, description, batch_norm

    def cut(self, levels: list[str], weights: Path | None, size: int) -> torch.nn.Module:
        module = build(self.layers, self.batch_norm, levels)
        state = read(weights) if weights else self._own_weights()
        load(module, state, weights or self.description.name)
        return module

    @abstractmethod
    def _own_weights(self) -> dict[str, torch.Tensor]:
        """The model's own tensors, by torchvision's names. Raises ImgsimError."""


class Oxford(VGG):
    """VGG16 by Simonyan and Zisserman, whose convolutions the package carries."""

    def cut(self, levels: list[str], weights: Path | None, size: int) -> torch.nn.Module:
        module: Any = super().cut(levels, weights, size)
        if weights is None:  # the maxima hold for no others
            module.maxima = OXFORD_MAXIMA
        return module

    def _own_weights(self) -> dict[str, torch.Tensor]:
        return read(OXFORD_WEIGHTS)


class Torchvision(VGG):
    """A VGG of torchvision, with its default weights."""

    def _own_weights(self) -> dict[str, torch.Tensor]:
        import torchvision

        enum = torchvision.models.get_model_weights(self.description.name).DEFAULT
        try:
            return enum.get_state_dict(progress=True, check_hash=True)
        except Exception as ex:
            if cached := self._cached():
                raise ModelUnavailable(
                    f"{cached[0]} is damaged ({ex}): remove it, and it is downloaded again"
                ) from ex
            raise not_downloaded(self.description.name, ex) from ex

    def unavailable(self) -> str | None:
        name, download = self.description.name, self.description.download
        return None if self._cached() else not_here(name, download)

    def _cached(self) -> list[Path]:
        """The files of these weights that torchvision has downloaded."""
        return [*torch_checkpoints().glob(f"{self.description.name}-*.pth")]


def oxford_vgg16() -> Oxford:
    """The default model: VGG16 with the weights of its authors."""
    layers = LAYERS["vgg16"]
    description = Description(
        name="vgg16-oxford",
        about="VGG16 by Simonyan and Zisserman, trained on ImageNet",
        channels={level: channels for level, (_, channels) in convolution_levels(layers).items()},
        default_levels=("pool2", "pool5"),
        size=208,
        normalise="oxford",
        licence="CC BY 4.0, Visual Geometry Group, University of Oxford",
        version=OXFORD_VERSION,
        level_weights={"pool2": 0.08, "pool5": 1},
    )
    return Oxford(layers, description)


def torchvision_vgg(name: str) -> Torchvision:
    """A VGG of torchvision: `name` is vgg11, vgg13, vgg16 or vgg19, with or without _bn."""
    plain = name.removesuffix("_bn")
    channels = {k: c for k, (_, c) in convolution_levels(LAYERS[plain]).items()}
    description = Description(
        name=name,
        about="torchvision's network, trained on ImageNet",
        channels=channels | HEAD,
        default_levels=("pool5",),
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        download=f"{MEGABYTES[plain]} MB",
    )
    return Torchvision(LAYERS[plain], description, batch_norm=name != plain)


def build(layers: tuple, batch_norm: bool, levels: list[str]) -> torch.nn.Module:
    """A module of the layers up to the deepest of `levels`, without values.

    Its tensors have torchvision's names. It turns pixels (N, 3, H, W) into a list of the levels'
    maps (N, C, H, W).
    """
    import torch
    from torchvision.models.vgg import make_layers

    known = convolution_levels(layers)
    head = [level for level in HEAD if level in levels]
    depth = len(layers) if head else max(known[level][0] for level in levels)

    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = make_layers(list(layers[:depth]), batch_norm)
            self.ends = _ends(self.features, known)
            if head:
                self.classifier = torch.nn.Sequential(
                    *_fully_connected(512 * 7 * 7),
                    *([torch.nn.Dropout(), *_fully_connected(4096)] if "fc7" in head else []),
                )
                self.head_ends = _ends(self.classifier, HEAD)

        def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
            maps_of: dict[str, torch.Tensor] = {}
            maps = _walk(self.features, pixels, self.ends, maps_of)
            if head:
                flat = torch.nn.functional.adaptive_avg_pool2d(maps, (7, 7)).flatten(1)
                _walk(self.classifier, flat, self.head_ends, maps_of)
            return [maps_of[level] for level in levels]

    # No values are allocated or drawn at random, since `load` replaces them by the weights.
    with torch.device("meta"):
        return Cut().eval()


def _ends(modules: torch.nn.Sequential, names: Iterable[str]) -> dict[int, str]:
    """The places of the modules that end a level, ReLU or max-pooling -> the level's name."""
    import torch

    ends = (torch.nn.ReLU, torch.nn.MaxPool2d)
    places = [place for place, module in enumerate(modules) if isinstance(module, ends)]
    return dict(zip(places, names))


def _fully_connected(inputs: int) -> list[torch.nn.Module]:
    import torch

    return [torch.nn.Linear(inputs, 4096), torch.nn.ReLU()]


def _walk(modules, values: torch.Tensor, ends: dict[int, str], maps_of: dict) -> torch.Tensor:
    """Runs the modules; adds the output of each level, as (N, C, H, W), to `maps_of`."""
    for place, module in enumerate(modules):
        values = module(values)
        if place in ends:
            maps_of[ends[place]] = values if values.dim() == 4 else values[:, :, None, None]
    return values
