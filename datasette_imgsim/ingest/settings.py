"""Settings of a space, from options or from an existing space, and the network they describe."""

from __future__ import annotations

import importlib.metadata
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..db.dtypes import DTYPES
from ..db.spaces import Space
from ..errors import ImgsimError, check_choice, check_number, listed
from ..limits import LIMITS
from ..models import registry
from ..models.base import ModelUnavailable
from ..models.network import NORMALISE, Network, in_network_order
from ..models.pooling import POOLINGS
from .options import RunOptions
from .recipe import Recipe
from .resize import RESIZE
from .sources import absolute_path, stored_name

MODEL_OPTIONS = (
    "model", "levels", "pooling", "weights", "preprocess", "resize", "size", "dtype",
)  # fmt: skip
RUN_OPTIONS = tuple(field.name for field in fields(RunOptions))


@dataclass(frozen=True)
class Settings:
    """What determines the numbers of a vector, apart from the content of the weights."""

    model: str
    levels: tuple[str, ...]
    pooling: str
    preprocess: dict
    dtype: str
    weights: Path | None = None

    def network(self, device: str = "auto", precision: str = "auto") -> Network:
        """Loads the network. Raises ImgsimError."""
        model = registry.get(self.model)
        missing = model.missing_package()
        if missing:
            raise ModelUnavailable(missing)
        return Network(
            model,
            list(self.levels),
            self.pooling,
            self.preprocess["normalise"],
            self.preprocess["size"],
            self.weights,
            device,
            precision,
        )

    def recipe(self, network: Network, base: Path | None) -> Recipe:
        """The recipe of vectors that `network`, made with these settings, computes.

        `base` is the folder of the database file; without it, no weights file is named.
        """
        return Recipe(
            name=self.space_name,
            model=self.model,
            weights_sha256=network.weights_sha256,
            levels=network.dimensions,
            pooling=self.pooling,
            preprocess=self.preprocess,
            dtype=self.dtype,
            precision=network.precision,
            level_weights=_level_weights(self),
            versions=_versions(self, base),
        )

    @property
    def space_name(self) -> str:
        """A name for a new space: the model's, with levels and pooling that are not its default."""
        description = registry.get(self.model).description
        default = (description.default_levels, description.default_pooling)
        if (self.levels, self.pooling) == default:
            return self.model
        return f"{self.model} {'+'.join(self.levels)} {self.pooling}"


def from_options(
    model: str | None = None,
    levels: str | None = None,
    pooling: str | None = None,
    weights: Path | None = None,
    preprocess: str | None = None,
    resize: str | None = None,
    size: int | None = None,
    dtype: str | None = None,
) -> Settings:
    """Settings from options of the command line; None stands for the model's default.

    `levels` are separated by commas, in any order. Raises ImgsimError.
    """
    for name, value, choices in (
        ("pooling", pooling, POOLINGS),
        ("preprocess", preprocess, NORMALISE),
        ("resize", resize, RESIZE),
        ("dtype", dtype, DTYPES),
    ):
        if value is not None:
            check_choice(name, value, choices)
    if size is not None:
        check_number("size", size, 1, LIMITS.side)
    chosen = registry.get(model or registry.DEFAULT)
    description = chosen.description
    names = (
        [level.strip() for level in levels.split(",")] if levels else [*description.default_levels]
    )
    return Settings(
        description.name,
        tuple(in_network_order(chosen, names)),
        pooling or description.default_pooling,
        {
            "normalise": preprocess or description.normalise,
            "resize": resize or "squash",
            "size": size or description.size,
        },
        dtype or "float16",
        weights,
    )


def parsed(options: dict[str, Any]) -> tuple[Settings | None, RunOptions]:
    """(settings of a space, or None if no option of the model is given; options of a run).

    `options` are those of `embed`. Raises ImgsimError.
    """
    unknown = options.keys() - set(MODEL_OPTIONS) - set(RUN_OPTIONS)
    if unknown:
        raise ImgsimError(
            f"embed has no option {sorted(unknown)[0]!r}: there is "
            f"{listed([*MODEL_OPTIONS, *RUN_OPTIONS])}"
        )
    model = {name: options[name] for name in MODEL_OPTIONS if options.get(name) is not None}
    run = {name: options[name] for name in RUN_OPTIONS if name in options}
    exclude = run.get("exclude", ())
    run["exclude"] = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if not all(pattern.strip("/") for pattern in run["exclude"]):
        raise ImgsimError("An empty pattern excludes nothing: give exclude a name or a path")
    return from_options(**model) if model else None, RunOptions(**run)


def from_space(space: Space, base: Path) -> Settings:
    """The settings a space was made with. `base` is the folder of its database file."""
    file = space.versions.get("weights_file")
    return Settings(
        space.model,
        tuple(space.levels),
        space.pooling,
        space.preprocess,
        space.dtype,
        Path(absolute_path(file, base)) if file else None,
    )


def load_network(
    space: Space, base: Path, device: str = "auto", precision: str = "auto"
) -> Network:
    """The network that made a space. Raises ImgsimError if its weights are not available."""
    settings = from_space(space, base)
    network = settings.network(device, precision)
    if network.weights_sha256 == space.weights_sha256:
        return network
    if settings.weights:
        raise ImgsimError(
            f"The weights file {settings.weights} is not the one that made the space "
            f"{space.name!r}: put that back, or make a new space with --space NAME --weights FILE"
        )
    now, then = registry.get(space.model).description.version, space.versions.get("weights")
    if not (now and then):
        raise ImgsimError(
            f"The weights of {space.model} on this machine are not those that made the space "
            f"{space.name!r}: 'datasette imgsim embed DATABASE IMAGES --model {space.model} "
            "--space NAME' makes a new space"
        )
    raise ImgsimError(
        f"The space {space.name!r} was made with {space.model} weights version "
        f"{then} and this package has version {now}: 'datasette imgsim embed DATABASE IMAGES "
        f"--model {space.model} --space NAME' makes a new space"
    )


def _level_weights(settings: Settings) -> dict[str, float]:
    default = registry.get(settings.model).description.level_weights
    weights = {level: default.get(level, 1) for level in settings.levels}
    # Levels whose default weight is 0 weigh 1 if there are no others.
    return weights if any(weights.values()) else dict.fromkeys(weights, 1)


def _versions(settings: Settings, base: Path | None) -> dict:
    model = registry.get(settings.model)
    versions = {}
    for name in ("datasette-imgsim", "pillow", *model.packages):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if settings.weights and base:
        versions["weights_file"] = stored_name(os.path.abspath(settings.weights), str(base))
    elif model.description.version and not settings.weights:
        versions["weights"] = model.description.version
    return versions


def unavailable(space: Space, base: Path) -> str | None:
    """Why this machine cannot embed pictures into a space, or None; does not load the network."""
    try:
        settings, model = from_space(space, base), registry.get(space.model)
        missing = model.missing_package()
    except ImgsimError as ex:
        return str(ex)
    if missing:
        return missing
    if settings.weights is None:
        return model.unavailable()
    if settings.weights.exists():
        return None
    # Visitors of the website see this, so it does not name the folder.
    return f"The weights file {settings.weights.name} is not on this machine"
