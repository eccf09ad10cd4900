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
from .part import Box


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture that is not in the database: its vector (dimensions,) and a thumbnail."""

    vector: np.ndarray
    thumbnail: bytes
    facts: Facts


SIDE_OF_THUMBNAIL = 1024
"""A page shows it alone, as wide as the screen, and a part of it can be searched with."""

_network: tuple[tuple, Network] | None = None
"""The key that identifies the loaded network, and the network."""
_loading = threading.Lock()


def embed_picture(
    space: Space,
    base: Path,
    source: str | bytes,
    max_pixels: int,
    seconds: float | None = None,
    part: Box | None = None,
) -> EmbeddedPicture:
    """Embeds a picture, by its path or its bytes, in the same way as the images of a space.

    With `part` it is that part of it, as a picture of its own; the thumbnail is of the part, too.
    `base` is the folder of the database file. Decoding may take so many seconds, if they are
    given. Raises ImgsimError, and OSError if reading fails.
    """
    picture = apart.SHARED.decode(
        source,
        space.preprocess["size"],
        space.preprocess["resize"],
        SIDE_OF_THUMBNAIL,
        max_pixels=max_pixels,
        seconds=seconds,
        part=part,
    )
    units, _ = network_of(space, base).vectors(picture.pixels[None])
    # Rounded to the space's dtype like stored vectors, so that copies have equal vectors.
    return EmbeddedPicture(space.decode(space.encode(units[0])), picture.thumbnail, picture.facts)


def is_ready(space: Space) -> bool:
    """Whether the network of a space is loaded."""
    return _network is not None and _network[0] == _key(space)


def prepare(space: Space, base: Path) -> None:
    """Loads the network of a space, unless it is loaded. Raises ImgsimError."""
    network_of(space, base)


def _key(space: Space) -> tuple:
    return space.weights_sha256, space.model, *space.levels, space.pooling, str(space.preprocess)


def network_of(space: Space, base: Path) -> Network:
    """The network of a space. The one used last stays loaded. Raises ImgsimError."""
    global _network
    key = _key(space)
    with _loading:
        if _network is None or _network[0] != key:
            _network = None  # freed first: two networks would need twice the memory
            _network = key, settings.load_network(space, base)
        return _network[1]
