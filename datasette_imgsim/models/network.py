"""Runs a cut model: uint8 pictures in, unit vectors and their norms out."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ImgsimError
from .base import Cut, Model, NumpyCut
from .fusing import fold_batch_norms, fold_paddings, fuse_activations
from .int8 import attempt_int8
from .pooling import pooled

if TYPE_CHECKING:
    import torch

# (channel order, divisor, mean, standard deviation): value = (pixel / divisor - mean) / deviation
NORMALISE = {
    # https://pytorch.org/vision/stable/models.html
    "torchvision": ("RGB", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # The original Caffe models of Oxford VGG: https://www.robots.ox.ac.uk/~vgg/research/very_deep/
    "oxford": ("BGR", 1, (103.939, 116.779, 123.68), (1, 1, 1)),
}
SMALLEST_NORM = 1e-12
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


class Runner(Protocol):
    """A cut model on one device, in one precision."""

    precision: str
    """'float32', 'bfloat16' or 'int8'."""

    def pooled(self, pictures: np.ndarray, pooling: str) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> (N, D) float32 of each level."""

    def maps(self, pictures: np.ndarray) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> the map (N, C, H, W) float32 of each level."""


class Network:
    """Some levels of a model on one device, with their pooling and preprocessing."""

    def __init__(
        self,
        model: Model,
        levels: list[str],
        pooling: str,
        normalise: str | dict,
        size: int,
        weights: Path | None = None,
        device: str = "auto",
        precision: str = "auto",
    ):
        """Loads the weights.

        `levels` are in any order; `normalise` is as in `Description`; `weights` is a file, or None
        for the model's own; `device` and `precision` may be 'auto'. Raises ImgsimError.
        """
        self.levels = in_network_order(model, levels)
        self.pooling, self.size = pooling, size
        cut = model.cut(self.levels, weights, size)
        self.weights_sha256 = digest(cut.state_dict())
        with self._size_named():
            self.runner: Runner
            if _is_module(cut):
                is_own = weights is None and normalise == model.description.normalise
                self.runner = self._on_torch(model, cut, is_own, normalise, device, precision)
            else:
                self.runner = _Numpy(cut, normalise, device, precision)
            # One black picture shows how many numbers each level has.
            vectors = self.runner.pooled(np.zeros((1, size, size, 3), np.uint8), pooling)
        self.precision = self.runner.precision
        self.dimensions = {level: values.shape[1] for level, values in zip(self.levels, vectors)}

    def _on_torch(
        self,
        model: Model,
        cut: Any,
        is_own: bool,
        normalise: str | dict,
        device: str,
        precision: str,
    ) -> Runner:
        """The runner of a module, in int8 only if that agrees with float32.

        `is_own` says that weights and scaling are the model's own, for which its `maxima` hold.
        """
        device, takes_int8 = choose_device(device), is_own and hasattr(cut, "maxima")
        chosen = choose_precision(precision, device, takes_int8)
        if chosen == "int8":
            if not takes_int8:
                how = "" if is_own else " with other weights or another --preprocess"
                why = f"{model.description.name}{how} cannot compute in int8"
            elif device != "cpu":
                why = f"int8 is for the processor, not for {device}"
            elif runner := attempt_int8(cut, self.levels, self.size, scaling(normalise)):
                return runner
            else:
                why = "This torch or this processor does not compute well in int8"
            if precision == "int8":
                raise ImgsimError(f"{why}: leave --precision out")
            chosen = "float32"
        return _Torch(cut, self.size, normalise, device, chosen)

    @contextmanager
    def _size_named(self) -> Iterator[None]:
        """Turns errors about the size of pictures into sentences."""
        try:
            yield
        except RuntimeError as ex:
            if "too small" not in str(ex):
                raise
            raise ImgsimError(
                f"Pictures of {self.size} x {self.size} pixels are too small for the level "
                f"{self.levels[-1]}: give a larger --size"
            ) from ex
        except AssertionError as ex:  # from networks of timm, for a size they cannot divide
            raise ImgsimError(
                f"The network cannot take pictures of {self.size} x {self.size} pixels ({ex}): "
                "give another --size"
            ) from ex

    def vectors(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> unit vectors (N, dimensions), norms (N, levels).

        Each level is made unit length by itself, and the levels are concatenated; all float32.
        """
        units, norms = [], []
        for values in self.runner.pooled(pictures, self.pooling):
            # A flattened map can be long: float32 would lose digits in the sum of squares.
            norm = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))
            units.append(values / np.maximum(norm, SMALLEST_NORM).astype(np.float32)[:, None])
            norms.append(norm.astype(np.float32))
        return np.concatenate(units, axis=1), np.stack(norms, axis=1)

    def maps(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> the map (N, C, H, W) float32 of each level by name."""
        return dict(zip(self.levels, self.runner.maps(pictures)))


class _Torch:
    """The Runner of a cut that is a module of torch."""

    def __init__(
        self,
        module: torch.nn.Module,
        size: int,
        normalise: str | dict,
        device: str,
        precision: str,
    ):
        import torch

        self.device, self.precision = device, precision
        fold_paddings(module.eval(), size)
        fold_batch_norms(module, size)
        self.module = _at_precision(module, self.device, self.precision)
        if self.device == "cpu":
            fuse_activations(self.module, size, self.precision)
        self.is_reversed, *scale = scaling(normalise)
        # Repeated for each pixel of a line: torch is far slower with rows of only three numbers.
        self.factor, self.shift = (
            torch.from_numpy(part).to(self.device).repeat(size) for part in scale
        )

    def pooled(self, pictures: np.ndarray, pooling: str) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> (N, D) float32 of each level."""
        import torch

        with torch.inference_mode():
            return [pooled(each.float(), pooling).cpu().numpy() for each in self._run(pictures)]

    def maps(self, pictures: np.ndarray) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> the map (N, C, H, W) float32 of each level."""
        import torch

        with torch.inference_mode():
            return [each.float().cpu().numpy() for each in self._run(pictures)]

    def _run(self, pictures: np.ndarray) -> list[torch.Tensor]:
        import torch

        pixels = torch.from_numpy(pictures).to(self.device).float()
        if self.is_reversed:
            pixels = pixels.flip(3)
        scaled = pixels.flatten(2) * self.factor + self.shift
        return self.module(scaled.view(pixels.shape).permute(0, 3, 1, 2))


class _Numpy:
    """The Runner of a cut that works without torch, on the processor and in float32."""

    precision = "float32"

    def __init__(self, cut: NumpyCut, normalise: str | dict, device: str, precision: str):
        if device not in ("auto", "cpu") or precision not in ("auto", "float32"):
            raise ImgsimError(
                "This network works on the processor and in float32 only: leave --device and "
                "--precision out"
            )
        self.cut = cut
        self.is_reversed, self.factor, self.shift = scaling(normalise)

    def pooled(self, pictures: np.ndarray, pooling: str) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> (N, D) float32 of each level."""
        return [pooled(each, pooling).astype(np.float32) for each in self.maps(pictures)]

    def maps(self, pictures: np.ndarray) -> list[np.ndarray]:
        """(N, size, size, 3) uint8 RGB -> the map (N, C, H, W) of each level."""
        pixels = pictures[..., ::-1] if self.is_reversed else pictures
        return self.cut((pixels * self.factor + self.shift).transpose(0, 3, 1, 2))


def _is_module(cut: Cut) -> bool:
    torch = sys.modules.get("torch")  # not imported here, since it may be missing
    return torch is not None and isinstance(cut, torch.nn.Module)


def scaling(normalise: str | dict) -> tuple[bool, np.ndarray, np.ndarray]:
    """(whether channels are BGR, factor (3,), shift (3,)): value = pixel * factor + shift."""
    if isinstance(normalise, dict):
        order, divisor, mean, deviation = "RGB", 255, normalise["mean"], normalise["deviation"]
    else:
        order, divisor, mean, deviation = NORMALISE[normalise]
    mean, deviation = np.array(mean), np.array(deviation)
    factor, shift = 1 / (divisor * deviation), -mean / deviation
    return order == "BGR", factor.astype(np.float32), shift.astype(np.float32)


def _at_precision(module: torch.nn.Module, device: str, precision: str) -> torch.nn.Module:
    """The module on a device and in a precision; its input stays float32.

    Its first convolution stays in float32, too: a scaled pixel does not fit into the 8 significant
    bits of bfloat16, and that error would pass through all other layers. It costs little.
    """
    import torch

    dtype = getattr(torch, precision)
    first = next((m for m in module.modules() if isinstance(m, torch.nn.Conv2d)), None)
    exact = {} if first is None else {k: v.clone() for k, v in first.state_dict().items()}
    module.to(device=device, dtype=dtype)
    module.to(memory_format=torch.channels_last)
    if first is None:
        module.register_forward_pre_hook(lambda module, inputs: inputs[0].to(dtype))
    else:
        first.float().load_state_dict(exact)
        first.register_forward_hook(lambda module, inputs, output: output.to(dtype))
    return module


def keep_memory() -> None:
    """Makes this process keep the memory of one batch for the next, if its C library is glibc.

    By default, the memory of each layer's large maps goes back to the kernel, which fills it with
    zeros for the next layer. That takes a fifth of VGG16's time, and more of a small network's.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def in_network_order(model: Model, levels: list[str]) -> list[str]:
    """The levels without repeats, in the order of the network. Raises ImgsimError."""
    known = model.description.channels
    for level in levels:
        if level not in known:
            raise ImgsimError(
                f"{model.description.name} has no level {level!r}: there is {', '.join(known)}"
            )
    return [level for level in known if level in levels]


def digest(state: Mapping) -> str:
    """SHA-256 over the names, shapes and float32 values of tensors or arrays, in hexadecimal."""
    sha = hashlib.sha256()
    for name in sorted(state):
        values = np.ascontiguousarray(np.asarray(state[name]), "<f4")
        sha.update(f"{name} {tuple(state[name].shape)}\n".encode())
        sha.update(values.data)
    return sha.hexdigest()


def choose_device(device: str) -> str:
    """The device to use: 'auto' is cuda, mps or cpu, the first that there is.

    Raises ImgsimError if the device is not there.
    """
    import torch

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if device == "auto":
        return next(name for name, count in counts.items() if count)
    name, _, number = device.partition(":")
    number = number or "0"
    if not (number.isdecimal() and int(number) < counts.get(name, 0)):
        raise ImgsimError(f"There is no device {device!r} on this machine: use --device cpu")
    return device


def choose_precision(precision: str, device: str, takes_int8: bool = False) -> str:
    """The precision to use: 'auto' is bfloat16, int8 or float32, the first that is fast.

    bfloat16 must be native on the device, and int8 on the processor; `takes_int8` says whether
    the model can compute in int8.
    """
    if precision != "auto":
        return precision
    if has_bfloat16() if device == "cpu" else _runs_bfloat16(device):
        return "bfloat16"
    return "int8" if takes_int8 and device == "cpu" and has_vnni() else "float32"


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions (AVX-512 BF16, AMX or Arm BF16)."""
    return any(capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def has_vnni() -> bool:
    """Whether the processor has instructions for sums of 8-bit products; else int8 is not fast."""
    return any(capabilities().get(name) for name in ("avx512_vnni", "avx_vnni"))


@functools.cache
def capabilities() -> dict:
    """Which instructions the processor has, by torch's names."""
    import torch

    try:
        return dict(torch.cpu.get_capabilities())
    except AttributeError:  # torch before 2.11
        return {
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
            "amx_bf16": torch.cpu._is_amx_tile_supported(),
            "avx512_vnni": torch.cpu._is_vnni_supported(),
        }


def _runs_bfloat16(device: str) -> bool:
    import torch

    try:
        ones = torch.ones(1, 8, 8, 8, device=device, dtype=torch.bfloat16)
        torch.nn.functional.conv2d(ones, ones)
    except (RuntimeError, TypeError):
        return False
    return True
