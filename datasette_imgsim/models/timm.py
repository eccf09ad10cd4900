"""Networks of timm (https://github.com/huggingface/pytorch-image-models), cut at their stages."""

from __future__ import annotations

import difflib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImgsimError
from .base import Description, Model, ModelUnavailable
from .weights import (
    cache_home,
    first_line,
    not_downloaded,
    not_here,
    read,
    torch_checkpoints,
)

if TYPE_CHECKING:
    import timm
    import torch

PREFIX = "timm:"
HEAD, EMBEDDING = "head", "embedding"
LITE_WEIGHTS = Path(__file__).with_name("efficientnet_lite.safetensors")


class Timm(Model):
    """Nearly any network of timm.

    Its levels are `stage1`, `stage2`, … (timm's `feature_info`) and last `head`, the map before
    the classifier. If there is no such map but a row of tokens, as in most transformers, the last
    level is `embedding`: the vector that the network makes of the tokens for its classifier.
    """

    packages = ("torch", "timm", "safetensors")

    def __init__(self, name: str):
        """`name` is timm's, with or without the name of weights: resnet50 or resnet50.a1_in1k."""
        self.name = name

    @functools.cached_property
    def description(self) -> Description:  # type: ignore[override]
        """The description, from timm's configuration. Raises ImgsimError."""
        config = self._config()
        size = max(config.input_size[1:])
        levels = _levels(config.architecture, size)
        return Description(
            name=f"{PREFIX}{_tagged(config)}",
            about="a network of timm",
            channels=levels,
            default_levels=([*levels][-1],),
            # The classifiers of these networks read the mean; gem would lose negative numbers.
            default_pooling="avg",
            size=size,
            normalise={"mean": list(config.mean), "deviation": list(config.std)},
            licence=config.license or "unknown",
        )

    def _config(self) -> timm.models.PretrainedCfg:
        """timm's configuration of the network. Raises ImgsimError."""
        missing = self.missing_package()
        if missing:
            raise ModelUnavailable(missing)
        import timm

        try:
            config = timm.get_pretrained_cfg(self.name)
        except RuntimeError as ex:
            raise ImgsimError(f"timm has no such weights ({ex})") from ex
        if config is None:
            alike = difflib.get_close_matches(self.name, timm.list_models(), cutoff=0.4)
            hint = f": there is {', '.join(alike)}" if alike else ""
            raise ImgsimError(f"timm has no network {self.name!r}{hint}")
        return config

    def cut(self, levels: list[str], weights: Path | None, size: int) -> torch.nn.Module:
        known = [*self.description.channels]
        stages = [known.index(level) for level in levels if level not in (HEAD, EMBEDDING)]
        network = self._network(self._overlay(weights), size)
        return _cut(network, stages, known[-1] if known[-1] in levels else None)

    def _overlay(self, weights: Path | None) -> dict:
        """The changes to timm's configuration that make it load the weights. Raises ImgsimError."""
        config = self._config()
        if weights is None:
            if not config.has_weights:
                raise ModelUnavailable(self._without_weights())
            return {}
        names = config.classifier or ()
        classifier = tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
        state = {k: v for k, v in read(weights).items() if not k.startswith(classifier)}
        # timm accepts missing tensors if the number of classes differs from that of the weights.
        return {"state_dict": state, "num_classes": 0}

    def _network(self, overlay: dict, size: int) -> torch.nn.Module:
        """The whole network with its weights. Raises ImgsimError."""
        import timm
        import torch

        options: dict[str, Any] = {"num_classes": 0}
        config = self._config()
        # Transformers with a table of positions must be built for the size of the pictures.
        if config.fixed_input_size and (size, size) != tuple(config.input_size[1:]):
            options["img_size"] = size
            try:
                with torch.device("meta"):
                    timm.create_model(self.name, pretrained=False, **options)
            except Exception as ex:
                raise ImgsimError(
                    f"{PREFIX}{self.name} cannot take pictures of {size} x {size} pixels "
                    f"({first_line(ex)}): give another --size"
                ) from ex
        try:
            return timm.create_model(
                self.name, pretrained=True, pretrained_cfg_overlay=overlay, **options
            )
        except Exception as ex:
            if "state_dict" in overlay:
                reason = " ".join(str(ex).split())[:200]
                raise ImgsimError(
                    f"The weights do not fit {PREFIX}{self.name} ({reason} …): give a file that "
                    "was made for it"
                ) from ex
            raise not_downloaded(f"{PREFIX}{self.name}", ex) from ex

    def unavailable(self) -> str | None:
        home = os.environ.get("HF_HOME") or os.path.join(cache_home(), "huggingface")
        hub = Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub"))
        # Most weights are found without timm, which takes seconds to import.
        if [*hub.glob(f"models--timm--{self.name}/snapshots/*/*")]:
            return None
        try:
            config = self._config()
        except ImgsimError as ex:
            return str(ex)
        if not config.has_weights:
            return self._without_weights()
        name = _tagged(config)
        repository = f"timm/{name}" if config.hf_hub_id == "timm/" else config.hf_hub_id or ""
        folder = hub / f"models--{repository.replace('/', '--')}" / "snapshots"
        file = torch_checkpoints() / os.path.basename(str(config.url))
        return None if [*folder.glob("*/*")] or file.is_file() else not_here(f"{PREFIX}{name}")

    def _without_weights(self) -> str:
        return f"timm has no weights for {PREFIX}{self.name}: give them with --weights FILE"


class EfficientNetLite(Timm):
    """EfficientNet-Lite2, whose weights the package carries."""

    description = Description(
        name="efficientnet-lite",
        about="EfficientNet-Lite2, small and fast, trained on ImageNet",
        channels={
            "stage1": 16, "stage2": 24, "stage3": 48, "stage4": 120, "stage5": 352, HEAD: 1280,
        },
        default_levels=("stage5",),
        default_pooling="avg",
        size=192,
        normalise={"mean": [0.5] * 3, "deviation": [0.5] * 3},
        licence="Apache-2.0",
        version="1",
    )  # fmt: skip

    def __init__(self):
        super().__init__("tf_efficientnet_lite2")

    def _overlay(self, weights: Path | None) -> dict:
        return super()._overlay(weights or LITE_WEIGHTS)

    def unavailable(self) -> str | None:
        return None


def _tagged(config: timm.models.PretrainedCfg) -> str:
    """timm's name of a network with the name of its weights, such as resnet50.a1_in1k."""
    return ".".join(filter(None, [config.architecture, config.tag]))


@functools.cache
def _levels(architecture: str, size: int) -> dict[str, int]:
    """Each level and its channels, from running the network without values (device 'meta').

    Raises ImgsimError for the few networks that cannot be cut.
    """
    import timm
    import torch

    try:
        with torch.device("meta"), torch.inference_mode():
            network: Any = timm.create_model(architecture, pretrained=False, num_classes=0).eval()
            pixels = torch.empty(1, 3, size, size)
            stages = [*range(len(network.forward_intermediates(pixels, intermediates_only=True)))]
            features = network.forward_features(pixels)
            is_map = isinstance(features, torch.Tensor) and features.dim() == 4
            last = HEAD if is_map else EMBEDDING
            maps = _cut(network, stages, last)(pixels)
    except Exception as ex:  # timm's networks may raise any error
        raise ImgsimError(
            f"{PREFIX}{architecture} cannot be cut into levels ({first_line(ex)}): choose another "
            "network"
        ) from ex
    names = [*(f"stage{number + 1}" for number in stages), last]
    return {name: level.shape[1] for name, level in zip(names, maps)}


def _cut(network: Any, stages: list[int], last: str | None) -> torch.nn.Module:
    """The network cut into its stages with these numbers, and `last`, its HEAD or EMBEDDING."""
    import torch

    if last is None:
        network.prune_intermediate_layers(stages, prune_norm=True, prune_head=True)

    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
            if last is None:
                return network.forward_intermediates(
                    pixels, stages, stop_early=True, intermediates_only=True
                )
            if stages:
                features, maps = network.forward_intermediates(pixels, stages)
            else:
                features, maps = network.forward_features(pixels), []
            if last == EMBEDDING:
                return [*maps, network.forward_head(features)[:, :, None, None]]
            is_nhwc = getattr(network, "output_fmt", None) == "NHWC"
            return [*maps, features.permute(0, 3, 1, 2) if is_nhwc else features]

    return Cut()
