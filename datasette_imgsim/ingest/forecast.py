"""Estimates, after the first batch, how long a run takes, and how long with the small model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import ImgsimError
from ..models import registry
from ..models.network import Network

WORTH_SAYING = 300
"""In seconds. A shorter run has no forecast."""
MUCH_FASTER = 2
"""The small model is named if it is at least this many times as fast."""


@dataclass(frozen=True)
class Forecast:
    """The time that a run will take."""

    images: int
    """How many images the run embeds."""
    model: str
    seconds: float
    faster: str | None = None
    """The name of a much faster model, if there is one that the user can still choose."""
    faster_seconds: float | None = None
    """The time that the run would take with it."""


def forecast(
    network: Network,
    model: str,
    pictures: np.ndarray,
    reading: float,
    embedding: float,
    images: int,
    faster: Callable[[], Network] | None,
) -> Forecast | None:
    """The forecast of a run over `images` images, or None if the run is short.

    `reading` and `embedding` are the seconds that the first batch, `pictures` (N, size, size, 3)
    uint8, took. `faster` loads the small model's network; None if it is too late to choose it.
    """

    def run_seconds(batch_seconds: float) -> float:
        return (reading + batch_seconds) / len(pictures) * images

    if run_seconds(embedding) < WORTH_SAYING:
        return None
    # A network's first batch is slow, so the batch is timed once more.
    seconds = run_seconds(_time(network, pictures))
    if seconds < WORTH_SAYING:
        return None
    if faster is not None:
        try:
            small = faster()
            blank = np.zeros((len(pictures), small.size, small.size, 3), np.uint8)
            _time(small, blank)
            small_seconds = run_seconds(_time(small, blank))
        except (ImgsimError, RuntimeError):  # such as a missing package or too little memory
            return Forecast(images, model, seconds)
        if small_seconds * MUCH_FASTER < seconds:
            return Forecast(images, model, seconds, registry.SMALL, small_seconds)
    return Forecast(images, model, seconds)


def _time(network: Network, pictures: np.ndarray) -> float:
    started = time.monotonic()
    network.vectors(pictures)
    return time.monotonic() - started
