"""The models, by name."""

from __future__ import annotations

from .. import hookspecs
from ..errors import ImgsimError
from . import timm, vgg
from .base import Model

DEFAULT = "vgg16-oxford"
SMALL = "efficientnet-lite"
"""The small, fast model that this package carries."""
GONE = ("vgg-mini",)
"""Models of earlier versions: their vectors can be searched, but no pictures can be embedded."""

ELSEWHERE = "elsewhere"
"""Stands for a model where vectors were made by other programs and imported."""


def models() -> dict[str, Model]:
    """All models by name, except timm's: ours, then those that other packages register."""
    by_name: dict[str, Model] = {}

    def register(model: Model) -> None:
        by_name[model.description.name] = model

    register(vgg.oxford_vgg16())
    register(timm.EfficientNetLite())
    for name in vgg.LAYERS:
        register(vgg.torchvision_vgg(name))
        register(vgg.torchvision_vgg(f"{name}_bn"))
    hookspecs.plugins().hook.register_imgsim_models(register=register)
    return by_name


def get(name: str) -> Model:
    """The model called `name`. Raises ImgsimError."""
    if name in GONE:
        raise ImgsimError(
            f"The network {name} is no longer part of this package; its vectors still work. To "
            "embed more, make a new space: "
            f"'datasette imgsim embed DATABASE IMAGES --model {DEFAULT}'"
        )
    if name == ELSEWHERE:
        raise ImgsimError(
            "These vectors were imported, so no picture can be embedded beside them: search by "
            f"images that are there, or embed all with '--model {DEFAULT}' into a new space"
        )
    if name.startswith(timm.PREFIX):
        return timm.Timm(name.removeprefix(timm.PREFIX))
    known = models()
    if name not in known:
        raise ImgsimError(f"No model {name!r}: there is {', '.join(known)}, {timm.PREFIX}NAME")
    return known[name]
