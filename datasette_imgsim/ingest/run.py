"""One run in one space: threads decode ahead, the network embeds batches, and each is stored."""

from __future__ import annotations

import collections
import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager

import numpy as np

from ..db.connect import Writer
from ..db.images import (
    clear_failures,
    copy_vector,
    forget_images,
    mark_places_read,
    read_vector,
    rename_image,
    save_failures,
    save_thumbnails,
    save_vectors,
)
from ..db.rules import RuleBroken, own_rules
from ..db.spaces import Space, raise_generation
from ..errors import ImgsimError
from ..models.network import Network
from ..progress import Advance
from . import decode, sources
from .facts import storable
from .mark import Mark
from .options import RunOptions
from .outcomes import Decoded, Failed, Outcome, Read, Summary, no_numbers
from .pictures import Pictures
from .plan import Plan
from .quiet import silent_decoders
from .sources import Item
from .worker import Worker

BATCHES_AHEAD = 2
SECONDS_TO_STOP = 0.2
# Vectors of the same pixels are nearer than this: rounding to float16 makes 0.0004 at most. Saving
# a photo as JPEG again, in the best quality, makes 0.004.
SAME_PICTURE = 0.001


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
        mark: Mark,
        forecast: Callable[[Network, np.ndarray, float, float], None] | None = None,
    ):
        """`network` loads the network when the first picture needs it.

        `forecast` is called once, with the network, the first batch (N, size, size, 3), the
        seconds that reading this batch took, and the seconds that embedding it took.
        """
        self.forecast = forecast
        self.first_read_at = 0.0
        self.conn, self.pictures, self.space = conn, pictures, space
        self.worker = Worker(network, space.preprocess, options.max_pixels)
        self.plan, self.options, self.mark = plan, options, mark
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
        self.lacking = {
            image.id for image in [*plan.rows.values(), *plan.gone] if options.lacks(image)
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
                    break
            self.summary.interrupted = self.stop.is_set()
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
            while futures and self._is_done(futures[0]):
                yield futures.popleft().result()
                for item in itertools.islice(items, 1):
                    futures.append(pool.submit(self._read, item))
        finally:
            # In this order, so that nothing waits for a picture that takes long.
            pool.shutdown(wait=False, cancel_futures=True)
            self.worker.close()
            pool.shutdown()

    def _is_done(self, future: Future) -> bool:
        """Waits until an item is read; False if Ctrl-C comes first, since that may take long."""
        while not self.stop.is_set():
            if wait([future], SECONDS_TO_STOP).done:
                return True
        return future.done()

    def _read(self, item: Item) -> Outcome:
        if item.error:
            return Failed(item, item.error)
        sha256 = None
        try:
            with item.open() as file:
                sha256 = sources.digest(file)
                if self._is_complete(item, sha256):
                    return Read(item, sha256)
            source = item.file if item.data is None else item.data
            large = functools.partial(self.mark.on, self.pictures.table, item)
            picture = self.worker.decode(source, self._thumbnail_size(item), large)
            return Decoded(item, sha256, picture)
        except ImgsimError as ex:
            return Failed(item, str(ex), sha256)
        except OSError as ex:
            return Failed(item, sources.os_reason(ex), sha256)

    def _thumbnail_size(self, item: Item) -> int:
        row = self.plan.rows.get(item.name)
        return self.options.thumbnail_size or (row and row.thumbnail_size) or decode.THUMBNAIL_SIZE

    def _is_complete(self, item: Item, sha256: str) -> bool:
        """Whether all that this run reads of an item's content is stored."""
        row = self.plan.rows.get(item.name)
        if row is not None and row.embedded:
            return row.sha256 == sha256 and row.id not in self.lacking
        return sha256 in self.holders and self.holders[sha256] not in self.lacking

    def _only_touched(self, item: Item, sha256: str) -> bool:
        """Whether an item is embedded and its content is unchanged, even if its mtime is not."""
        row = self.plan.rows.get(item.name)
        return row is not None and row.embedded and row.sha256 == sha256

    def _is_replaced(self, failed: Failed) -> bool:
        """Whether a row certainly holds another picture than the one that was embedded.

        A file is not certain: it may be incomplete for the moment, or come back.
        """
        row, item = self.plan.rows.get(failed.item.name), failed.item
        if row is None:
            return False
        is_other_file = row.file is not None and row.file != item.path
        return is_other_file or (item.data is not None and row.sha256 != failed.sha256)

    def _store(self, batch: list[Outcome]) -> None:
        """Embeds a batch, then writes it in one transaction."""
        fresh: dict[str, Decoded] = {}
        for outcome in batch:
            if isinstance(outcome, Decoded) and not self._has_vector(outcome):
                fresh.setdefault(outcome.sha256, outcome)
        vectors = self._embed(fresh)
        not_finite = fresh.keys() - vectors
        batch = [
            no_numbers(outcome) if outcome.sha256 in not_finite else outcome for outcome in batch
        ]
        failed = [outcome for outcome in batch if isinstance(outcome, Failed)]
        good = [outcome for outcome in batch if isinstance(outcome, Read)]
        table = self.pictures.table
        changed = self.summary.changed
        with self.conn.transaction():
            self._save_failures(failed)
            replaced = [failure.item.name for failure in failed if self._is_replaced(failure)]
            forget_images(self.conn, table, replaced)
            clear_failures(self.conn, table, [str(read.item.name) for read in good])
            for read in good:
                self._store_one(read, vectors)
            if self.summary.changed > changed:
                raise_generation(self.conn, self.space)

    def _store_one(self, read: Read, vectors: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Stores one picture; it becomes a failure if a rule of the user's own refuses it."""
        try:
            with own_rules(self.conn, self.pictures.table):
                if isinstance(read, Decoded) and not self._has_vector(read):
                    self._add(read, *vectors[read.sha256])
                else:
                    self._link(read)
        except RuleBroken as ex:
            self._save_failures([Failed(read.item, str(ex), read.sha256)])

    def _save_failures(self, failed: list[Failed]) -> None:
        rows = [(str(f.item.name), _with_path(f), *f.item.stamp) for f in failed]
        save_failures(self.conn, self.pictures.table, rows)
        self.summary.failed += len(failed)

    def _has_vector(self, read: Read) -> bool:
        return read.sha256 in self.holders or self._only_touched(read.item, read.sha256)

    def _embed(self, reads: dict[str, Decoded]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """sha256 -> (vector, norms), without pictures whose numbers are not all finite."""
        if not reads:
            return {}
        read_at = time.monotonic()
        pictures = {sha256: read.picture for sha256, read in reads.items()}
        vectors = self.worker.vectors(pictures)
        if self.forecast:
            embedding = time.monotonic() - read_at
            pixels = np.stack([picture.pixels for picture in pictures.values()])
            self.forecast(self.worker.network(), pixels, read_at - self.first_read_at, embedding)
            self.forecast = None
        return vectors

    def _add(self, read: Decoded, vector: np.ndarray, norms: np.ndarray) -> None:
        """Stores row, vector and thumbnail of a content that no other image has."""
        if self._has_same_pixels(read, vector):
            self._update(read, vars(read.picture.facts))
            return
        self._rename(read)
        id = self._save_row(read, storable(vars(read.picture.facts), self.options.gps))
        save_vectors(self.conn, self.space, [(id, vector, norms)])
        self._save_extras(id, read)
        self.holders[read.sha256] = id
        self.summary.embedded += 1

    def _link(self, read: Read) -> None:
        """Stores an item whose content has a vector already: touched, renamed or copied."""
        facts = vars(read.picture.facts) if isinstance(read, Decoded) else {}
        if self._only_touched(read.item, read.sha256):
            row = self.plan.rows[read.item.name]
            if facts or row.stamp != read.item.stamp:
                self._save_row(read, storable(facts, self.options.gps))
            self._save_extras(row.id, read)
            self.summary.unchanged += 1
            self.summary.read_again += isinstance(read, Decoded)
            return
        holder = self.holders[read.sha256]
        if self._has_same_pixels(read, read_vector(self.conn, self.space, holder)):
            self._update(read, facts)
            return
        renamed = self._rename(read)
        if not (facts or renamed):
            facts = self.pictures.facts(self.conn, holder)
        id = self._save_row(read, storable(facts, self.options.gps))
        if id != holder:
            copy_vector(self.conn, self.space, holder, id)
        self._save_extras(id, read)
        self.summary.renamed += renamed
        self.summary.copied += not renamed

    def _has_same_pixels(self, read: Read, vector: np.ndarray | None) -> bool:
        """Whether an image's content is another one, and its picture, with this vector, is not."""
        row = self.plan.rows.get(read.item.name)
        if row is None or not row.embedded or vector is None:
            return False
        stored = read_vector(self.conn, self.space, row.id)
        return stored is not None and bool(np.linalg.norm(stored - vector) <= SAME_PICTURE)

    def _update(self, read: Read, facts: dict) -> None:
        """Stores the metadata of an image whose vector, and so its place on the map, stays."""
        row = self.plan.rows[read.item.name]
        stored = facts if row.gps else storable(facts, self.options.gps)
        id = self.pictures.save(self.conn, read.item, read.sha256, stored, same_pixels=True)
        self._save_extras(id, read, replace=True)
        self.holders[read.sha256] = id
        self.summary.unchanged += 1
        self.summary.read_again += 1

    def _rename(self, read: Read) -> bool:
        """Gives a new file the row of a gone file with the same content; returns whether it did."""
        gone = self.gone.get(read.sha256)
        if not gone or read.item.name in self.plan.rows:
            return False
        return rename_image(self.conn, gone.pop(), str(read.item.name))

    def _save_row(self, read: Read, facts: dict) -> int | str:
        return self.pictures.save(self.conn, read.item, read.sha256, facts)

    def _save_extras(self, id: int | str, read: Read, replace: bool = False) -> None:
        """Stores what this run reads beside vector and facts, and records that it was read.

        `replace` an older thumbnail, as also where another size was asked for.
        """
        table = self.pictures.table
        if isinstance(read, Decoded):
            row, size = (id, read.picture.thumbnail), self._thumbnail_size(read.item)
            replace = replace or self.options.thumbnail_size is not None
            save_thumbnails(self.conn, table, [row], size, replace)
        if self.options.gps:
            mark_places_read(self.conn, table, [id])


def _with_path(failed: Failed) -> str:
    """The reason of a failure, with the path that a row of a user's own table has."""
    path = failed.item.path
    if path is None:
        return failed.error
    where = "" if os.path.isabs(path) else ", from the folder of the database"
    return f"{path}{where}: {failed.error}"


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
