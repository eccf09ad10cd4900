"""What a run has to do: items compared with the tables, and what --prune removes."""

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
from .pictures import Pictures
from .sources import Item


@dataclass(frozen=True)
class Plan:
    """The files of a run, sorted by what is to be done with them."""

    pending: list[Item]
    rows: dict[int | str, KnownImage]
    """Images by the name of their item, without those whose file is gone."""
    gone: list[KnownImage]
    unchanged: int
    failed_before: int
    recovered: list[str]
    """Names of failures that are none any more: the old file is back, the folder can be listed."""


def plan(
    conn: sqlite3.Connection,
    pictures: Pictures,
    space: Space | None,
    items: list[Item],
    retry_failed: bool = False,
) -> Plan:
    """Compares the items with the tables: unchanged is same name, size, mtime and a vector.

    A picture in the database has no mtime: its bytes must be looked at.
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
    found_texts = {str(name) for name in names}
    recovered = [name for name in failures.keys() - found_texts if pictures.is_settled(name)]
    pending, unchanged, failed_before = [], 0, 0
    for item in items:
        row, stamp = rows.get(item.name), (item.size, item.mtime_ns)
        name = str(item.name)
        same = row is not None and row.embedded and (row.bytes, row.mtime_ns) == stamp
        if same and item.mtime_ns is not None:
            unchanged += 1
            if name in failures:
                recovered.append(name)
        elif failures.get(name) == stamp and not retry_failed:
            failed_before += 1
        else:
            pending.append(item)
    return Plan(pending, rows, gone, unchanged, failed_before, recovered)


def prune(
    conn: Writer, gone: Iterable[KnownImage], items: list[Item], folders: list[Path], base: Path
) -> int:
    """Removes images whose file is gone, where it was below one of `folders` that exist.

    `gone` are those that had no file when the run began; how many were removed.
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
