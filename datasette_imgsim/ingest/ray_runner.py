"""Embeds pictures on a Ray cluster, into shards."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import pickle
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ImgsimError
from ..progress import Progress, silent
from . import decode, remote, shards
from .folders import Search
from .options import RunOptions
from .outcomes import Summary
from .settings import Settings, from_options
from .units import Embedder, Order, Unit, units

THREADS = 4
"""How many processors a worker has unless it is said, or there are fewer."""
SECONDS_TO_REACH = 5
NAME = re.compile(r"[0-9a-f]{8}-([0-9a-f]{8})-[0-9a-f]{24}(?:\.again)?\.parquet")
"""Of a shard; the group is the digest of its order."""


def embed(
    sources: Iterable[str],
    out: str,
    settings: Settings | None = None,
    options: RunOptions = RunOptions(),  # noqa: B008  (it cannot be changed)
    address: str = "local",
    progress: Progress = silent,
) -> Summary:
    """Embeds pictures on the workers of a Ray cluster into shards below `out`, a folder or URI.

    `sources` are files, folders and URIs, as `remote.find` takes them. `address` is that of a
    cluster as Ray knows it; "local" starts one on this machine. Shards that are there already are
    skipped; in the end each picture is in one of them. Raises ImgsimError.
    """
    ray = _ray()
    sources, out = [remote.absolute(source) for source in sources], remote.absolute(out)
    started = time.monotonic()
    search = Search(options.exclude, not options.no_follow, remote.SUFFIXES)
    places = list(remote.find(sources, search))
    summary = Summary(left_out=search.left_out)
    if not places:
        return summary
    chosen = settings or from_options()
    network = chosen.network(options.device, options.precision)
    with _cluster(ray, address):
        threads = options.workers or min(THREADS, _resource(ray, "CPU"))
        order = Order(
            settings=chosen,
            recipe=chosen.recipe(network, None),
            out=out,
            device=options.device,
            batch_size=options.batch_size,
            thumbnail_size=options.thumbnail_size or decode.THUMBNAIL_SIZE,
            max_pixels=options.max_pixels,
            gps=options.gps,
            threads=threads,
        )
        prefix = hashlib.sha256(json.dumps(sorted(sources)).encode()).hexdigest()[:8]
        wanted = list(units(places, order, prefix))
        with shards.located(out) as (fs, path):
            fs.makedirs(path, exist_ok=True)
            there = {os.path.basename(file) for file in shards.below(fs, path)}
        _check_order(order, there)
        pending = [unit for unit in wanted if unit.name not in there]
        summary.unchanged = sum(len(unit.places) for unit in wanted if unit.name in there)
        with progress(sum(len(unit.places) for unit in pending)) as advance:
            for done in _run(ray, order, pending):
                summary.embedded += done["embedded"]
                summary.failed += done["failed"]
                advance(done["embedded"] + done["failed"])
    _remove_others(out, prefix, wanted)
    summary.seconds = time.monotonic() - started
    return summary


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray
        import ray.data
    except ImportError as ex:
        raise ImgsimError(
            f"This needs a package ({ex.name}): pip install 'datasette-imgsim[embed,ray]'"
        ) from ex
    return ray


@contextmanager
def _cluster(ray, address: str) -> Iterator[None]:
    """A connection to a cluster, or one on this machine for as long as it is needed."""
    is_own = not ray.is_initialized()
    if is_own:
        try:
            _reach(address)
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, ValueError, RuntimeError) as ex:
            raise ImgsimError(f"No Ray cluster can be reached at {address}: {ex}") from ex
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        if is_own:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT: Ray itself would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), SECONDS_TO_REACH).close()


def _resource(ray, name: str) -> int:
    return int(ray.cluster_resources().get(name, 0))


class _Actor:
    """A worker: it loads the network once, and embeds a unit at a time."""

    def __init__(self, order: Order):
        self.order = order
        self.embedder = functools.cache(self._start)

    def __call__(self, batch: dict) -> dict:
        (unit,) = (pickle.loads(data) for data in batch["unit"])
        embedded, failed, error = 0, 0, ""
        try:
            embedded, failed = self.embedder().embed(unit)
        except ImgsimError as ex:  # Ray would wrap it in a traceback
            error = str(ex)
        return {"embedded": [embedded], "failed": [failed], "error": [error]}

    def _start(self) -> Embedder:
        import torch

        torch.set_num_threads(self.order.threads)
        return Embedder(self.order)


def _run(ray, order: Order, pending: list[Unit]) -> Iterator[dict]:
    """Has units embedded, as many at a time as there are workers; gives what became of each."""
    if not pending:
        return
    gpus = _resource(ray, "GPU") if order.device in ("auto", "cuda") else 0
    count = gpus or max(1, _resource(ray, "CPU") // order.threads)
    rows = [{"unit": pickle.dumps(unit)} for unit in pending]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_args=(order,),
        batch_size=1,
        batch_format="numpy",
        num_cpus=order.threads,
        num_gpus=1 if gpus else None,
        concurrency=min(count, len(rows)),
    )
    for row in data.iter_rows():
        if row["error"]:
            raise ImgsimError(row["error"])
        yield row


def _check_order(order: Order, there: set[str]) -> None:
    """Raises ImgsimError if a folder has shards that were made in another way."""
    for name in there:
        found = NAME.fullmatch(name)
        if found and found[1] != order.digest[:8]:
            raise ImgsimError(
                f"{order.out} has shards that were made with other options, such as {name}: name "
                "another folder, or remove them"
            )


def _remove_others(out: str, prefix: str, wanted: list[Unit]) -> None:
    """Removes shards of earlier runs over the same sources, whose pictures are in others now."""
    with shards.located(out) as (fs, path):
        files = {os.path.basename(file): file for file in fs.find(path)}
        kept = {unit.name if unit.name in files else unit.again for unit in wanted}
        for name, file in files.items():
            is_left = name.endswith(shards.PART) or name.endswith(shards.SUFFIX)
            if name.startswith(f"{prefix}-") and is_left and name not in kept:
                fs.rm_file(file)
