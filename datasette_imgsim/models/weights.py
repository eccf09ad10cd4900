"""Files of weights: reads them, without running code in them, and loads them into a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImgsimError
from .base import ModelUnavailable

if TYPE_CHECKING:
    import torch


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pth or .pt file, as float32. Raises ImgsimError."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelUnavailable(
            f"The weights file {path} is not there: put it back or name another with --weights"
        ) from None
    except Exception as ex:
        raise ImgsimError(
            f"The weights file {path} cannot be read ({first_line(ex)}): give a .safetensors, "
            ".pth or .pt file that holds only tensors"
        ) from ex
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise ImgsimError(f"The weights file {path} holds no named tensors")
    return {k: v.float() for k, v in state.items() if isinstance(v, torch.Tensor)}


def load(module: torch.nn.Module, state: dict[str, torch.Tensor], source: str | Path) -> None:
    """Loads the tensors that a cut network needs; `source` names them in errors.

    Raises ImgsimError if one is missing or has another shape.
    """
    needed = module.state_dict()
    # Old files lack the number of batches that batch norm has seen, which is not used.
    for name in needed:
        if name.endswith("num_batches_tracked"):
            state = {name: needed[name].new_zeros((), device="cpu"), **state}
    missing = [name for name in needed if name not in state]
    if missing:
        deepest = [name for name in state if name in needed]
        have = f"; the last one it has is {deepest[-1]}" if deepest else ""
        raise ImgsimError(
            f"{source} has no layer {missing[0]!r}, which the deepest level asked for needs{have}: "
            "ask for earlier --levels or give a fuller file"
        )
    for name, tensor in needed.items():
        if state[name].shape != tensor.shape:
            raise ImgsimError(
                f"{source} is of another network: {name!r} has the shape "
                f"{tuple(state[name].shape)}, not {tuple(tensor.shape)}"
            )
    module.load_state_dict({name: state[name] for name in needed}, assign=True)


def cache_home() -> str:
    """The user's cache folder."""
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")


def torch_checkpoints() -> Path:
    """The folder of the weights that torch has downloaded."""
    home = os.environ.get("TORCH_HOME") or os.path.join(cache_home(), "torch")
    return Path(home, "hub", "checkpoints")


def not_here(name: str, download: str = "") -> str:
    """The sentence for weights that must be downloaded first."""
    size = f" ({download})" if download else ""
    return (
        f"The weights of {name} are not on this machine: the first 'embed' with it downloads "
        f"them{size}"
    )


def not_downloaded(name: str, reason: Exception) -> ModelUnavailable:
    """The error for weights whose download failed."""
    return ModelUnavailable(
        f"The weights of {name} could not be downloaded ({first_line(reason)}): give them with "
        "--weights FILE, or leave --model out, since the default network comes with this package"
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text, or the name of its type if there is no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
