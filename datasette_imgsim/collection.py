"""The Python API: the pictures of one database, for notebooks and scripts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .atlas import layout, poster
from .db import groups as stored_groups
from .db import versions
from .db.connect import Writer, errors_named, folder_of, open_reader, open_writer
from .db.duplicates import KINDS, VERDICTS, count_groups, read_groups, save_verdicts
from .db.named import find, known
from .db.spaces import (
    Space,
    all_spaces,
    choose_space,
    count_vectors,
    drop_space,
    reread,
    set_default_space,
)
from .db.tables import SourceTable
from .errors import ImgsimError, check_choice, check_number
from .evaluate import Evaluation, read_labels
from .explore import duplicates, groups, neighbours
from .explore.answers import Duplicates, Groups, Match, Step
from .explore.asked import picture_of, query_of
from .explore.why import Asked, Why, explain
from .ingest import decode, exporting, importing, settings
from .ingest.exporting import Exported
from .ingest.importing import Imported
from .ingest.job import Interface, Job, Silent
from .ingest.outcomes import Summary
from .ingest.part import checked_box
from .limits import LIMITS
from .search import calibration, graph, indexes, paths, pushing, ranking, reranking, results
from .search.engine import DEFAULT, open_engine
from .search.pushing import Pushed
from .search.vectors import sound_centre
from .verify import Report, verify

SECONDS_OF_PUSH = 60
"""For each question that a push asks an engine."""


class Collection:
    """The pictures of one database. Methods raise ImgsimError, whose text is one sentence.

    collection = Collection("photos.db")
    collection.embed("images")
    for match in collection.similar("burger.jpg", k=5):
        print(match.path, match.score)
    """

    def __init__(
        self,
        database: str | Path,
        space: str | None = None,
        table: str | None = None,
        interface: Interface = Silent(),  # noqa: B008  (it has no state)
    ):
        """`database` is a SQLite file, which the first `embed` makes.

        `space` is the name of a space; None stands for the default one of `table`, else of
        `images`, else of the only table that has one. `interface` reports progress; by default,
        nothing is reported.
        """
        self.database, self.space, self.table = Path(database), space, table
        self.interface = interface

    def embed(self, *paths: str | Path, **options: Any) -> Summary:
        """Embeds picture files and folders (recursively); files that have not changed are skipped.

        `options` are those of `datasette imgsim embed`, with _ for -. With model, levels, pooling,
        weights, preprocess, resize, size or dtype it uses the space made with these options, or
        makes a new one; without any of them it continues the existing space. The others are
        device, precision, batch_size, workers, thumbnail_size, max_pixels, gps, exclude,
        no_follow, rehash, retry_failed, prune and prune_missing_folders.
        """
        return self._finish(self._job(options).embed_files([Path(path) for path in paths]))

    def embed_table(self, table: str, column: str, **options: Any) -> Summary:
        """Embeds the pictures of a table: a column of BLOBs, or of paths relative to the database.

        `options` as in `embed`, without those that are about files.
        """
        return self._finish(self._job(options).embed_table(table, column))

    def similar(
        self,
        query: str | Path | int,
        k: int = 10,
        level_weights: dict[str, float] | None = None,
        rerank: bool = False,
        crop: Sequence[float] | None = None,
    ) -> list[Match]:
        """The k images most like `query`, best first: a picture file, or the id of an image.

        If a file with this name exists, it is the query. `level_weights` are numbers from 0 up,
        such as {"pool5": 1}; a level that is not named weighs 0. With `rerank`, those that have
        the same neighbours as the query come first, for which `neighbours` must have stored them.
        With `crop`, only that part of the picture is the query: its left, top, right and bottom
        edge as shares, 0 to 1, of the width and height of the upright picture.
        """
        part = None if crop is None else checked_box(crop)
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            weights = ranking.weights(space, level_weights)
            if rerank:
                reranking.check(conn, space, weights)  # before anything is loaded
            index = indexes.load(conn, space, self.interface.progress)
            asked = query_of(conn, self.database, index, query, weights, part)
            hits = results.best(conn, index, asked, k, rerank)
            described = known(conn, index.table, [hit.id for hit in hits])
        return [Match(**vars(hit), **described[hit.id]._asdict()) for hit in hits]

    def path(self, a: int | str, b: int | str) -> list[Step]:
        """The images on the shortest way from one to another, by their ids, with both of them.

        Each is among the neighbours of the next one, or that among its own, which `neighbours`
        must have stored; two images are as far apart as 1 - their score. The list is empty if
        there is no way.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            table = SourceTable.read(conn, space.source_table)
            keys = [find(conn, table, id) for id in (a, b)]
            loaded = graph.load(conn, space, self.interface.progress)
            steps = paths.path(conn, loaded, table, *keys)
            described = known(conn, table, [step.id for step in steps])
        return [Step(**vars(step), **described[step.id]._asdict()) for step in steps]

    def why(
        self, one: str | Path | int, other: str | Path | int, level_weights: dict | None = None
    ) -> Why:
        """Why two pictures are alike: how much of their score each cell of a level carries.

        Each is a picture file or the id of an image, as in `similar`, and so are `level_weights`.
        The picture of an image is its file or BLOB, else its thumbnail.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            weights = ranking.weights(space, level_weights)
            table = SourceTable.read(conn, space.source_table)
            centre = sound_centre(conn, space)
            first, second = (
                Asked(str(each), picture_of(conn, self.database, table, each)[1])
                for each in (one, other)
            )
        return explain(
            space, folder_of(self.database), centre, weights, (first, second), decode.MAX_PIXELS
        )

    def map(self, refit: bool = False) -> layout.Summary:
        """Lays the images out by likeness (t-SNE); if there is a map, only places new images.

        With `refit`, all images are laid out again, starting from their positions.
        """
        with self._writer() as conn:
            space = choose_space(conn, self.space, self.table)
            summary = layout.update(conn, space, refit, self.interface.progress)
            calibration.renew(conn, reread(conn, space.name))
        return summary

    def draw_map(self, path: str | Path, size: int = 4000, wall: bool = False) -> int:
        """Writes the map as a PNG file of size x size pixels; returns how many images it shows.

        With `wall` it is the wall, `size` pixels wide, on which every cell of a grid has an image.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            return poster.save(conn, space, Path(path), size, wall)

    def duplicates(self, kinds: Iterable[str] = KINDS) -> Duplicates:
        """The groups of images that show one picture, or one moment, with one of each to keep.

        `kinds` are exact, near and burst. The groups are stored: a later call only reads them
        where no image and no verdict has changed.
        """
        kinds = list(kinds)
        for kind in kinds:
            check_choice("A kind of duplicates", kind, KINDS)
        with self._writer() as conn:
            space = choose_space(conn, self.space, self.table)
            space = duplicates.update(conn, space, self.interface.progress)
            found = read_groups(conn, space, kinds)
            return Duplicates(space.name, found, count_groups(conn, space))

    def decide(self, ids: Iterable[int | str], verdict: str) -> int:
        """Remembers that images are "different", or that duplicates are "settled": all stay.

        Either way, `duplicates` puts no two of them into one group again. Returns how many images
        they are. Raises ImgsimError if there are fewer than two, or an id is unknown.
        """
        check_choice("A verdict", verdict, VERDICTS)
        with self._writer() as conn:
            space = choose_space(conn, self.space, self.table)
            table = SourceTable.read(conn, space.source_table)
            keys = list(dict.fromkeys(find(conn, table, id) for id in ids))
            if len(keys) < 2:
                raise ImgsimError("Name two images or more, by their ids")
            save_verdicts(conn, space.source_table, keys, verdict)
        return len(keys)

    def groups(self) -> Groups:
        """The groups of images that belong together, each with a cover and a name.

        They are stored: a later call only reads them where no image has changed. Otherwise new
        images join them, or form new ones; groups that are still there keep their ids and names.
        """
        with self._writer() as conn:
            space = choose_space(conn, self.space, self.table)
            space = groups.update(conn, space, self.interface.progress)
            found = stored_groups.read_groups(conn, space)
            images = count_vectors(conn).get(space.id, 0)
            table = SourceTable.read(conn, space.source_table)
            described = known(conn, table, [group.cover for group in found])
        covers = {key: cover.path or cover.name for key, cover in described.items()}
        ungrouped = max(0, images - sum(group.images for group in found))
        return Groups(space.name, found, ungrouped, covers)

    def neighbours(self, k: int | None = None) -> neighbours.Summary:
        """Stores the k images most like each image in `imgsim_neighbours`.

        k is at most 1,000; None stands for as many as are stored, else 20. Where few images are
        new, have changed or are gone, only what this changes is computed.
        """
        if k is not None:
            check_number("k", k, 1, LIMITS.most_neighbours)
        with self._writer() as conn:
            space = choose_space(conn, self.space, self.table)
            return neighbours.update(conn, space, k, self.interface.progress)

    def export(self, uri: str | Path) -> Exported:
        """Writes the images of a space into shards: Parquet files with vectors and thumbnails.

        `uri` is a folder without shards, or a file NAME.parquet; or NAME.npy, for the vectors alone
        as an array (n, dimensions), with the paths of their images in NAME.txt. It may lie wherever
        fsspec can write, such as s3://bucket/folder.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            return exporting.export(conn, space, str(uri), self.interface.progress)

    def import_shards(self, uri: str | Path, vectors: bool = True) -> Imported:
        """Takes the images of a shard, or of a folder of shards, into the table `images`.

        Their space is that of the way in which they were made. Shards of other programs do not say
        that: their vectors go into the space of this collection, which is made if it is not there.
        With `vectors` False, everything else is taken.
        """
        return self._import(importing.import_shards, str(uri), self.space, vectors)

    def import_array(self, uri: str | Path, paths: str | Path) -> Imported:
        """Takes vectors (n, dimensions) of a .npy file into the space of this collection.

        `paths` is a text file with the path of an image of `images` in each of n lines. The space
        is made if it is not there, and needs a name.
        """
        if self.space is None:
            raise ImgsimError("Name a space for these vectors")
        return self._import(importing.import_array, str(uri), str(paths), self.space)

    def _import(self, take: Callable[..., Imported], *arguments) -> Imported:
        """Calls `take` with a connection and these arguments; renews the calibration."""
        is_new, base = not self.database.exists(), folder_of(self.database)
        conn = open_writer(self.database, self.interface.waiting, create=True)
        try:
            with closing(conn), errors_named(self.database):
                taken = take(conn, base, *arguments, progress=self.interface.progress)
                calibration.renew(conn, reread(conn, taken.space))
        except ImgsimError:
            if is_new and not self.spaces():  # nothing was taken
                self.database.unlink()
            raise
        return taken

    def push(
        self, uri: str, index: str | None = None, token: str | None = None, engine: str = DEFAULT
    ) -> Pushed:
        """Brings the vectors of a space into an engine for many vectors, for servers to search in.

        `uri` is the address of a Milvus server, such as http://localhost:19530, or a path
        NAME.milvus.db for Milvus Lite. Called again, it brings what is new and removes what is
        gone. `index` is ivf_sq8, hnsw or diskann; None stands for what is there, else ivf_sq8.
        `engine` is the name of another engine, from another package.
        """
        opened = open_engine(engine, str(uri), token, SECONDS_OF_PUSH)
        try:
            with self._reader() as conn:
                space = choose_space(conn, self.space, self.table)
                return pushing.push(conn, space, opened, index, self.interface.progress)
        finally:
            opened.close()

    @contextmanager
    def evaluation(self, label: str | None = None) -> Iterator[Evaluation]:
        """An Evaluation, which measures how well images with the same label find each other.

        `label` is a column of the source table; None stands for the folder in the path.
        """
        with self._reader() as conn:
            space = choose_space(conn, self.space, self.table)
            yield Evaluation(conn, space, read_labels(conn, space, label))

    def verify(self, sample: int = 100) -> Report:
        """Checks the database; decodes and embeds again `sample` images of each space."""
        with self._reader() as conn:
            return verify(conn, folder_of(self.database), sample, self.interface.progress)

    def spaces(self) -> dict[str, Space]:
        """The spaces of the database by name; defaults first, then in order of creation."""
        with self._upgraded() as conn:
            return {space.name: space for space in all_spaces(conn)}

    def counts(self) -> dict[str, int]:
        """The number of images in each space, by the space's name."""
        with self._upgraded() as conn:
            counts = count_vectors(conn)
            return {space.name: counts.get(space.id, 0) for space in all_spaces(conn)}

    def set_default(self, space: str) -> None:
        """Makes a space the default one of its table."""
        with self._writer() as conn:
            set_default_space(conn, choose_space(conn, space))

    def drop(self, space: str) -> int:
        """Removes a space; returns how many vectors it had. Images and other spaces stay."""
        with self._writer() as conn:
            chosen = choose_space(conn, space)
            count = count_vectors(conn).get(chosen.id, 0)
            drop_space(conn, chosen)
        return count

    def check_options(self, **options: Any) -> None:
        """Raises ImgsimError if these are no valid options of `embed`; does nothing else."""
        self._job(options)

    def _job(self, options: dict[str, Any]) -> Job:
        chosen, run_options = settings.parsed(options)
        return Job(
            self.database,
            chosen,
            self.space,
            run_options,
            self.interface,
        )

    def _finish(self, summary: Summary) -> Summary:
        """Renews the calibration of the space and completes the summary."""
        if summary.space:
            with self._writer() as conn:
                space = reread(conn, summary.space)
                calibration.renew(conn, space)
                summary.default_space = choose_space(conn, table=space.source_table).name
        return summary

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
        """A connection for reading; an older database is upgraded first."""
        try:
            conn = open_reader(self.database)
        except versions.OlderDatabase:
            conn = open_writer(self.database, self.interface.waiting)
        with closing(conn), errors_named(self.database):
            yield conn
