"""The Python API: the pictures of one database, for notebooks and scripts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .atlas import layout, poster
from .db import schema
from .db.connect import Writer, errors_named, open_reader, open_writer
from .db.spaces import (
    Space,
    all_spaces,
    choose_space,
    count_vectors,
    drop_space,
    set_default_space,
)
from .db.tables import column_names
from .errors import ImgsimError, listed
from .evaluate import Evaluation, read_labels
from .ingest import decode, settings
from .ingest.job import Interface, Job, Silent
from .ingest.query import embed_picture
from .ingest.run import RunOptions, Summary
from .search import calibration, indexes, ranking, results
from .search.index import Index
from .search.ranking import Query
from .search.results import Hit

MODEL_OPTIONS = (
    "model", "levels", "pooling", "weights", "preprocess", "resize", "size", "dtype",
)  # fmt: skip
RUN_OPTIONS = tuple(field.name for field in fields(RunOptions))


@dataclass(frozen=True)
class Match(Hit):
    """An image like the one that was asked for."""

    path: str | None
    """Of its file, relative to the folder of the database; None where the table has no paths."""


class Collection:
    """The pictures of one database. Every method raises ImgsimError, one sentence, when it cannot.

    collection = Collection("photos.db")
    collection.embed("images")
    for match in collection.similar("burger.jpg", k=5):
        print(match.path, match.score)
    """

    def __init__(
        self,
        database: str | Path,
        space: str | None = None,
        interface: Interface = Silent(),  # noqa: B008  (it has no state)
    ):
        """`database` is a SQLite file, which the first `embed` makes.

        `space` is the name of a space; None stands for the default one of `images`, else of the
        only table that has one. `interface` is told of progress.
        """
        self.database, self.space, self.interface = Path(database), space, interface

    def embed(self, *paths: str | Path, **options: Any) -> Summary:
        """Embeds picture files and folders (recursive); of those embedded before only what changed.

        `options` are those of `datasette imgsim embed`, with _ for -: model, levels, pooling,
        weights, preprocess, resize, size and dtype choose or make a space, without any of these it
        goes on in the space that is there; device, precision, batch_size, workers,
        thumbnail_size, max_pixels, gps, retry_failed and prune say how.
        """
        return self._finish(self._job(options).embed_files([Path(path) for path in paths]))

    def embed_table(self, table: str, column: str, **options: Any) -> Summary:
        """Embeds the pictures of a table: a column of BLOBs, or of paths relative to the database.

        `options` as in `embed`, without gps and prune.
        """
        return self._finish(self._job(options).embed_table(table, column))

    def similar(
        self, query: str | Path | int, k: int = 10, level_weights: dict[str, float] | None = None
    ) -> list[Match]:
        """The k images most like a picture file or the image with an id, best first.

        A file that exists is taken as a file. `level_weights` are 0 or more for each level, such
        as {"pool5": 1}; levels that are not named count 0.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space)
            weights = ranking.weights(space, level_weights)
            index = indexes.load(conn, space, self.interface.progress)
            hits = results.best(conn, index, self._query(conn, index, query, weights), k)
            paths = _paths(conn, index, hits)
        return [Match(**vars(hit), path=paths.get(hit.id)) for hit in hits]

    def map(self, refit: bool = False) -> layout.Summary:
        """Lays the images out by likeness (t-SNE); where there is a map, only places new ones.

        `refit` lays all of them out anew, beginning with the places they have.
        """
        with self._writer() as conn:
            space = choose_space(conn, self.space)
            summary = layout.update(conn, space, refit, self.interface.progress)
            calibration.renew(conn, choose_space(conn, space.name))
        return summary

    def draw_map(self, path: str | Path, size: int = 4000) -> int:
        """Draws the map into a PNG file, `size` pixels wide; gives how many images it shows."""
        with self._reader() as conn:
            return poster.save(conn, choose_space(conn, self.space), Path(path), size)

    @contextmanager
    def evaluation(self, label: str | None = None) -> Iterator[Evaluation]:
        """What measures how well images of one label find each other.

        `label` is a column of the source table; None stands for the folder of the path.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space)
            yield Evaluation(conn, space, read_labels(conn, space, label))

    def spaces(self) -> dict[str, Space]:
        """The spaces of the database by name; defaults first, then in order of creation."""
        with self._upgraded() as conn:
            return {space.name: space for space in all_spaces(conn)}

    def counts(self) -> dict[str, int]:
        """How many images each space holds, by its name."""
        with self._upgraded() as conn:
            counts = count_vectors(conn)
            return {space.name: counts.get(space.id, 0) for space in all_spaces(conn)}

    def set_default(self, space: str) -> None:
        """Makes a space the default one of its table."""
        with self._writer() as conn:
            set_default_space(conn, choose_space(conn, space))

    def drop(self, space: str) -> int:
        """Removes a space and its vectors; gives how many. Images and other spaces stay."""
        with self._writer() as conn:
            chosen = choose_space(conn, space)
            count = count_vectors(conn).get(chosen.id, 0)
            drop_space(conn, chosen)
        return count

    def check_options(self, **options: Any) -> None:
        """Raises ImgsimError for options of `embed` that make no sense, before anything is done."""
        self._job(options)

    def _job(self, options: dict[str, Any]) -> Job:
        unknown = options.keys() - set(MODEL_OPTIONS) - set(RUN_OPTIONS)
        if unknown:
            raise ImgsimError(
                f"embed has no option {sorted(unknown)[0]!r}: there is "
                f"{listed([*MODEL_OPTIONS, *RUN_OPTIONS])}"
            )
        model = {name: options[name] for name in MODEL_OPTIONS if options.get(name) is not None}
        run = {name: options[name] for name in RUN_OPTIONS if name in options}
        return Job(
            self.database,
            settings.from_options(**model) if model else None,
            self.space,
            RunOptions(**run),
            self.interface,
        )

    def _finish(self, summary: Summary) -> Summary:
        """Renews what belongs to the space as a whole."""
        if summary.space:
            with self._writer() as conn:
                space = choose_space(conn, summary.space)
                calibration.renew(conn, space)
                summary.default_space = choose_space(conn, table=space.source_table).name
        return summary

    def _query(
        self, conn: sqlite3.Connection, index: Index, query: str | Path | int, weights
    ) -> Query:
        if not isinstance(query, int) and os.path.isfile(query):
            return ranking.query_of_vector(index, self._vector(index.space, query), weights)
        id = index.table.find(conn, str(query) if isinstance(query, Path) else query)
        row = None if id is None else index.row(id)
        if row is None:
            raise ImgsimError(
                f"{query} is neither a file nor the id of an image in {self.database}"
            )
        return ranking.query_of_image(conn, index, row, weights)

    def _vector(self, space: Space, path: str | Path):
        try:
            data = Path(path).read_bytes()
            base = self.database.absolute().parent
            return embed_picture(space, base, data, decode.MAX_PIXELS).vector
        except (OSError, decode.NotAPicture, decode.TooLarge) as ex:
            raise ImgsimError(f"{path}: {ex}") from ex

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with closing(open_reader(self.database)) as conn, errors_named(self.database):
            yield conn

    @contextmanager
    def _writer(self) -> Iterator[Writer]:
        conn = open_writer(self.database, self.interface.waiting)
        with closing(conn), errors_named(self.database):
            yield conn

    @contextmanager
    def _upgraded(self) -> Iterator[sqlite3.Connection]:
        """A connection to read; an older database is brought up to date first."""
        try:
            conn = open_reader(self.database)
        except schema.OlderDatabase:
            conn = open_writer(self.database, self.interface.waiting)
        with closing(conn), errors_named(self.database):
            yield conn


def _paths(conn: sqlite3.Connection, index: Index, hits: list[Hit]) -> dict:
    """The paths of images by id, where their table has them."""
    if "path" not in column_names(conn, index.table.name):
        return {}
    paths = index.table.values(conn, "path", [hit.id for hit in hits])
    return {id: path for id, path in paths if isinstance(path, str)}
