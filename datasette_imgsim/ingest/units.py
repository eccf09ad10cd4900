"""Units of work: pictures that a worker embeds into one shard."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from ..db.connect import batches
from ..db.exchange import Record
from ..errors import ImgsimError
from ..models.network import Network
from . import shards, sources
from .decode import Picture, opened
from .facts import storable
from .outcomes import NO_NUMBERS
from .recipe import Recipe
from .remote import Place, Reader
from .settings import Settings
from .worker import Worker

AGAIN = f".again{shards.SUFFIX}"
LEAST, USUAL, MOST = 256, 512, 1_000
"""Pictures in a unit: at least, on average beyond that, and at most."""


@dataclass(frozen=True)
class Order:
    """What all workers are told: how pictures become vectors, and where shards go."""

    settings: Settings
    recipe: Recipe
    """With the precision of the driver, so that no worker chooses another."""
    out: str
    device: str
    batch_size: int
    thumbnail_size: int
    max_pixels: int
    gps: bool
    threads: int
    """Of a worker."""

    @functools.cached_property
    def digest(self) -> str:
        """Of all that makes a difference to a shard, but the pictures."""
        recipe = asdict(self.recipe) | {"versions": None}
        told = [recipe, self.thumbnail_size, self.max_pixels, self.gps]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def network(self) -> Network:
        """The network, as the driver has it. Raises ImgsimError."""
        network = self.settings.network(self.device, self.recipe.precision)
        if network.weights_sha256 != self.recipe.weights_sha256:
            raise ImgsimError(
                f"A worker has other weights of {self.recipe.model} than this machine: install the "
                "same version of datasette-imgsim on both, and give the same --weights FILE"
            )
        return network


@dataclass(frozen=True)
class Unit:
    """Some pictures, and the name of their shard."""

    name: str
    places: list[Place]

    @property
    def again(self) -> str:
        """The name of its shard while some of its pictures could not be read: it is made again."""
        return self.name.removesuffix(shards.SUFFIX) + AGAIN


def units(places: Iterable[Place], order: Order, prefix: str) -> Iterator[Unit]:
    """Puts pictures into units. One that is new, changed or gone makes few other units.

    A unit ends behind pictures that their names choose, so that others stay as they are. `prefix`
    is that of the sources, with which the names of shards begin.
    """
    part: list[Place] = []
    for place in places:
        part.append(place)
        is_end = int(hashlib.sha256(place.name.encode()).hexdigest()[:8], 16) % USUAL == 0
        if len(part) == MOST or (is_end and len(part) >= LEAST):
            yield _unit(part, order, prefix)
            part = []
    if part:
        yield _unit(part, order, prefix)


def _unit(places: list[Place], order: Order, prefix: str) -> Unit:
    told = [order.digest, [[place.name, place.size, place.mtime_ns] for place in places]]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return Unit(f"{prefix}-{order.digest[:8]}-{digest[:24]}{shards.SUFFIX}", places)


class Embedder:
    """Embeds units, one after the other, into shards."""

    def __init__(self, order: Order):
        self.order, self.reader = order, Reader()
        self.unread = 0
        """How many pictures of the present unit could not be read, which may pass."""
        self.worker = Worker(order.network, order.recipe.preprocess, order.max_pixels)

    def embed(self, unit: Unit) -> tuple[int, int]:
        """Writes the shard of a unit; returns how many pictures it has, and how many failed.

        Raises ImgsimError.
        """
        with shards.located(self.order.out) as (fs, path):
            self.unread = 0
            records = list(self._records(unit.places))
            file = f"{path.rstrip('/')}/{unit.again if self.unread else unit.name}"
            shards.write(fs, file, self.order.recipe, batches(records, shards.ROWS_A_GROUP))
        failed = sum(record.error is not None for record in records)
        return len(records) - failed, failed

    def _records(self, places: list[Place]) -> Iterator[Record]:
        """The records of pictures in order; threads read and decode."""
        with ThreadPoolExecutor(self.order.threads) as pool:
            found = pool.map(self._read, places)
            while batch := list(islice(found, self.order.batch_size)):
                yield from self._embedded(batch)

    def _read(self, place: Place) -> tuple[Record, Picture | None]:
        """What is known of a picture, and the picture itself if it could be read."""
        known: dict[str, Any] = {
            "path": place.name,
            "mtime_ns": place.mtime_ns,
            "bytes": place.size,
        }
        if place.error:
            return Record(**known, error=place.error), None
        try:
            source = self.reader.read(place)
            with opened(source) as file:
                known["sha256"] = sources.digest(file)
        except Exception as ex:  # file systems and networks have errors of many kinds
            self.unread += 1
            reason = sources.os_reason(ex) if isinstance(ex, OSError) else str(ex) or repr(ex)
            return Record(**known, error=reason), None
        if isinstance(source, bytes):
            known["bytes"] = len(source)
        try:
            picture = self.worker.decode(source, self.order.thumbnail_size)
        except ImgsimError as ex:
            return Record(**known, error=str(ex)), None
        except OSError as ex:
            return Record(**known, error=sources.os_reason(ex)), None
        facts = storable(vars(picture.facts), self.order.gps)
        return Record(**known, facts=facts, thumbnail=picture.thumbnail), picture

    def _embedded(self, batch: list) -> Iterator[Record]:
        pictures = {n: picture for n, (_, picture) in enumerate(batch) if picture is not None}
        vectors = self.worker.vectors(pictures)
        for n, (record, picture) in enumerate(batch):
            if picture is None:
                yield record
            elif n in vectors:
                vector, norms = vectors[n]
                yield replace(record, vector=vector, norms=norms)
            else:
                yield Record(record.path, error=NO_NUMBERS)
