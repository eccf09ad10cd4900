"""A job: embeds files, or the pictures of a table, into a space."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..db.connect import Writer, errors_named, folder_of, open_any, open_writer
from ..db.images import KnownImage, forget_in_batches, forget_orphans, save_failures
from ..db.spaces import Space, all_spaces, count_vectors, renew_centre, reread
from ..errors import ImgsimError
from ..models import registry
from ..models.network import Network, keep_memory
from ..progress import Progress, silent
from . import renames, settings
from .folders import Search
from .forecast import Forecast, forecast
from .mark import REASON, Mark, Marked
from .options import RunOptions
from .outcomes import Summary
from .pictures import Column, Files, Pictures
from .plan import Plan, plan
from .prune import prune
from .recipe import find_or_create
from .run import Run
from .settings import Settings
from .sources import Item


class Interface(Protocol):
    """How a job reports to its user."""

    @property
    def progress(self) -> Progress:
        """Shows the progress of the work."""

    def waiting(self) -> None:
        """Reports that another program has the database locked; called at most once."""

    def is_watched(self) -> bool:
        """Whether a person reads the reports; else no forecast is made, which takes a second."""

    def forecast(self, forecast: Forecast) -> None:
        """Reports how long a long run will take; called at most once."""


class Silent:
    """An Interface that reports nothing."""

    @property
    def progress(self) -> Progress:
        return silent

    def waiting(self) -> None:
        pass

    def is_watched(self) -> bool:
        return False

    def forecast(self, forecast: Forecast) -> None:
        pass


@dataclass(frozen=True)
class Job:
    """A database to embed into, a space, and how to compute."""

    database: Path
    settings: Settings | None = None
    """The settings of the space; None continues an existing space."""
    space_name: str | None = None
    """None stands for the table's default space, or for the one with these settings."""
    options: RunOptions = RunOptions()
    interface: Interface = Silent()

    @property
    def base(self) -> Path:
        """The folder of the database file: stored paths are relative to it."""
        return folder_of(self.database)

    def embed_files(self, paths: list[Path]) -> Summary:
        """Embeds files and folders into the table `images`. Raises ImgsimError."""
        if not self.base.is_dir():
            raise ImgsimError(
                f"The folder {self.base} does not exist: make it first, or name another"
            )
        files = Files(paths, self.base, Search(self.options.exclude, not self.options.no_follow))
        items = files.find()
        is_new = not os.path.exists(self.database)
        if is_new and not items:
            return Summary(left_out=files.search.left_out)
        network = self._network(needed=is_new)
        with self._writer(expected=len(items)) as conn:
            run = self._run(conn, files, items, network)
            run.summary.left_out = files.search.left_out
            self._prune(conn, run, items, files.paths)
            _tidy(conn, run)
        return run.summary

    def embed_table(self, table: str, column: str) -> Summary:
        """Embeds the pictures that a column of a table holds. Raises ImgsimError."""
        network = self._network(needed=False)
        with closing(open_any(self.database)) as conn, errors_named(self.database):
            rows = Column(conn, table, column, self.base)  # raises before anything is written
        with self._writer(images=False) as conn:
            run = self._run(conn, rows, rows.find(conn), network)
            run.summary.without_key = rows.without_key(conn)
            forget_in_batches(conn, rows.table, rows.emptied(conn))
            _tidy(conn, run)
        return run.summary

    def _prune(self, conn: Writer, run: Run, items: list[Item], paths: list[Path]) -> None:
        """Removes images whose file was deleted, if the options ask for it."""
        missing_folders = self.options.prune_missing_folders
        if run.summary.interrupted or not (self.options.prune or missing_folders):
            return
        pruned = prune(conn, run.plan, items, paths, self.base, missing_folders)
        run.summary.pruned, run.summary.kept = pruned.removed, pruned.kept
        run.summary.missing_folder = pruned.missing_folder

    def _network(self, needed: bool) -> Network | None:
        """The network of `settings`; else of the default model if it is needed, else None.

        It is loaded first, so that its errors come before anything is written.
        """
        keep_memory()
        if not (self.settings or needed):
            return None
        chosen = self.settings or settings.from_options()
        return chosen.network(self.options.device, self.options.precision)

    @contextmanager
    def _writer(self, images: bool = True, expected: int = 0) -> Iterator[Writer]:
        """`expected` is the number of pictures, for a database that is new."""
        conn = open_writer(
            self.database, self.interface.waiting, create=True, images=images, expected=expected
        )
        with closing(conn), errors_named(self.database):
            yield conn

    def _run(
        self, conn: Writer, pictures: Pictures, items: list[Item], network: Network | None
    ) -> Run:
        """Embeds the items: with `network`, in a space that matches it; else in an existing one."""
        options, table = self.options, pictures.table
        space = None if network else _present_space(conn, table, self.space_name)
        if space is None:
            chosen = self.settings or settings.from_options()
            network = network or chosen.network(options.device, options.precision)
            recipe = chosen.recipe(network, self.base)
            space = find_or_create(conn, recipe, table, self.space_name)

        def load() -> Network:
            if network is not None:
                return network
            return settings.load_network(space, self.base, options.device, options.precision)

        mark = Mark(self.database)
        marked = mark.take()
        ended_before = None
        if marked and not options.retry_failed:
            ended_before = _save_marked(conn, marked)
        planned, moved = self._plan(conn, pictures, space, items)
        report = self._forecast(conn, space, len(planned.pending))
        run = Run(conn, pictures, space, load, planned, options, mark, report)
        with self.interface.progress(len(planned.pending)) as advance:
            run.go(advance)
        run.summary.ended_before = ended_before
        run.summary.renamed += len(moved)
        run.summary.unchanged -= sum(image.embedded for image in moved)
        run.summary.space = space.name
        return run

    def _plan(
        self, conn: Writer, pictures: Pictures, space: Space, items: list[Item]
    ) -> tuple[Plan, list[KnownImage]]:
        """What is to be done, and the images whose names went round: these have new paths now."""

        def planned() -> Plan:
            return plan(conn, pictures, space, items, self.options)

        first = planned()
        moved = renames.follow(conn, first) if isinstance(pictures, Files) else []
        return (planned() if moved else first), moved

    def _forecast(self, conn: Writer, space: Space, total: int) -> Callable | None:
        """The function that reports a forecast after the first batch; None if nobody watches."""
        if not self.interface.is_watched():
            return None

        def report(network: Network, pixels: np.ndarray, reading: float, embedding: float) -> None:
            # A user who continues a space has already chosen the network.
            can_choose = space.model != registry.SMALL and not count_vectors(conn).get(space.id)
            faster = self._small_network if can_choose else None
            estimate = forecast(network, space.model, pixels, reading, embedding, total, faster)
            if estimate:
                self.interface.forecast(estimate)

        return report

    def _small_network(self) -> Network:
        """The small model's network on the same device. Raises ImgsimError."""
        chosen = settings.from_options(model=registry.SMALL)
        return chosen.network(self.options.device, self.options.precision)


def _save_marked(conn: Writer, marked: Marked) -> str:
    """Makes a failure of the picture that ended an earlier run; returns its name."""
    with conn.transaction():
        save_failures(conn, marked.table, [(marked.name, REASON, *marked.stamp)])
    return marked.name


def _tidy(conn: Writer, run: Run) -> None:
    """Removes what belongs to deleted rows, and renews the centre of the space."""
    forget_orphans(conn, run.pictures.table)
    renew_centre(conn, reread(conn, run.space.name))


def _present_space(conn: sqlite3.Connection, table: str, name: str | None) -> Space | None:
    """The table's space with this name, or its default space; None if there is none."""
    spaces = all_spaces(conn, table)
    if name is None:
        return spaces[0] if spaces else None
    return next((space for space in spaces if space.name == name), None)
