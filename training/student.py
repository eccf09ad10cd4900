"""The network that is trained: blocks of 3x3 convolutions, batch norm and ReLU."""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256, 512)
CONVOLUTIONS = (1, 1, 2, 2, 2)
EPSILON = 1e-5


class Convolution(nn.Module):
    """3x3, no bias. Its weight is one matrix (out, 3 * 3 * in), as the optimiser Muon wants it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.shape = (outputs, 3, 3, inputs)
        kernel = torch.empty(outputs, inputs, 3, 3)
        nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")
        self.weight = nn.Parameter(as_matrix(kernel))

    def forward(self, values):
        # This view is channels-last already: nothing is copied.
        kernel = self.weight.view(self.shape).permute(0, 3, 1, 2)
        return functional.conv2d(values, kernel, padding=1)


def as_matrix(kernel: torch.Tensor) -> torch.Tensor:
    """(out, in, 3, 3) -> (out, 3 * 3 * in)."""
    return kernel.permute(0, 2, 3, 1).flatten(1).contiguous()


def as_kernel(matrix: torch.Tensor) -> torch.Tensor:
    """(out, 3 * 3 * in) -> (out, in, 3, 3)."""
    return matrix.view(matrix.shape[0], 3, 3, -1).permute(0, 3, 1, 2).contiguous()


class Student(nn.Module):
    """Pixels (N, 3, side, side) -> what each block gives before its pooling, [(N, C, H, W)]."""

    def __init__(self, widths=WIDTHS, convolutions=CONVOLUTIONS):
        super().__init__()
        inputs = 3
        for block, (width, count) in enumerate(zip(widths, convolutions), start=1):
            layers = nn.Module()
            for number in range(1, count + 1):
                layers.add_module(f"conv{number}", Convolution(inputs, width))
                layers.add_module(f"bn{number}", nn.BatchNorm2d(width, eps=EPSILON))
                inputs = width
            self.add_module(f"block{block}", layers)

    def forward(self, values: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for name, block in self.named_children():
            if name != "block1":
                values = functional.max_pool2d(values, 2)
            for layer in block.children():
                values = layer(values)
                if isinstance(layer, nn.BatchNorm2d):
                    values = functional.relu(values, inplace=True)
            found.append(values)
        return found

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds, with kernels as everybody writes them."""
        return {
            name: as_kernel(value) if value.dim() == 2 else value
            for name, value in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> list[str]:
        """Takes over the blocks of a checkpoint that have the same layers; gives their names."""
        own, taken = self.tensors(), []
        for block, _ in self.named_children():
            wanted = _shapes(own, block)
            if wanted == _shapes(tensors, block):
                taken.append(block)
        values = {
            name: as_matrix(value.float()) if value.dim() == 4 else value.float()
            for name, value in tensors.items()
            if name.split(".")[0] in taken
        }
        self.load_state_dict(values, strict=False)
        return taken


def _shapes(tensors: dict[str, torch.Tensor], block: str) -> dict:
    return {k: v.shape for k, v in tensors.items() if re.match(rf"{block}\.", k)}
