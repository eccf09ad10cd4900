"""Embeds one picture that is not in the database, to search with it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..db.spaces import Space
from ..models.network import Network
from . import apart, settings
from .facts import Facts


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture that is not in the database: its vector (dimensions,) and a thumbnail."""

    vector: np.ndarray
    thumbnail: bytes
    facts: Facts


SIDE_OF_THUMBNAIL = 640
"""A page shows it alone, on a phone as wide as the screen: larger than those in a grid."""

_network: tuple[tuple, Network] | None = None
"""The key that identifies the loaded network, and the network."""
_loading = threading.Lock()


def embed_picture(
    space: Space, base: Path, data: bytes, max_pixels: int, seconds: float | None = None
) -> EmbeddedPicture:
    """Embeds a picture file's bytes in the same way as the images of a space.

    `base` is the folder of the database file. Decoding may take so many seconds, if they are
    given. Raises ImgsimError.
    """
    picture = apart.SHARED.decode(
        data,
        space.preprocess["size"],
        space.preprocess["resize"],
        SIDE_OF_THUMBNAIL,
        max_pixels=max_pixels,
        seconds=seconds,
    )
    units, _ = _network_of(space, base).vectors(picture.pixels[None])
    # Rounded to the space's dtype like stored vectors, so that copies have equal vectors.
    return EmbeddedPicture(space.decode(space.encode(units[0])), picture.thumbnail, picture.facts)


def is_ready(space: Space) -> bool:
    """Whether the network of a space is loaded."""
    return _network is not None and _network[0] == _key(space)


def prepare(space: Space, base: Path) -> None:
    """Loads the network of a space, unless it is loaded. Raises ImgsimError."""
    _network_of(space, base)


def _key(space: Space) -> tuple:
    return space.weights_sha256, space.model, *space.levels, space.pooling, str(space.preprocess)


def _network_of(space: Space, base: Path) -> Network:
    """The network of a space. The one used last stays loaded."""
    global _network
    key = _key(space)
    with _loading:
        if _network is None or _network[0] != key:
            _network = None  # freed first: two networks would need twice the memory
            _network = key, settings.load_network(space, base)
        return _network[1]
