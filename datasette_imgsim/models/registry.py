"""The networks that are known, by name."""

from __future__ import annotations

import importlib.util

from ..errors import ImgsimError
from .base import Model
from .mini import Mini
from .vgg import LAYERS, VGG

DEFAULT = "vgg-mini"


def models() -> dict[str, Model]:
    """Every model by name: ours, then those that other packages register."""
    from datasette.plugins import pm

    found = {}

    def register(model: Model) -> None:
        found[model.description.name] = model

    register(Mini())
    for name in LAYERS:
        register(VGG(name))
        register(VGG(f"{name}_bn"))
    pm.hook.register_imgsim_models(register=register)
    return found


def get(name: str) -> Model:
    """The model called `name`. Raises ImgsimError."""
    found = models()
    if name not in found:
        raise ImgsimError(f"No model {name!r}: there is {', '.join(found)}")
    return found[name]


def missing_packages() -> str | None:
    """The sentence that says what to install before anything can be embedded, or None."""
    for package in ("torch", "torchvision", "safetensors"):
        if importlib.util.find_spec(package) is None:
            return f"This needs {package}: pip install 'datasette-imgsim[embed]'"
    return None
