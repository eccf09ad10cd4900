"""Removes the images that --prune asks to remove: those whose file was deleted.

A file that is not here now need not be deleted: its drive may be away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..db.connect import Writer
from ..db.images import KnownImage, clear_failures, known_images, read_failures, remove_images
from ..db.schema import SOURCE_TABLE
from . import sources
from .plan import Plan
from .sources import Item


@dataclass(frozen=True)
class Pruned:
    """What became of the images whose file is gone."""

    removed: int
    kept: int
    """Images that stay, since their folder may be away."""
    missing_folder: str | None
    """One of those folders, as stored paths name it."""


def prune(
    conn: Writer,
    plan: Plan,
    items: list[Item],
    folders: list[Path],
    base: Path,
    missing_folders: bool = False,
) -> Pruned:
    """Removes images whose file was deleted from one of `folders`.

    An image counts as deleted only if the run has found another known image in its folder, or
    below that. Else the whole folder may be away: a drive that is not connected, or a link to one;
    its images stay unless `missing_folders` is true. Of `folders`, those that do not exist are
    ignored.
    """
    tops = tuple(
        os.path.join(os.path.abspath(folder), "") for folder in folders if os.path.isdir(folder)
    )

    def file(name: int | str) -> str:
        return sources.absolute_path(str(name), base)

    gone, found = _now(conn, plan)
    here = _folders_above(file(name) for name in found)
    below = [image for image in gone if file(image.path).startswith(tops)]
    deleted: list[KnownImage] = []
    kept: list[KnownImage] = []
    for image in below:
        is_certain = missing_folders or os.path.dirname(file(image.path)) in here
        (deleted if is_certain else kept).append(image)
    removed = remove_images(conn, deleted, lambda image: sources.is_gone(file(image.path)))
    _clear_failures(conn, {str(item.name) for item in items}, tops, base)
    example = os.path.dirname(str(kept[0].path)) or "." if kept else None
    return Pruned(removed, len(kept), example)


def _now(conn: Writer, plan: Plan) -> tuple[list[KnownImage], list[str]]:
    """The images that are still gone after the run, and the paths of those that it found again.

    An image that the run has added, or whose content it found changed, was not found again: it may
    be on another drive at the same place.
    """
    now = known_images(conn, None)
    paths = {image.id: image.path for image in now}
    gone = [image for image in plan.gone if paths.get(image.id) == image.path]
    known = {image.id: image.sha256 for image in [*plan.rows.values(), *plan.gone]}
    for image in gone:
        del known[image.id]
    found = [str(i.path) for i in now if i.id in known and i.sha256 == known[i.id]]
    return gone, found


def _folders_above(files: Iterable[str]) -> set[str]:
    """All folders that have one of the files in them or below them."""
    folders: set[str] = set()
    for file in files:
        folder = os.path.dirname(file)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return folders


def _clear_failures(conn: Writer, found: set[str], tops: tuple[str, ...], base: Path) -> None:
    """Removes the failures of files that are gone."""
    gone = []
    for name in read_failures(conn, SOURCE_TABLE).keys() - found:
        file = sources.absolute_path(name, base)
        if file.startswith(tops) and sources.is_gone(file):
            gone.append(name)
    with conn.transaction():
        clear_failures(conn, SOURCE_TABLE, gone)
