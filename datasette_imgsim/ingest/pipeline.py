"""From sources to stored vectors: decoding runs ahead, the network follows, batches are stored."""

from __future__ import annotations

import collections
import functools
import hashlib
import io
import itertools
import logging
import os
import signal
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from ..db.connect import Writer, errors_named, open_any, open_writer
from ..db.images import (
    KnownImage,
    clear_failures,
    copy_vector,
    forget_images,
    forget_in_batches,
    forget_orphans,
    read_failures,
    remove_images,
    rename_image,
    save_failures,
    save_thumbnails,
    save_vectors,
)
from ..db.schema import SOURCE_TABLE
from ..db.spaces import (
    Space,
    all_spaces,
    choose_space,
    count_vectors,
    raise_generation,
    renew_centre,
)
from ..errors import ImgsimError
from ..models import registry
from ..models.network import Network, keep_memory
from . import decode, settings, sources
from .collection import Collection, Column, Files
from .decode import Picture
from .forecast import Forecast, forecast
from .settings import Settings
from .sources import Source

HASH_BLOCK = 1 << 20
BATCHES_AHEAD = 2
PLACE = ("latitude", "longitude")


@dataclass(frozen=True)
class Choices:
    """How files are read; none of it changes what a vector means."""

    batch_size: int = 32
    workers: int | None = None  # one a processor
    thumbnail_size: int = 256
    max_pixels: int = decode.MAX_PIXELS
    gps: bool = False


class Interface(Protocol):
    """How a run tells its user what happens."""

    def progress(self, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Shows how far a run over `total` files is; gives what to call with files finished."""

    def waiting(self) -> None:
        """Says that another program has the database locked; called once at most."""

    def is_watched(self) -> bool:
        """Whether a person is there to be told of a forecast, which takes a second to make."""

    def forecast(self, forecast: Forecast) -> None:
        """Says how long a long run will take; called once at most."""


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
    seconds: float = 0.0

    @property
    def nothing_worked(self) -> bool:
        return self.failed > 0 and not (self.embedded or self.renamed or self.copied)


@dataclass(frozen=True)
class Plan:
    """The files of a run, sorted by what is to be done with them."""

    pending: list[Source]
    rows: dict[int | str, KnownImage]
    """Images by the name of their source, those excepted whose file is gone."""
    gone: list[KnownImage]
    unchanged: int
    failed_before: int
    recovered: list[str]
    """Names of failures that are none any more: the old file is back, the folder can be listed."""


@dataclass(frozen=True)
class Read:
    """A file that was read: its hash, and the picture where it had to be decoded.

    One that failed has a hash if it could be read that far.
    """

    source: Source
    sha256: str | None = None
    picture: Picture | None = None
    error: str | None = None


def plan(
    conn: sqlite3.Connection,
    collection: Collection,
    space: Space | None,
    found: list[Source],
    retry_failed: bool = False,
) -> Plan:
    """Compares the sources with the tables: unchanged is same name, size, mtime and a vector.

    A picture in the database has no mtime: its bytes must be looked at.
    """
    names = {source.name for source in found}
    rows, gone = {}, []
    for image in collection.known(conn, space):
        if image.path not in names and collection.is_gone(image):
            gone.append(image)
        else:
            rows[image.path] = image
    failures = read_failures(conn, collection.table)
    found_texts = {str(name) for name in names}
    recovered = [name for name in failures.keys() - found_texts if collection.is_settled(name)]
    pending, unchanged, failed_before = [], 0, 0
    for source in found:
        image, stamp, name = (
            rows.get(source.name),
            (source.bytes, source.mtime_ns),
            str(source.name),
        )
        same = image and image.embedded and (image.bytes, image.mtime_ns) == stamp
        if same and source.mtime_ns is not None:
            unchanged += 1
            if name in failures:
                recovered.append(name)
        elif failures.get(name) == stamp and not retry_failed:
            failed_before += 1
        else:
            pending.append(source)
    return Plan(pending, rows, gone, unchanged, failed_before, recovered)


class Run:
    """One run over the pending files of a plan, in one space."""

    def __init__(
        self,
        conn: Writer,
        collection: Collection,
        space: Space,
        network: Callable[[], Network],
        plan: Plan,
        choices: Choices,
        foresee: Callable[[Network, np.ndarray, float, float], None] | None = None,
    ):
        """`network` loads the network when the first picture needs it.

        `foresee` is called once, with it, the first batch (N, size, size, 3) and the seconds that
        reading and embedding that batch took.
        """
        self.foresee, self.first_read_at = foresee, None
        self.conn, self.collection, self.space = conn, collection, space
        self.network = functools.cache(network)
        self.plan, self.choices = plan, choices
        self.summary = Summary(unchanged=plan.unchanged, failed_before=plan.failed_before)
        self.gone = collections.defaultdict(list)
        for image in plan.gone:
            self.gone[image.sha256].append(image)
        # Which image has the vector of a content. A file that may have changed is no witness.
        changing = {source.name for source in plan.pending}
        self.holders = {
            image.sha256: image.id
            for image in [*plan.rows.values(), *plan.gone]
            if image.embedded and image.path not in changing
        }
        self.stop = threading.Event()

    def go(self, progress: Callable[[int], None] = lambda count: None) -> Summary:
        """Reads, embeds and stores. `progress` is called with the number of files finished."""
        started = time.monotonic()
        if self.plan.recovered:
            with self.conn.transaction():
                clear_failures(self.conn, self.collection.table, self.plan.recovered)
        with _ctrl_c(self.stop), _silent_pillow(), closing(self._ahead()) as reads:
            for batch in self._batches(reads):
                self._store(batch)
                progress(len(batch))
                if self.stop.is_set():
                    self.summary.interrupted = True
                    break
        self.summary.seconds = time.monotonic() - started
        return self.summary

    def _batches(self, reads: Iterator[Read]) -> Iterator[list[Read]]:
        """Files in order, as many at a time as hold one batch of pictures for the network."""
        # A run of copies or failures must not wait for pictures for ever.
        most = self.space.rows_a_transaction
        batch, pictures = [], 0
        for read in reads:
            # The time to load packages, before the first file, must not count.
            self.first_read_at = self.first_read_at or time.monotonic()
            batch.append(read)
            pictures += read.picture is not None
            if pictures == self.choices.batch_size or len(batch) == most:
                yield batch
                batch, pictures = [], 0
        if batch:
            yield batch

    def _ahead(self) -> Iterator[Read]:
        """Decodes in threads, a bounded number of files ahead of the one that is given."""
        workers = self.choices.workers or os.cpu_count() or 1
        todo = (self.collection.loaded(self.conn, source) for source in self.plan.pending)
        ahead = BATCHES_AHEAD * self.choices.batch_size + workers
        pool = ThreadPoolExecutor(workers)
        try:
            futures = collections.deque(
                pool.submit(self._read, source) for source in itertools.islice(todo, ahead)
            )
            while futures:
                yield futures.popleft().result()
                for source in itertools.islice(todo, 1):
                    futures.append(pool.submit(self._read, source))
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, source: Source) -> Read:
        if source.error:
            return Read(source, error=source.error)
        sha256 = None
        try:
            with source.open() as file:
                sha256 = _digest(file)
                if sha256 in self.holders or self._only_touched(source, sha256):
                    return Read(source, sha256)
                file.seek(0)
                picture = decode.decode(
                    file,
                    self.space.preprocess["size"],
                    self.space.preprocess["resize"],
                    self.choices.thumbnail_size,
                    self.choices.max_pixels,
                )
                return Read(source, sha256, picture)
        except ImgsimError as ex:
            return Read(source, sha256, error=str(ex))
        except OSError as ex:
            return Read(source, sha256, error=sources.os_reason(ex))

    def _only_touched(self, source: Source, sha256: str) -> bool:
        row = self.plan.rows.get(source.name)
        return row is not None and row.embedded and row.sha256 == sha256

    def _is_replaced(self, failed: Read) -> bool:
        """Whether a row certainly holds another picture than the one that was embedded.

        Of a file one cannot say: it may be on its way, or come back.
        """
        row, source = self.plan.rows.get(failed.source.name), failed.source
        return row is not None and source.data is not None and row.sha256 != failed.sha256

    def _store(self, batch: list[Read]) -> None:
        """Embeds a batch, outside the transaction, and writes it in one."""
        fresh = {}
        for read in batch:
            if read.picture is not None and read.sha256 not in self.holders:
                fresh.setdefault(read.sha256, read)
        vectors = self._embed(fresh)
        lost = fresh.keys() - vectors
        batch = [_not_finite(read) if read.sha256 in lost else read for read in batch]
        failed = [read for read in batch if read.error]
        good = [read for read in batch if not read.error]
        table = self.collection.table
        changed = [read for read in good if not self._only_touched(read.source, read.sha256)]
        with self.conn.transaction():
            save_failures(
                self.conn,
                table,
                [(str(r.source.name), r.error, r.source.bytes, r.source.mtime_ns) for r in failed],
            )
            replaced = [read.source.name for read in failed if self._is_replaced(read)]
            forget_images(self.conn, table, replaced)
            clear_failures(self.conn, table, [str(read.source.name) for read in good])
            self._store_vectors([fresh[sha256] for sha256 in vectors], vectors)
            for read in good:
                if fresh.get(read.sha256) is not read:
                    self._link(read)
            if changed:
                raise_generation(self.conn, self.space)
        self.summary.failed += len(failed)

    def _embed(self, reads: dict[str, Read]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
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
        if self.foresee:
            embedding = time.monotonic() - read_at
            self.foresee(self.network(), pixels, read_at - self.first_read_at, embedding)
            self.foresee = None
        finite = np.isfinite(units).all(axis=1) & np.isfinite(norms).all(axis=1)
        return {sha256: (units[n], norms[n]) for n, sha256 in enumerate(reads) if finite[n]}

    def _store_vectors(self, reads: list[Read], vectors: dict) -> None:
        """Rows, vectors and thumbnails of pictures that no other image has."""
        ids = []
        for read in reads:
            self._rename(read)
            ids.append(self._save_row(read, self._told(vars(read.picture.facts))))
        save_vectors(
            self.conn, self.space, [(id, *vectors[read.sha256]) for id, read in zip(ids, reads)]
        )
        save_thumbnails(
            self.conn,
            self.collection.table,
            [(id, r.picture.thumbnail) for id, r in zip(ids, reads)],
        )
        for id, read in zip(ids, reads):
            self.holders[read.sha256] = id
        self.summary.embedded += len(reads)

    def _link(self, read: Read) -> None:
        """A file whose content has a vector already: touched, renamed or copied."""
        if self._only_touched(read.source, read.sha256):
            row = self.plan.rows[read.source.name]
            if (row.bytes, row.mtime_ns) != (read.source.bytes, read.source.mtime_ns):
                self._save_row(read, {})
            self.summary.unchanged += 1
            return
        holder, renamed = self.holders[read.sha256], self._rename(read)
        id = self._save_row(
            read, {} if renamed else self._told(self.collection.facts(self.conn, holder))
        )
        if id != holder:
            copy_vector(self.conn, self.space, holder, id)
        self.summary.renamed += renamed
        self.summary.copied += not renamed

    def _rename(self, read: Read) -> bool:
        """Gives a new file the row of one that is gone and had its content; whether it did."""
        gone = self.gone.get(read.sha256)
        if not gone or read.source.name in self.plan.rows:
            return False
        return rename_image(self.conn, gone.pop(), read.source.name)

    def _save_row(self, read: Read, facts: dict) -> int | str:
        return self.collection.save(self.conn, read.source, read.sha256, facts)

    def _told(self, facts: dict) -> dict:
        """What may be stored of a picture: where it was taken only if that was asked for."""
        if self.choices.gps:
            return facts
        return {name: value for name, value in facts.items() if name not in PLACE}


def _not_finite(read: Read) -> Read:
    # Without size and mtime the failure does not hold for the next run, or for another network.
    source = replace(read.source, bytes=None, mtime_ns=None)
    return Read(source, read.sha256, error="the network gives no finite numbers for it")


def _digest(file: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    while block := file.read(HASH_BLOCK):
        sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C sets `stop`; a second one ends the program as usual."""
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


def prune(
    conn: Writer, gone: Iterable[KnownImage], found: list[Source], folders: list[Path], base: Path
) -> int:
    """Removes images whose file is gone, where it was below one of `folders` that exist.

    `gone` are those that had no file when the run began; how many were removed.
    """
    names = {source.name for source in found}
    tops = [os.path.join(os.path.abspath(folder), "") for folder in folders if folder.is_dir()]

    def is_below(name: str) -> bool:
        return sources.path_of(name, base).startswith(tuple(tops))

    def is_still_gone(image: KnownImage) -> bool:
        return sources.is_gone(sources.path_of(image.path, base))

    below = [image for image in gone if is_below(image.path)]
    failed = [
        name
        for name in read_failures(conn, SOURCE_TABLE).keys() - names
        if is_below(name) and sources.is_gone(sources.path_of(name, base))
    ]
    count = remove_images(conn, below, is_still_gone)
    with conn.transaction():
        clear_failures(conn, SOURCE_TABLE, failed)
    return count


def embed_folder(
    database: Path,
    paths: list[Path],
    wanted: Settings | None,
    space_name: str | None,
    choices: Choices,
    interface: Interface,
    device: str = "auto",
    precision: str = "auto",
    retry_failed: bool = False,
    prune_gone: bool = False,
) -> Summary:
    """Embeds files and folders into `database`. Raises ImgsimError.

    Without `wanted` settings, goes on in the space `space_name`, else in the default one.
    """
    base = database.absolute().parent
    if not base.is_dir():
        raise ImgsimError(f"The folder {base} does not exist: make it first, or name another")
    files = Files(paths, base)
    found = files.find()
    if not os.path.exists(database):
        if not found:
            return Summary()
        wanted = wanted or settings.from_options()
    keep_memory()
    # Whatever is wrong with the model must show before anything is written.
    network = wanted.network(device, precision) if wanted else None
    with (
        closing(open_writer(database, interface.waiting, create=True)) as conn,
        errors_named(database),
    ):
        job = Job(conn, files, found, base, choices, interface, device, precision, retry_failed)
        summary, run = job.run(wanted, network, space_name)
        if prune_gone and not summary.interrupted:
            gone = itertools.chain(*run.gone.values())
            summary.pruned = prune(conn, gone, found, paths, base)
        _tidy(conn, run)
    return summary


def embed_table(
    database: Path,
    table: str,
    column: str,
    wanted: Settings | None,
    space_name: str | None,
    choices: Choices,
    interface: Interface,
    device: str = "auto",
    precision: str = "auto",
    retry_failed: bool = False,
) -> Summary:
    """Embeds the pictures that a column of a table of `database` holds. Raises ImgsimError.

    Without `wanted` settings, goes on in the space `space_name`, else in the table's default one.
    """
    base = database.absolute().parent
    keep_memory()
    network = wanted.network(device, precision) if wanted else None
    with closing(open_any(database)) as conn, errors_named(database):
        rows = Column(conn, table, column, base)  # raises before anything is written
    with (
        closing(open_writer(database, interface.waiting, create=True, images=False)) as conn,
        errors_named(database),
    ):
        job = Job(
            conn, rows, rows.find(conn), base, choices, interface, device, precision, retry_failed
        )
        summary, run = job.run(wanted, network, space_name)
        summary.without_key = rows.without_key(conn)
        forget_in_batches(conn, rows.table, rows.emptied(conn))
        _tidy(conn, run)
    return summary


@dataclass(frozen=True)
class Job:
    """A run and the space it works in."""

    conn: Writer
    collection: Collection
    found: list[Source]
    base: Path
    choices: Choices
    interface: Interface
    device: str
    precision: str
    retry_failed: bool

    def run(
        self, wanted: Settings | None, network: Network | None, space_name: str | None
    ) -> tuple[Summary, Run]:
        table = self.collection.table
        space = None if wanted else _present_space(self.conn, table, space_name)
        if space is None:
            wanted = wanted or settings.from_options()
            network = network or wanted.network(self.device, self.precision)
            space = settings.find_or_create(
                self.conn, wanted, network, table, self.base, space_name
            )

        def load() -> Network:
            return network or settings.network_of(space, self.base, self.device, self.precision)

        planned = plan(self.conn, self.collection, space, self.found, self.retry_failed)

        def foresee(network: Network, pixels: np.ndarray, *seconds: float) -> None:
            # A user who continues a space has already chosen the network.
            can_choose = space.model != registry.SMALL and not count_vectors(self.conn).get(
                space.id
            )
            faster = self._small if can_choose else None
            total = len(planned.pending)
            found = forecast(network, space.model, pixels, *seconds, total, faster)
            if found:
                self.interface.forecast(found)

        watched = foresee if self.interface.is_watched() else None
        run = Run(self.conn, self.collection, space, load, planned, self.choices, watched)
        with self.interface.progress(len(planned.pending)) as progress:
            summary = run.go(progress)
        summary.space = space.name
        return summary, run

    def _small(self) -> Network:
        """The small network on the same device. Raises ImgsimError."""
        chosen = settings.from_options(model=registry.SMALL)
        return chosen.network(self.device, self.precision)


def _tidy(conn: Writer, run: Run) -> None:
    forget_orphans(conn, run.collection.table)
    renew_centre(conn, choose_space(conn, run.space.name))


def _present_space(conn: sqlite3.Connection, table: str, name: str | None) -> Space | None:
    present = all_spaces(conn, table)
    if name is None:
        return present[0] if present else None
    return next((space for space in present if space.name == name), None)


# Queries


@dataclass(frozen=True)
class Query:
    """A picture that is not in the database: its vector (dimensions,) and a thumbnail."""

    vector: np.ndarray
    thumbnail: bytes
    facts: decode.Facts


_loaded: dict[tuple, Network] = {}
_loading = threading.Lock()


def embed_picture(space: Space, base: Path, data: bytes, max_pixels: int) -> Query:
    """Embeds a picture as the images of a space were. `base` is the folder of the database file.

    One network stays loaded in the process. Raises ImgsimError.
    """
    picture = decode.decode(
        io.BytesIO(data),
        space.preprocess["size"],
        space.preprocess["resize"],
        max_pixels=max_pixels,
    )
    key = (space.weights_sha256, space.model, *space.levels, space.pooling, str(space.preprocess))
    with _loading:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = settings.network_of(space, base)
        units, _ = _loaded[key].vectors(picture.pixels[None])
    # Stored vectors were rounded to the space's dtype: so is this one, or twins would differ.
    return Query(space.decode(space.encode(units[0])), picture.thumbnail, picture.facts)
