"""Decides what a run has to do."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ..db.images import KnownImage, read_failures
from ..db.spaces import Space
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

    An item is unchanged if its name and its stamp are those of an image with a vector in the
    space, and that image lacks nothing that the options ask for. Without an mtime (a BLOB, or a
    time that SQLite cannot hold) it is always pending: its bytes must be read and compared. With
    the option `rehash`, all items are pending.
    """
    known = pictures.known(conn, space)
    items = pictures.under_known_names(items, known)
    names = {item.name for item in items}
    rows: dict[int | str, KnownImage] = {}
    gone = []
    for image in known:
        if image.path not in names and pictures.is_gone(image):
            gone.append(image)
        else:
            rows[image.path] = image
    failures = read_failures(conn, pictures.table)
    names_as_text = {str(name) for name in names}
    recovered = [name for name in failures.keys() - names_as_text if pictures.is_settled(name)]
    pending, unchanged, failed_before = [], 0, 0
    for item in items:
        row, name = rows.get(item.name), str(item.name)
        is_same = row is not None and row.embedded and row.stamp == item.stamp
        is_complete = row is not None and not options.lacks(row)
        if options.rehash:
            pending.append(item)
        elif is_same and is_complete and item.mtime_ns is not None:
            unchanged += 1
            if name in failures:
                recovered.append(name)
        elif failures.get(name) == item.stamp and not options.retry_failed:
            failed_before += 1
        else:
            pending.append(item)
    return Plan(pending, rows, gone, unchanged, failed_before, recovered)
