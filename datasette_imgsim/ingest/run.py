"""One run in one space: threads decode ahead, the network embeds batches, and each is stored."""

from __future__ import annotations

import collections
import functools
import hashlib
import itertools
import os
import signal
import threading
import time
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
from .quiet import silent_decoders
from .sources import Item

HASH_BLOCK = 1 << 20
BATCHES_AHEAD = 2
PLACE = ("latitude", "longitude")


@dataclass(frozen=True)
class RunOptions:
    """How pictures are read and embedded. No option changes what a vector means."""

    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    """The number of threads that decode; None stands for one per processor."""
    thumbnail_size: int = 256
    """Thumbnails fit into a square with this side, in pixels."""
    max_pixels: int = decode.MAX_PIXELS
    """Larger pictures are refused."""
    gps: bool = False
    """Store where pictures were taken."""
    retry_failed: bool = False
    """Try items again that failed before and have not changed."""
    prune: bool = False
    """Remove images whose file is gone from the folders that are embedded."""


@dataclass
class Summary:
    """What a run did, in numbers of images."""

    embedded: int = 0
    unchanged: int = 0
    renamed: int = 0
    copied: int = 0
    failed: int = 0
    failed_before: int = 0
    pruned: int = 0
    without_key: int = 0
    """Rows of a table that were skipped, since their key is null."""
    interrupted: bool = False
    space: str | None = None
    """The name of the space of the run; None if there was nothing to embed."""
    default_space: str | None = None
    """The name of the default space of the same table."""
    seconds: float = 0.0

    @property
    def nothing_worked(self) -> bool:
        """Whether there were failures and no successes."""
        return self.failed > 0 and not (self.embedded or self.renamed or self.copied)


@dataclass(frozen=True)
class Read:
    """An item whose content has a vector already."""

    item: Item
    sha256: str


@dataclass(frozen=True)
class Decoded(Read):
    """An item whose content is new, so it was decoded."""

    picture: Picture


@dataclass(frozen=True)
class Failed:
    """An item that cannot be embedded; it has a hash if its bytes could be read."""

    item: Item
    error: str
    sha256: str | None = None


Outcome: TypeAlias = "Read | Failed"
"""What became of a pending item."""


class Run:
    """One run over the pending items of a plan, in one space."""

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

        `forecast` is called once, with the network, the first batch (N, size, size, 3), the
        seconds that reading this batch took, and the seconds that embedding it took.
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
        # The id of an image with a vector, by the hash of its content. Pending items are left out:
        # their content may have changed.
        changing = {item.name for item in plan.pending}
        self.holders = {
            image.sha256: image.id
            for image in [*plan.rows.values(), *plan.gone]
            if image.embedded and image.path not in changing
        }
        self.stop = threading.Event()

    def go(self, advance: Advance) -> Summary:
        """Reads, embeds and stores all pending items, until Ctrl-C.

        `advance` is called with the number of items in each stored batch. Raises ImgsimError.
        """
        started = time.monotonic()
        if self.plan.recovered:
            with self.conn.transaction():
                clear_failures(self.conn, self.pictures.table, self.plan.recovered)
        with _ctrl_c(self.stop), silent_decoders(), closing(self._outcomes()) as outcomes:
            for batch in self._batches(outcomes):
                self._store(batch)
                advance(len(batch))
                if self.stop.is_set():
                    self.summary.interrupted = True
                    break
        self.summary.seconds = time.monotonic() - started
        return self.summary

    def _batches(self, outcomes: Iterator[Outcome]) -> Iterator[list[Outcome]]:
        """The outcomes in lists that have as many decoded pictures as the network takes at once."""
        # Many copies or failures in a row are stored without waiting for pictures.
        most = self.space.rows_a_transaction
        batch: list[Outcome] = []
        pictures = 0
        for outcome in outcomes:
            # The time to load packages, before the first item, must not count.
            self.first_read_at = self.first_read_at or time.monotonic()
            batch.append(outcome)
            pictures += isinstance(outcome, Decoded)
            if pictures == self.options.batch_size or len(batch) == most:
                yield batch
                batch, pictures = [], 0
        if batch:
            yield batch

    def _outcomes(self) -> Generator[Outcome, None, None]:
        """The outcomes of pending items in order; threads decode a limited number ahead."""
        workers = self.options.workers or os.cpu_count() or 1
        items = (self.pictures.loaded(self.conn, item) for item in self.plan.pending)
        ahead = BATCHES_AHEAD * self.options.batch_size + workers
        pool = ThreadPoolExecutor(workers)
        try:
            futures = collections.deque(
                pool.submit(self._read, item) for item in itertools.islice(items, ahead)
            )
            while futures:
                yield futures.popleft().result()
                for item in itertools.islice(items, 1):
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
        """Whether an item is embedded and its content is unchanged, even if its mtime is not."""
        row = self.plan.rows.get(item.name)
        return row is not None and row.embedded and row.sha256 == sha256

    def _is_replaced(self, failed: Failed) -> bool:
        """Whether a row certainly holds another picture than the one that was embedded.

        A file is not certain: it may be incomplete for the moment, or come back.
        """
        row, item = self.plan.rows.get(failed.item.name), failed.item
        return row is not None and item.data is not None and row.sha256 != failed.sha256

    def _store(self, batch: list[Outcome]) -> None:
        """Embeds a batch, then writes it in one transaction."""
        fresh: dict[str, Decoded] = {}
        for outcome in batch:
            if isinstance(outcome, Decoded) and outcome.sha256 not in self.holders:
                fresh.setdefault(outcome.sha256, outcome)
        vectors = self._embed(fresh)
        not_finite = fresh.keys() - vectors
        batch = [
            _not_finite(outcome) if outcome.sha256 in not_finite else outcome for outcome in batch
        ]
        failed = [outcome for outcome in batch if isinstance(outcome, Failed)]
        good = [outcome for outcome in batch if isinstance(outcome, Read)]
        table = self.pictures.table
        changed = [read for read in good if not self._only_touched(read.item, read.sha256)]
        with self.conn.transaction():
            save_failures(
                self.conn,
                table,
                [(str(f.item.name), f.error, f.item.size, f.item.mtime_ns) for f in failed],
            )
            replaced = [failure.item.name for failure in failed if self._is_replaced(failure)]
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
        """sha256 -> (vector, norms), without pictures whose numbers are not all finite."""
        if not reads:
            return {}
        read_at = time.monotonic()
        pixels = np.stack([read.picture.pixels for read in reads.values()])
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
        if self.forecast:
            embedding = time.monotonic() - read_at
            self.forecast(self.network(), pixels, read_at - self.first_read_at, embedding)
            self.forecast = None
        finite = np.isfinite(units).all(axis=1) & np.isfinite(norms).all(axis=1)
        return {sha256: (units[n], norms[n]) for n, sha256 in enumerate(reads) if finite[n]}

    def _store_vectors(self, reads: list[Decoded], vectors: dict) -> None:
        """Stores rows, vectors and thumbnails of pictures that no other image has."""
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
        """Stores an item whose content has a vector already: touched, renamed or copied."""
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
        """Gives a new file the row of a gone file with the same content; returns whether it did."""
        gone = self.gone.get(read.sha256)
        if not gone or read.item.name in self.plan.rows:
            return False
        return rename_image(self.conn, gone.pop(), str(read.item.name))

    def _save_row(self, read: Read, facts: dict) -> int | str:
        return self.pictures.save(self.conn, read.item, read.sha256, facts)

    def _storable(self, facts: dict) -> dict:
        """The facts to store: where a picture was taken only with the option gps."""
        if self.options.gps:
            return facts
        return {name: value for name, value in facts.items() if name not in PLACE}


def _not_finite(outcome: Outcome) -> Failed:
    # Without size and mtime the next run tries it again, perhaps with another network.
    item = replace(outcome.item, size=None, mtime_ns=None)
    return Failed(item, "the network gives no finite numbers for it", outcome.sha256)


def _digest(file: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    while block := file.read(HASH_BLOCK):
        sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C sets `stop`; a second one ends the program at once."""
    before = signal.getsignal(signal.SIGINT)
    # A program started in the background to ignore Ctrl-C continues to ignore it.
    if before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number, frame):
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
