"""VGG in whole numbers of 8 bits: quick on processors that have VNNI but no bfloat16.

Weights have 8 signed bits and a scale a channel, maps 8 bits from 0 and one scale (Krishnamoorthi
2018, arXiv 1806.08342, section 3). The operator is the one that torch's own compiler chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .pooling import pooled

if TYPE_CHECKING:
    import torch

WEIGHT_BITS = 8
# The first convolution reads bright pixels. Processors without VNNI add up two products in 16
# bits, which are too few for those and weights of 8 bits.
FIRST_WEIGHT_BITS = 7
# The largest values are those of photos. Drawings have more, which would be cut off.
HEADROOM = 1.5
TOLERANCE = 0.1
"""How far, relative to its length, a level may be from that of float32."""
Scaling = tuple[bool, np.ndarray, np.ndarray]
"""Whether channels are BGR, and what makes a pixel the cut's input: value * factor + shift."""


class Int8:
    """A cut VGG at work on the processor, made from one that carries its `maxima`."""

    precision = "int8"

    def __init__(self, cut: Any, levels: list[str], scaling: Scaling):
        """Raises RuntimeError or AttributeError where this torch lacks the operator."""
        import torch

        self.levels, (self.is_reversed, factor_, shift_) = levels, scaling
        factor, shift = torch.from_numpy(factor_), torch.from_numpy(shift_)
        # The pixel whose input is 0: a border of it is what a border of 0 is to the cut.
        self.border = (-shift / factor).round().byte()
        self.steps: list[tuple[Callable, str | None, float]] = []
        scale = 1.0
        for place, layer in enumerate(cut.features):
            level = cut.ends.get(place)
            if isinstance(layer, torch.nn.Conv2d):
                conv: Any = layer
            elif isinstance(layer, torch.nn.ReLU):
                made = HEADROOM * cut.maxima[level] / 255
                if self.steps:
                    step = _quantised(conv.weight, conv.bias, 1, WEIGHT_BITS, scale, made)
                else:
                    step = self._first(conv, factor, shift, made)
                scale = made
                self.steps.append((step, level, scale))
            else:
                self.steps.append((_halved, level, scale))

    @staticmethod
    def _first(conv: Any, factor: torch.Tensor, shift: torch.Tensor, made: float):
        """The convolution that reads the pixels as they are, with their border around them."""
        weight = conv.weight * factor[:, None, None]
        bias = conv.bias + (conv.weight * shift[:, None, None]).sum((1, 2, 3))
        return _quantised(weight, bias, 0, FIRST_WEIGHT_BITS, 1.0, made)

    def pooled(self, pictures: np.ndarray, pooling: str) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> (N, D) float32 of each level."""
        import torch

        with torch.inference_mode():
            maps, by_level = self._bordered(torch.from_numpy(pictures)), {}
            for step, level, scale in self.steps:
                maps = step(maps)
                if level in self.levels:
                    by_level[level] = pooled(maps.float() * scale, pooling).numpy()
        return [by_level[level] for level in self.levels]

    def _bordered(self, pictures: torch.Tensor) -> torch.Tensor:
        count, height, width, _ = pictures.shape
        pixels = self.border.repeat(count, height + 2, width + 2, 1)
        pixels[:, 1:-1, 1:-1] = pictures.flip(3) if self.is_reversed else pictures
        return pixels.permute(0, 3, 1, 2)


def _quantised(
    weight: Any, bias: Any, padding: int, bits: int, scale: float, made: float
) -> Callable:
    """A convolution and its ReLU, from maps of one scale to maps of another."""
    import torch

    weight, bias = weight.detach(), bias.detach()
    scales = weight.abs().amax((1, 2, 3)) / (2 ** (bits - 1) - 1)
    whole = (weight / scales[:, None, None, None]).round().to(torch.int8)
    one, sides = [1, 1], [padding, padding]
    packed = torch.ops.onednn.qconv_prepack(whole, scales, scale, 0, one, sides, one, 1)
    zeros = torch.zeros(len(scales), dtype=torch.int64)

    def step(maps: torch.Tensor) -> torch.Tensor:
        return torch.ops.onednn.qconv_pointwise(
            maps, scale, 0, packed, scales, zeros, bias, one, sides, one, 1,
            made, 0, torch.uint8, "relu", [], "",
        )  # fmt: skip

    return step


def _halved(maps: torch.Tensor) -> torch.Tensor:
    """Max-pooling 2 x 2, which torch's own does not do for maps of bytes laid out like these."""
    import torch

    maps = maps.permute(0, 2, 3, 1)
    height, width = (side // 2 * 2 for side in maps.shape[1:3])
    maps = torch.maximum(maps[:, 0:height:2], maps[:, 1:height:2])
    return torch.maximum(maps[:, :, 0:width:2], maps[:, :, 1:width:2]).permute(0, 3, 1, 2)


def attempt_int8(cut: Any, levels: list[str], size: int, scaling: Scaling) -> Int8 | None:
    """The cut in int8, or None where the levels of a picture are not about those of float32."""
    import torch

    picture, (is_reversed, factor, shift) = _smooth_picture(size), scaling
    pixels = (picture[..., ::-1] if is_reversed else picture) * factor + shift
    with torch.inference_mode():
        maps = cut(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
        expected = [pooled(level, "avg").numpy() for level in maps]
        try:
            runner = Int8(cut, levels, scaling)
            computed = runner.pooled(picture, "avg")
        except (RuntimeError, AttributeError):  # of a torch or a processor without the operator
            return None
    is_near = all(
        np.linalg.norm(one - other) <= TOLERANCE * np.linalg.norm(other)
        for one, other in zip(computed, expected)
    )
    return runner if is_near else None


def _smooth_picture(size: int) -> np.ndarray:
    """(1, size, size, 3) uint8: colours that change slowly, as in photos; always the same."""
    import torch

    cells = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(cells, size=(size, size), mode="bilinear")
    return (255 * picture).byte().permute(0, 2, 3, 1).contiguous().numpy()
