"""VGG in 8-bit integers, which are fast on processors with VNNI but without bfloat16.

Weights are signed and have one scale a channel; maps are unsigned and have one scale
(Krishnamoorthi 2018, arXiv 1806.08342, section 3). The operator is the one that torch's own
compiler chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .pooling import pooled

if TYPE_CHECKING:
    import torch

WEIGHT_BITS = 8
# Processors without VNNI add two products in 16 bits. In the first convolution, which reads bright
# pixels, that would overflow with weights of 8 bits.
FIRST_WEIGHT_BITS = 7
# The maxima are those of photos. Drawings reach larger values, which would be clipped.
HEADROOM = 1.5
TOLERANCE = 0.1
"""The largest difference of a level's vector from that of float32, relative to its norm."""
Scaling = tuple[bool, np.ndarray, np.ndarray]
"""(whether channels are BGR, factor (3,), shift (3,)): a pixel's input is value * factor + shift"""


class Int8:
    """A `network.Runner` of a cut VGG on the processor."""

    precision = "int8"

    def __init__(self, cut: Any, levels: list[str], scaling: Scaling):
        """`cut` has `maxima`: the largest value behind each ReLU, by level.

        Raises RuntimeError or AttributeError if this torch lacks the operator.
        """
        import torch

        self.levels, (self.is_reversed, factor_, shift_) = levels, scaling
        factor, shift = torch.from_numpy(factor_), torch.from_numpy(shift_)
        # The pixel whose input is 0. A border of such pixels stands for the zeros around the input.
        self.border = (-shift / factor).round().byte()
        self.steps: list[tuple[Callable, str | None, float]] = []
        scale = 1.0
        for place, layer in enumerate(cut.features):
            level = cut.ends.get(place)
            if isinstance(layer, torch.nn.Conv2d):
                conv: Any = layer
            elif isinstance(layer, torch.nn.ReLU):
                out_scale = HEADROOM * cut.maxima[level] / 255
                if self.steps:
                    step = _quantised(conv.weight, conv.bias, 1, WEIGHT_BITS, scale, out_scale)
                else:
                    step = self._first_step(conv, factor, shift, out_scale)
                scale = out_scale
                self.steps.append((step, level, scale))
            else:
                self.steps.append((_halved, level, scale))

    @staticmethod
    def _first_step(conv: Any, factor: torch.Tensor, shift: torch.Tensor, out_scale: float):
        """The first convolution, which reads unscaled pixels with a border around them."""
        weight = conv.weight * factor[:, None, None]
        bias = conv.bias + (conv.weight * shift[:, None, None]).sum((1, 2, 3))
        return _quantised(weight, bias, 0, FIRST_WEIGHT_BITS, 1.0, out_scale)

    def pooled(self, pictures: np.ndarray, pooling: str) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> (N, D) float32 of each level."""
        return self._run(pictures, lambda maps: pooled(maps, pooling))

    def maps(self, pictures: np.ndarray) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> the map (N, C, H, W) float32 of each level."""
        return self._run(pictures, lambda maps: maps)

    def _run(self, pictures: np.ndarray, of_maps: Callable) -> list[np.ndarray]:
        """What `of_maps` makes of each level's map, at once: maps can be large."""
        import torch

        with torch.inference_mode():
            maps, by_level = self._bordered(torch.from_numpy(pictures)), {}
            for step, level, scale in self.steps:
                maps = step(maps)
                if level in self.levels:
                    by_level[level] = of_maps(maps.float() * scale).numpy()
        return [by_level[level] for level in self.levels]

    def _bordered(self, pictures: torch.Tensor) -> torch.Tensor:
        count, height, width, _ = pictures.shape
        pixels = self.border.repeat(count, height + 2, width + 2, 1)
        pixels[:, 1:-1, 1:-1] = pictures.flip(3) if self.is_reversed else pictures
        return pixels.permute(0, 3, 1, 2)


def _quantised(
    weight: Any, bias: Any, padding: int, bits: int, scale: float, out_scale: float
) -> Callable:
    """A convolution and its ReLU, from maps with `scale` to maps with `out_scale`."""
    import torch

    weight, bias = weight.detach(), bias.detach()
    scales = weight.abs().amax((1, 2, 3)) / (2 ** (bits - 1) - 1)
    integers = (weight / scales[:, None, None, None]).round().to(torch.int8)
    ones, paddings = [1, 1], [padding, padding]
    packed = torch.ops.onednn.qconv_prepack(integers, scales, scale, 0, ones, paddings, ones, 1)
    zeros = torch.zeros(len(scales), dtype=torch.int64)

    def step(maps: torch.Tensor) -> torch.Tensor:
        return torch.ops.onednn.qconv_pointwise(
            maps, scale, 0, packed, scales, zeros, bias, ones, paddings, ones, 1,
            out_scale, 0, torch.uint8, "relu", [], "",
        )  # fmt: skip

    return step


def _halved(maps: torch.Tensor) -> torch.Tensor:
    """Max-pooling 2 x 2; torch's own does not support maps of bytes in this memory layout."""
    import torch

    maps = maps.permute(0, 2, 3, 1)
    height, width = (side // 2 * 2 for side in maps.shape[1:3])
    maps = torch.maximum(maps[:, 0:height:2], maps[:, 1:height:2])
    return torch.maximum(maps[:, :, 0:width:2], maps[:, :, 1:width:2]).permute(0, 3, 1, 2)


def attempt_int8(cut: Any, levels: list[str], size: int, scaling: Scaling) -> Int8 | None:
    """The cut in int8; None if this torch cannot run it, or its levels differ from float32's.

    They are compared on one picture of size x size pixels, within TOLERANCE.
    """
    import torch

    picture, (is_reversed, factor, shift) = _smooth_picture(size), scaling
    pixels = (picture[..., ::-1] if is_reversed else picture) * factor + shift
    with torch.inference_mode():
        maps = cut(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
        expected = [pooled(level, "avg").numpy() for level in maps]
        try:
            runner = Int8(cut, levels, scaling)
            computed = runner.pooled(picture, "avg")
        except (RuntimeError, AttributeError):  # torch or the processor lacks the operator
            return None
    is_near = all(
        np.linalg.norm(vectors - reference) <= TOLERANCE * np.linalg.norm(reference)
        for vectors, reference in zip(computed, expected)
    )
    return runner if is_near else None


def _smooth_picture(size: int) -> np.ndarray:
    """A fixed picture (1, size, size, 3) uint8 whose colours change slowly, as in photos."""
    import torch

    cells = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(cells, size=(size, size), mode="bilinear")
    return (255 * picture).byte().permute(0, 2, 3, 1).contiguous().numpy()
