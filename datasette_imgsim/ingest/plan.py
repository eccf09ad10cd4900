"""Decides what a run has to do, and removes the images that --prune asks to remove."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..db.connect import Writer
from ..db.images import KnownImage, clear_failures, read_failures, remove_images
from ..db.schema import SOURCE_TABLE
from ..db.spaces import Space
from . import sources
from .options import RunOptions
from .pictures import Pictures
from .sources import Item


@dataclass(frozen=True)
class Plan:
    """The items of a run, by what has to be done with them."""

    pending: list[Item]
    """Items to embed."""
    rows: dict[int | str, KnownImage]
    """Images in the database by the name of their item, except those in `gone`."""
    gone: list[KnownImage]
    """Images in the database whose file is gone."""
    unchanged: int
    """The number of items that are embedded and have not changed."""
    failed_before: int
    """The number of items that failed in an earlier run and have not changed."""
    recovered: list[str]
    """Names of failures that are over: the old file is back, or the folder can be listed."""


def plan(
    conn: sqlite3.Connection,
    pictures: Pictures,
    space: Space | None,
    items: list[Item],
    options: RunOptions,
) -> Plan:
    """Compares the items with the database.

    An item is unchanged if its name, size and mtime are those of an image with a vector in the
    space, and that image lacks nothing that the options ask for. A BLOB has no mtime, so it is
    always pending: its bytes must be read and compared.
    """
    names = {item.name for item in items}
    rows: dict[int | str, KnownImage] = {}
    gone = []
    for image in pictures.known(conn, space):
        if image.path not in names and pictures.is_gone(image):
            gone.append(image)
        else:
            rows[image.path] = image
    failures = read_failures(conn, pictures.table)
    names_as_text = {str(name) for name in names}
    recovered = [name for name in failures.keys() - names_as_text if pictures.is_settled(name)]
    pending, unchanged, failed_before = [], 0, 0
    for item in items:
        row, stamp = rows.get(item.name), (item.size, item.mtime_ns)
        name = str(item.name)
        is_same = row is not None and row.embedded and (row.bytes, row.mtime_ns) == stamp
        is_complete = row is not None and not options.lacks(row)
        if is_same and is_complete and item.mtime_ns is not None:
            unchanged += 1
            if name in failures:
                recovered.append(name)
        elif failures.get(name) == stamp and not options.retry_failed:
            failed_before += 1
        else:
            pending.append(item)
    return Plan(pending, rows, gone, unchanged, failed_before, recovered)


def prune(
    conn: Writer, gone: Iterable[KnownImage], items: list[Item], folders: list[Path], base: Path
) -> int:
    """Removes images whose file is gone from one of `folders`; returns how many.

    `gone` are the images that had no file when the run began. A folder that does not exist is
    ignored: perhaps its drive is not connected.
    """
    names = {item.name for item in items}
    tops = [os.path.join(os.path.abspath(folder), "") for folder in folders if folder.is_dir()]

    def is_below(name: str) -> bool:
        return sources.absolute_path(name, base).startswith(tuple(tops))

    def is_still_gone(image: KnownImage) -> bool:
        return sources.is_gone(sources.absolute_path(str(image.path), base))

    below = [image for image in gone if is_below(str(image.path))]
    failed = [
        name
        for name in read_failures(conn, SOURCE_TABLE).keys() - names
        if is_below(name) and sources.is_gone(sources.absolute_path(name, base))
    ]
    count = remove_images(conn, below, is_still_gone)
    with conn.transaction():
        clear_failures(conn, SOURCE_TABLE, failed)
    return count
