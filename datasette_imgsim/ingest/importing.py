"""Takes images from shards, or vectors from an array of numpy, into a space of `images`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..db.connect import Writer, batches
from ..db.exchange import Record, Stored, stored_image
from ..db.images import clear_failures, save_failures, save_image, save_thumbnails, save_vectors
from ..db.replacing import one_of_many
from ..db.rules import RuleBroken, own_rules
from ..db.schema import SOURCE_TABLE
from ..db.spaces import Space, all_spaces, raise_generation, renew_centre, reread
from ..errors import ImgsimError
from ..models.registry import ELSEWHERE
from ..progress import Progress, silent
from . import shards
from .recipe import Recipe, find_or_create
from .sources import stored_name

START_OF_JPEG = b"\xff\xd8\xff"

Numbers: TypeAlias = tuple[np.ndarray, np.ndarray]
"""(unit vector (dimensions,), norms (levels,)) of an image."""


@dataclass
class Imported:
    """What was taken, in numbers of images."""

    space: str
    added: int = 0
    changed: int = 0
    """Those that were there, and have another vector or picture now."""
    unchanged: int = 0
    newer: int = 0
    """Those that stay as they are, since their file was changed after the shard's was."""
    failed: int = 0
    """Those that could not be embedded where the shards were made, or cannot be stored here."""
    unknown: int = 0
    """Those that bring no picture, and are not in the table."""

    @property
    def nothing_worked(self) -> bool:
        """Whether there were images, and none of them is there now as the shards have it."""
        return not (self.added or self.changed or self.unchanged) and bool(
            self.failed or self.unknown
        )


def import_shards(
    conn: Writer,
    base: Path,
    uri: str,
    name: str | None = None,
    vectors: bool = True,
    progress: Progress = silent,
) -> Imported:
    """Takes the images of a shard, or of all shards in a folder, into a space of `images`.

    `base` is the folder of the database file. The space is that of the shards' recipe, or a new
    one, which gets this name. Shards of other programs have no recipe and need a name. Where an
    image is there already, what is equal stays as it is. With `vectors` False, everything else is
    taken. Raises ImgsimError.
    """
    with shards.located(uri) as (fs, path):
        files = shards.below(fs, path) if fs.exists(path) else []
        if not files:
            raise ImgsimError(f"{uri} is no shard and no folder with shards (*{shards.SUFFIX})")
        with progress(len(files), " files", "Reading") as advance:
            opened = ((file, *_opened(fs, file, name)) for file in files)
            first = next(opened)
            importer = _Importer(conn, base, first[1], name, vectors)
            for file, recipe, groups in chain([first], opened):
                importer.check(recipe, file)
                for group in groups:
                    importer.store(group)
                advance(1)
    return importer.finish()


def import_array(
    conn: Writer, base: Path, uri: str, paths: str, name: str, progress: Progress = silent
) -> Imported:
    """Takes vectors (n, dimensions) from a file of numpy into a space of `images`.

    `paths` is a text file with the path of an image, as `images` has it, in each of n lines. The
    space is called `name`. Raises ImgsimError.
    """
    with shards.located(uri) as (fs, file), fs.open(file, "rb") as opened:
        try:
            array = np.load(opened, allow_pickle=False)
        except (ValueError, EOFError) as ex:
            raise ImgsimError(f"{uri} is no array of numpy: {ex}") from ex
    if not isinstance(array, np.ndarray):
        raise ImgsimError(f"{uri} holds several arrays: save the one of vectors with numpy.save")
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise ImgsimError(
            f"{uri} holds {array.dtype} of shape {array.shape}: it must hold floats of shape "
            "(images, numbers)"
        )
    with shards.located(paths) as (fs, file), fs.open(file, "r", encoding="utf-8") as opened:
        lines = opened.read().splitlines()
    if len(lines) != len(array):
        raise ImgsimError(
            f"{paths} has {len(lines):,} lines and {uri} has {len(array):,} vectors: each vector "
            "needs one line"
        )
    importer = _Importer(conn, base, _elsewhere(name, array[0]), name, vectors=True)
    with progress(len(array), " vectors", "Reading") as advance:
        for start in range(0, len(array), shards.ROWS_A_GROUP):
            part = slice(start, start + shards.ROWS_A_GROUP)
            importer.store([*map(_bare, lines[part], array[part])])
            advance(len(lines[part]))
    return importer.finish()


def _bare(path: str, vector: np.ndarray) -> Record:
    return Record(path, vector=vector)


def _opened(fs, file: str, name: str | None) -> tuple[Recipe, Iterator[list[Record]]]:
    """The recipe of a shard, which another program may have written, and its groups."""
    recipe, groups = shards.read(fs, file)
    if recipe is not None:
        return recipe, groups
    if name is None:
        raise ImgsimError(
            f"{file} does not say how its vectors were made: name a space for them with --space"
        )
    first = next(groups, [])
    vector = next((record.vector for record in first if record.vector is not None), None)
    if vector is None or not len(vector):
        raise ImgsimError(f"{file} holds no vectors")
    return _elsewhere(name, vector), chain([first], groups)


def _elsewhere(name: str, vector: np.ndarray) -> Recipe:
    return Recipe.elsewhere(
        name, len(vector), "float16" if vector.dtype == np.float16 else "float32"
    )


class _Importer:
    """Stores records in a space, a group in a transaction."""

    def __init__(self, conn: Writer, base: Path, recipe: Recipe, name: str | None, vectors: bool):
        """`base` is the folder of the database; without `vectors`, all else is stored."""
        self.conn, self.base, self.vectors = conn, base, vectors
        for space in all_spaces(conn):
            is_other = space.source_table.lower() != SOURCE_TABLE or not recipe.describes(space)
            if space.name == name and is_other:
                raise ImgsimError(
                    f"The space {name!r} is of another table, or its vectors were made in another "
                    "way: give another --space"
                )
        self.space = find_or_create(conn, recipe, SOURCE_TABLE, name)
        self.done = Imported(self.space.name)

    def check(self, recipe: Recipe, file: str) -> None:
        """Raises ImgsimError if the vectors of a file do not belong into the space."""
        if not recipe.describes(self.space):
            raise ImgsimError(
                f"{file} was made in another way than the shards before it: import it by itself"
            )

    def store(self, records: list[Record]) -> None:
        records = [replace(record, path=self._stored_path(record.path)) for record in records]
        for batch in batches(records, self.space.rows_a_transaction):
            # Looked at before the transaction: often, all is as it was.
            read = [(record, self._numbers(record)) for record in batch]
            pending = [each for each in read if not self._is_settled(*each)]
            if pending:
                with one_of_many(self.conn):
                    self._store_batch(pending)

    def _stored_path(self, path: str) -> str:
        """A path as `embed` stores it: that of a file here is relative to the database's folder."""
        is_file = isinstance(path, str) and os.path.isabs(path)
        return stored_name(path, str(self.base)) if is_file else path

    def finish(self) -> Imported:
        """Renews the centre of the space."""
        renew_centre(self.conn, reread(self.conn, self.space.name))
        return self.done

    def _is_settled(self, record: Record, numbers: Numbers | None) -> bool:
        """Whether nothing is to be stored of a record, which is counted then."""
        stored = stored_image(self.conn, self.space, record.path)
        if stored is None:
            has_none = record.error is None and not _has_picture(record)
            is_unknown = not record.path or has_none
            self.done.unknown += is_unknown
            return is_unknown
        if stored.is_newer(record):
            self.done.newer += 1
            return True
        encoded = self.space.encode(numbers[0]) if numbers else None
        # What failed there is an image here: that says nothing against it.
        is_there = record.error is not None or (
            self._is_usable(record, numbers) and stored.holds(record, encoded)
        )
        self.done.unchanged += is_there
        return is_there

    def _store_batch(self, pending: list[tuple[Record, Numbers | None]]) -> None:
        before = self.done.added + self.done.changed
        for record, numbers in pending:
            try:
                with own_rules(self.conn, SOURCE_TABLE):
                    self._store(record, numbers)
            except RuleBroken as ex:
                self._fail(record, str(ex))
        if self.done.added + self.done.changed > before:
            raise_generation(self.conn, self.space)

    def _store(self, record: Record, numbers: Numbers | None) -> None:
        stored = stored_image(self.conn, self.space, record.path)
        if record.error is not None:
            self._fail(record, record.error)
        elif self._is_usable(record, numbers):
            self._save(record, stored, numbers)
        elif stored is None:
            self._fail(record, "its vector is damaged where it was imported from")
        else:
            self.done.failed += 1  # the image that is here is sound

    def _save(self, record: Record, stored: Stored | None, numbers: Numbers | None) -> None:
        is_bare = stored is not None and record.sha256 is None
        id = stored.id if stored and is_bare else self._save_row(record, stored)
        if numbers:
            save_vectors(self.conn, self.space, [(id, *numbers)])
        if _has_picture(record):
            # The size that it was made for is not known.
            save_thumbnails(self.conn, SOURCE_TABLE, [(id, record.thumbnail)], None, replace=False)
        clear_failures(self.conn, SOURCE_TABLE, [record.path])
        self.done.added += stored is None
        self.done.changed += stored is not None

    def _is_usable(self, record: Record, numbers: Numbers | None) -> bool:
        return record.error is None and (not self.vectors or numbers is not None)

    def _numbers(self, record: Record) -> Numbers | None:
        """What is to be stored of a vector; None if there is none, or it cannot be used."""
        vector = record.vector
        if not self.vectors or vector is None or len(vector) != self.space.dimensions:
            return None
        if not np.isfinite(vector).all():
            return None
        unit, norms = _units(self.space, vector, record.norms)
        return (unit, norms) if np.isfinite(norms).all() else None

    def _save_row(self, record: Record, stored: Stored | None) -> int:
        facts = {name: value for name, value in record.facts.items() if value is not None}
        if stored and stored.sha256 == record.sha256:  # what was changed here stays
            facts = stored.lacks(record)
        row = {name: getattr(record, name) for name in ("path", "sha256", "bytes", "mtime_ns")}
        return save_image(self.conn, row | facts, same_pixels=False)

    def _fail(self, record: Record, error: str) -> None:
        row = (record.path, error, record.bytes, record.mtime_ns, None)
        save_failures(self.conn, SOURCE_TABLE, [row])
        self.done.failed += 1


def _has_picture(record: Record) -> bool:
    return record.thumbnail is not None and record.thumbnail.startswith(START_OF_JPEG)


def _units(space: Space, vector: np.ndarray, norms: np.ndarray | None) -> Numbers:
    """(the vector with each level of length 1, the lengths (levels,) float32).

    One with norms is so already, and stays as it is to the bit.
    """
    if norms is not None and len(norms) == len(space.levels) and space.model != ELSEWHERE:
        return vector, norms
    unit, lengths = vector.astype(np.float64), []
    for part in space.slices.values():
        largest = max(float(np.abs(unit[part]).max()), 1e-300)
        scaled = unit[part] / largest  # the square of a large number may be no number
        length = float(np.linalg.norm(scaled))
        unit[part] = scaled / max(length, 1e-12)
        lengths.append(length * largest)
    with np.errstate(over="ignore"):
        return unit, np.array(lengths).astype(np.float32)
