"""Writes a space into shards, or its vectors into one array of numpy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from ..db.connect import batches
from ..db.exchange import Record, read_failed, read_records
from ..db.spaces import Space, embedded_ids
from ..errors import ImgsimError
from ..progress import Advance, Progress, silent
from . import shards
from .recipe import Recipe

GROUPS_A_SHARD = 10
ARRAY, PATHS = ".npy", ".txt"


@dataclass
class Exported:
    """What was written, in numbers."""

    space: str
    images: int = 0
    left_out: int = 0
    """Images whose row is gone, or whose vector cannot be used."""
    failed: int = 0
    """Pictures that could not be embedded: each is a row with its reason."""
    files: int = 0


def export(
    conn: sqlite3.Connection, space: Space, uri: str, progress: Progress = silent
) -> Exported:
    """Writes the images of a space, and the failures of its table, into shards.

    `uri` is a folder, which may not hold shards yet, or a file: NAME.parquet, or NAME.npy for the
    vectors (n, dimensions) alone, with the paths of their images in NAME.txt, a line each. It may
    lie wherever fsspec can write, such as s3://bucket/folder. Raises ImgsimError.
    """
    ids = sorted(embedded_ids(conn, space), key=lambda id: (isinstance(id, str), id))
    if not ids:
        raise ImgsimError(f"The space {space.name!r} holds no vectors: embed pictures first")
    done = Exported(space.name)
    with shards.located(uri) as (fs, path), progress(len(ids), " images", "Writing") as advance:
        images = _images(conn, space, ids, done, advance)
        shards.refuse_present(fs, path)
        if path.endswith(ARRAY):
            _write_array(fs, path, images)
            done.files = 2
            return done
        groups = chain(images, _failures(conn, space, done))
        if path.endswith(shards.SUFFIX):
            shards.write(fs, path, Recipe.of(space), groups)
            done.files = 1
            return done
        fs.makedirs(path, exist_ok=True)
        for group in groups:
            file = f"{path.rstrip('/')}/images-{done.files:05d}{shards.SUFFIX}"
            rest = islice(groups, GROUPS_A_SHARD - 1)
            shards.write(fs, file, Recipe.of(space), chain([group], rest))
            done.files += 1
    return done


def _images(
    conn: sqlite3.Connection, space: Space, ids: list, done: Exported, advance: Advance
) -> Iterator[list[Record]]:
    """The records of images, in groups."""
    found = read_records(conn, space, ids)
    while records := list(islice(found, shards.ROWS_A_GROUP)):
        done.images += len(records)
        yield records
        advance(len(records))
    done.left_out = len(ids) - done.images
    if not done.images:
        raise ImgsimError(f"The space {space.name!r} has no usable vector of an image")


def _failures(conn: sqlite3.Connection, space: Space, done: Exported) -> Iterator[list[Record]]:
    records = list(read_failed(conn, space.source_table))
    done.failed = len(records)
    yield from batches(records, shards.ROWS_A_GROUP)


def _write_array(fs, path: str, images: Iterator[list[Record]]) -> None:
    """Writes the vectors of images, and beside them their paths."""
    shards.refuse_present(fs, path.removesuffix(ARRAY) + PATHS)
    groups = [([record.path for record in group], _vectors(group)) for group in images]
    paths = [path for names, _ in groups for path in names]
    broken = next((path for path in paths if len(path.splitlines()) > 1), None)
    if broken is not None:
        raise ImgsimError(f"The path {broken!r} has more than one line: write shards instead")
    with shards.aside(fs, path) as name, fs.open(name, "wb") as file:
        np.save(file, np.concatenate([vectors for _, vectors in groups]))
    with shards.aside(fs, path.removesuffix(ARRAY) + PATHS) as name:
        fs.pipe_file(name, "".join(f"{path}\n" for path in paths).encode())


def _vectors(group: list[Record]) -> np.ndarray:
    return np.stack([record.vector for record in group if record.vector is not None])
