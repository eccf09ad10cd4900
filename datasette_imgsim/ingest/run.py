"""One run in one space: decoding runs ahead, the network follows, batches are stored."""

from __future__ import annotations

import collections
import functools
import hashlib
import itertools
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeAlias

import numpy as np

from ..db.connect import Writer
from ..db.images import (
    clear_failures,
    copy_vector,
    forget_images,
    rename_image,
    save_failures,
    save_thumbnails,
    save_vectors,
)
from ..db.spaces import Space, raise_generation
from ..errors import ImgsimError
from ..models.network import Network
from ..progress import Advance
from . import decode, sources
from .decode import Picture
from .pictures import Pictures
from .plan import Plan
from .sources import Item

HASH_BLOCK = 1 << 20
BATCHES_AHEAD = 2
PLACE = ("latitude", "longitude")


@dataclass(frozen=True)
class RunOptions:
    """How pictures are read and computed; none of it changes what a vector means."""

    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    """Threads that decode; None is one a processor."""
    thumbnail_size: int = 256
    max_pixels: int = decode.MAX_PIXELS
    gps: bool = False
    """Store where pictures were taken."""
    retry_failed: bool = False
    """Try again what failed before and is unchanged."""
    prune: bool = False
    """Remove images below the given folders whose file is gone."""


@dataclass
class Summary:
    """What a run did, in images."""

    embedded: int = 0
    unchanged: int = 0
    renamed: int = 0
    copied: int = 0
    failed: int = 0
    failed_before: int = 0
    pruned: int = 0
    without_key: int = 0
    """Rows of a table that were passed over."""
    interrupted: bool = False
    space: str | None = None
    """The name of the space that was worked on; None where there was nothing to embed."""
    default_space: str | None = None
    """The name of the default space of the same table."""
    seconds: float = 0.0

    @property
    def nothing_worked(self) -> bool:
        return self.failed > 0 and not (self.embedded or self.renamed or self.copied)


@dataclass(frozen=True)
class Read:
    """An item that was read, of whose content there is a vector already."""

    item: Item
    sha256: str


@dataclass(frozen=True)
class Decoded(Read):
    """An item that had to be decoded."""

    picture: Picture


@dataclass(frozen=True)
class Failed:
    """An item that cannot be embedded; it has a hash if it could be read that far."""

    item: Item
    error: str
    sha256: str | None = None


Outcome: TypeAlias = "Read | Failed"


class Run:
    """One run over the pending files of a plan, in one space."""

    def __init__(
        self,
        conn: Writer,
        pictures: Pictures,
        space: Space,
        network: Callable[[], Network],
        plan: Plan,
        options: RunOptions,
        forecast: Callable[[Network, np.ndarray, float, float], None] | None = None,
    ):
        """`network` loads the network when the first picture needs it.

        `forecast` is called once, with it, the first batch (N, size, size, 3) and the seconds that
        reading and embedding that batch took.
        """
        self.forecast = forecast
        self.first_read_at = 0.0
        self.conn, self.pictures, self.space = conn, pictures, space
        self.network = functools.cache(network)
        self.plan, self.options = plan, options
        self.summary = Summary(unchanged=plan.unchanged, failed_before=plan.failed_before)
        self.gone = collections.defaultdict(list)
        for image in plan.gone:
            self.gone[image.sha256].append(image)
        # By content, an image that has its vector. Skip files that may have changed: their hash
        # may be stale.
        changing = {item.name for item in plan.pending}
        self.holders = {
            image.sha256: image.id
            for image in [*plan.rows.values(), *plan.gone]
            if image.embedded and image.path not in changing
        }
        self.stop = threading.Event()

    def go(self, advance: Advance) -> Summary:
        """Reads, embeds and stores. `advance` is told of the items that are finished."""
        started = time.monotonic()
        if self.plan.recovered:
            with self.conn.transaction():
                clear_failures(self.conn, self.pictures.table, self.plan.recovered)
        with _ctrl_c(self.stop), _silent_pillow(), closing(self._ahead()) as reads:
            for batch in self._batches(reads):
                self._store(batch)
                advance(len(batch))
                if self.stop.is_set():
                    self.summary.interrupted = True
                    break
        self.summary.seconds = time.monotonic() - started
        return self.summary

    def _batches(self, reads: Iterator[Outcome]) -> Iterator[list[Outcome]]:
        """Files in order, as many at a time as hold one batch of pictures for the network."""
        # A run of copies or failures must not wait for pictures for ever.
        most = self.space.rows_a_transaction
        batch: list[Outcome] = []
        pictures = 0
        for read in reads:
            # The time to load packages, before the first file, must not count.
            self.first_read_at = self.first_read_at or time.monotonic()
            batch.append(read)
            pictures += isinstance(read, Decoded)
            if pictures == self.options.batch_size or len(batch) == most:
                yield batch
                batch, pictures = [], 0
        if batch:
            yield batch

    def _ahead(self) -> Generator[Outcome, None, None]:
        """Decodes in threads, a bounded number of files ahead of the one that is given."""
        workers = self.options.workers or os.cpu_count() or 1
        todo = (self.pictures.loaded(self.conn, item) for item in self.plan.pending)
        ahead = BATCHES_AHEAD * self.options.batch_size + workers
        pool = ThreadPoolExecutor(workers)
        try:
            futures = collections.deque(
                pool.submit(self._read, item) for item in itertools.islice(todo, ahead)
            )
            while futures:
                yield futures.popleft().result()
                for item in itertools.islice(todo, 1):
                    futures.append(pool.submit(self._read, item))
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, item: Item) -> Outcome:
        if item.error:
            return Failed(item, item.error)
        sha256 = None
        try:
            with item.open() as file:
                sha256 = _digest(file)
                if sha256 in self.holders or self._only_touched(item, sha256):
                    return Read(item, sha256)
                file.seek(0)
                picture = decode.decode(
                    file,
                    self.space.preprocess["size"],
                    self.space.preprocess["resize"],
                    self.options.thumbnail_size,
                    self.options.max_pixels,
                )
                return Decoded(item, sha256, picture)
        except ImgsimError as ex:
            return Failed(item, str(ex), sha256)
        except OSError as ex:
            return Failed(item, sources.os_reason(ex), sha256)

    def _only_touched(self, item: Item, sha256: str) -> bool:
        row = self.plan.rows.get(item.name)
        return row is not None and row.embedded and row.sha256 == sha256

    def _is_replaced(self, failed: Failed) -> bool:
        """Whether a row certainly holds another picture than the one that was embedded.

        Of a file one cannot say: it may be on its way, or come back.
        """
        row, item = self.plan.rows.get(failed.item.name), failed.item
        return row is not None and item.data is not None and row.sha256 != failed.sha256

    def _store(self, batch: list[Outcome]) -> None:
        """Embeds a batch, outside the transaction, and writes it in one."""
        fresh: dict[str, Decoded] = {}
        for read in batch:
            if isinstance(read, Decoded) and read.sha256 not in self.holders:
                fresh.setdefault(read.sha256, read)
        vectors = self._embed(fresh)
        lost = fresh.keys() - vectors
        batch = [_not_finite(read) if read.sha256 in lost else read for read in batch]
        failed = [read for read in batch if isinstance(read, Failed)]
        good = [read for read in batch if isinstance(read, Read)]
        table = self.pictures.table
        changed = [read for read in good if not self._only_touched(read.item, read.sha256)]
        with self.conn.transaction():
            save_failures(
                self.conn,
                table,
                [(str(r.item.name), r.error, r.item.size, r.item.mtime_ns) for r in failed],
            )
            replaced = [read.item.name for read in failed if self._is_replaced(read)]
            forget_images(self.conn, table, replaced)
            clear_failures(self.conn, table, [str(read.item.name) for read in good])
            self._store_vectors([fresh[sha256] for sha256 in vectors], vectors)
            for read in good:
                if fresh.get(read.sha256) is not read:
                    self._link(read)
            if changed:
                raise_generation(self.conn, self.space)
        self.summary.failed += len(failed)

    def _embed(self, reads: dict[str, Decoded]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """sha256 -> (vector, norms), for those that have finite numbers."""
        if not reads:
            return {}
        read_at = time.monotonic()
        pixels = np.stack([read.picture.pixels for read in reads.values()])
        try:
            with np.errstate(all="ignore"):
                units, norms = self.network().vectors(pixels)
        except RuntimeError as ex:  # which PyTorch's errors about memory are, on every device
            if "memory" not in str(ex):
                raise
            raise ImgsimError(
                f"There is not enough memory for {len(pixels)} pictures of {pixels.shape[1]} x "
                f"{pixels.shape[2]} pixels at a time: give a smaller --batch-size"
            ) from ex
        if self.forecast:
            embedding = time.monotonic() - read_at
            self.forecast(self.network(), pixels, read_at - self.first_read_at, embedding)
            self.forecast = None
        finite = np.isfinite(units).all(axis=1) & np.isfinite(norms).all(axis=1)
        return {sha256: (units[n], norms[n]) for n, sha256 in enumerate(reads) if finite[n]}

    def _store_vectors(self, reads: list[Decoded], vectors: dict) -> None:
        """Rows, vectors and thumbnails of pictures that no other image has."""
        ids = []
        for read in reads:
            self._rename(read)
            ids.append(self._save_row(read, self._storable(vars(read.picture.facts))))
        save_vectors(
            self.conn, self.space, [(id, *vectors[read.sha256]) for id, read in zip(ids, reads)]
        )
        save_thumbnails(
            self.conn,
            self.pictures.table,
            [(id, r.picture.thumbnail) for id, r in zip(ids, reads)],
        )
        for id, read in zip(ids, reads):
            self.holders[read.sha256] = id
        self.summary.embedded += len(reads)

    def _link(self, read: Read) -> None:
        """A file whose content has a vector already: touched, renamed or copied."""
        if self._only_touched(read.item, read.sha256):
            row = self.plan.rows[read.item.name]
            if (row.bytes, row.mtime_ns) != (read.item.size, read.item.mtime_ns):
                self._save_row(read, {})
            self.summary.unchanged += 1
            return
        holder, renamed = self.holders[read.sha256], self._rename(read)
        id = self._save_row(
            read, {} if renamed else self._storable(self.pictures.facts(self.conn, holder))
        )
        if id != holder:
            copy_vector(self.conn, self.space, holder, id)
        self.summary.renamed += renamed
        self.summary.copied += not renamed

    def _rename(self, read: Read) -> bool:
        """Gives a new file the row of one that is gone and had its content; whether it did."""
        gone = self.gone.get(read.sha256)
        if not gone or read.item.name in self.plan.rows:
            return False
        return rename_image(self.conn, gone.pop(), str(read.item.name))

    def _save_row(self, read: Read, facts: dict) -> int | str:
        return self.pictures.save(self.conn, read.item, read.sha256, facts)

    def _storable(self, facts: dict) -> dict:
        """What may be stored of a picture: where it was taken only if that was asked for."""
        if self.options.gps:
            return facts
        return {name: value for name, value in facts.items() if name not in PLACE}


def _not_finite(read: Outcome) -> Failed:
    # Without size and mtime the failure does not hold for the next run, or for another network.
    item = replace(read.item, size=None, mtime_ns=None)
    return Failed(item, "the network gives no finite numbers for it", read.sha256)


def _digest(file: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    while block := file.read(HASH_BLOCK):
        sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C sets `stop`; a second one ends the program at once."""
    before = signal.getsignal(signal.SIGINT)
    # A program that was started to ignore Ctrl-C, in the background, goes on ignoring it.
    if before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number, frame):
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _silent_pillow() -> Iterator[None]:
    """What it warns of and logs names no file, and what matters becomes a failure."""
    logger = logging.getLogger("PIL")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        logger.setLevel(before)
