"""How long a run will take, told after its first batch, and what the small network would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import ImgsimError
from ..models import registry
from ..models.network import Network

WORTH_SAYING = 300
"""Seconds; of a shorter run nothing is said."""
MUCH_FASTER = 2


@dataclass(frozen=True)
class Forecast:
    """Seconds that all images will take, with a model and with a much faster one, if there is."""

    images: int
    model: str
    seconds: float
    faster: str | None = None
    faster_seconds: float | None = None


def forecast(
    network: Network,
    model: str,
    pictures: np.ndarray,
    reading: float,
    embedding: float,
    images: int,
    faster: Callable[[], Network] | None,
) -> Forecast | None:
    """None where the run is short.

    `reading` and `embedding` are the seconds that `pictures` (N, size, size, 3) took, the first of
    all `images`; `faster` loads the small network, where the user can still choose it.
    """

    def whole(seconds: float) -> float:
        return (reading + seconds) / len(pictures) * images

    if whole(embedding) < WORTH_SAYING:
        return None
    # The first batch of a network is slow, and this is its second.
    seconds = whole(_time(network, pictures))
    if seconds < WORTH_SAYING:
        return None
    if faster is not None:
        try:
            small = faster()
            blank = np.zeros((len(pictures), small.size, small.size, 3), np.uint8)
            _time(small, blank)
            small_seconds = whole(_time(small, blank))
        except (ImgsimError, RuntimeError):  # timm is missing, say, or there is too little memory
            return Forecast(images, model, seconds)
        if small_seconds * MUCH_FASTER < seconds:
            return Forecast(images, model, seconds, registry.SMALL, small_seconds)
    return Forecast(images, model, seconds)


def _time(network: Network, pictures: np.ndarray) -> float:
    started = time.monotonic()
    network.vectors(pictures)
    return time.monotonic() - started
