"""Pictures to vectors: what decodes and embeds them, for a run here and for workers elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from ..errors import ImgsimError
from ..models.network import Network
from . import decode
from .apart import Decoders
from .decode import Large, Picture

Name = TypeVar("Name")


class Worker:
    """Decodes pictures as a network needs them, and embeds them. Any thread may decode."""

    def __init__(self, network: Callable[[], Network], preprocess: dict, max_pixels: int):
        """`network` loads the network when the first picture needs it."""
        self.network = functools.cache(network)
        self.size, self.resize = preprocess["size"], preprocess["resize"]
        self.max_pixels = max_pixels
        self.decoders = Decoders()

    def close(self) -> None:
        """Ends the processes that decode."""
        self.decoders.close()

    def decode(
        self, source: str | bytes, thumbnail_size: int, large: Large = decode.one_at_a_time
    ) -> Picture:
        """A picture file with this path, or its bytes. Raises ImgsimError and OSError."""
        return self.decoders.decode(
            source,
            self.size,
            self.resize,
            thumbnail_size,
            self.max_pixels,
            large=large,
            ordinary_here=True,
        )

    def vectors(
        self, pictures: Mapping[Name, Picture]
    ) -> dict[Name, tuple[np.ndarray, np.ndarray]]:
        """(unit vector (dimensions,), norms (levels,)) of each picture.

        Pictures whose numbers are not all finite are left out. Raises ImgsimError.
        """
        if not pictures:
            return {}
        pixels = np.stack([picture.pixels for picture in pictures.values()])
        try:
            with np.errstate(all="ignore"):
                units, norms = self.network().vectors(pixels)
        except RuntimeError as ex:  # PyTorch raises it for too little memory, on every device
            if "memory" not in str(ex):
                raise
            raise ImgsimError(
                f"There is not enough memory for {len(pixels)} pictures of {pixels.shape[1]} x "
                f"{pixels.shape[2]} pixels at a time: give a smaller --batch-size"
            ) from ex
        finite = np.isfinite(units).all(axis=1) & np.isfinite(norms).all(axis=1)
        return {name: (units[n], norms[n]) for n, name in enumerate(pictures) if finite[n]}
