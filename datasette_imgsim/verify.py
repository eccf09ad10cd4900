"""Checks a database: is the file whole, do its parts belong together, do vectors still come out."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .db.images import read_thumbnail
from .db.schema import SOURCE_TABLE
from .db.spaces import Space, all_spaces, embedded_ids
from .db.tables import SourceTable
from .errors import ImgsimError
from .ingest import apart, settings, sources
from .progress import Progress, silent
from .search.vectors import Damaged, decoded, sound_centre, stored_blobs

VECTORS_AT_ONCE = 500
PICTURES_AT_ONCE = 16
EXAMPLES = 5
"""A problem names at most so many images."""
SMALLEST_COSINE = 0.999
"""Between a stored level vector and the same one computed again. bfloat16 on another processor
stays above 0.9999; other weights, or another preprocessing, fall below 0.99."""


@dataclass(frozen=True)
class Drift:
    """How far vectors that were computed again are from the stored ones."""

    space: str
    images: int
    smallest: float
    """The smallest cosine of all levels of all images, -1..1."""
    median: float


@dataclass
class Report:
    """What `verify` found."""

    images: int = 0
    vectors: int = 0
    problems: list[str] = field(default_factory=list)
    """One sentence each, which says how to mend it."""
    drifts: list[Drift] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Why something could not be computed again; that is no problem of the database."""


def verify(
    conn: sqlite3.Connection, base: Path, sample: int = 100, progress: Progress = silent
) -> Report:
    """Checks a database. `base` is the folder of its file.

    The pictures of `sample` images of each space are decoded and embedded again. Raises
    ImgsimError where the database cannot be read at all.
    """
    report = Report()
    report.problems += _integrity(conn)
    counted: set[str] = set()
    for space in all_spaces(conn):
        try:
            table = SourceTable.read(conn, space.source_table)
        except ImgsimError as ex:
            report.problems.append(str(ex))
            continue
        if table.name not in counted:
            counted.add(table.name)
            (rows,) = conn.execute(f"select count(*) from {table.rows_sql}").fetchone()
            report.images += rows
        ids = embedded_ids(conn, space)
        report.vectors += len(ids)
        with progress(len(ids), " vectors", f"Checking {space.name}") as advance:
            report.problems += _vectors(conn, space, ids, advance)
        report.problems += _orphans(conn, space, table)
        report.problems += _groups(conn, space)
        chosen = _spread(ids, sample)
        report.problems += _thumbnails(conn, space, chosen)
        _embed_again(conn, space, base, chosen, report, progress)
    return report


def _integrity(conn: sqlite3.Connection) -> Iterator[str]:
    (first, *_) = conn.execute("pragma integrity_check(1)").fetchone()
    if first != "ok":
        yield f"The file is damaged ({first}): restore it from a copy"


def _vectors(conn: sqlite3.Connection, space: Space, ids: list, advance) -> Iterator[str]:
    """Checks the centre, and that each vector has the space's numbers, all finite."""
    try:
        sound_centre(conn, space)
    except Damaged as ex:
        yield f"The space {space.name!r}: {ex}: restore the database from a copy"
    damaged = []
    for start in range(0, len(ids), VECTORS_AT_ONCE):
        batch = ids[start : start + VECTORS_AT_ONCE]
        _, usable = decoded(space, stored_blobs(conn, space, batch))
        damaged += [id for id, is_usable in zip(batch, usable) if not is_usable]
        advance(len(batch))
    if damaged:
        yield (
            f"The space {space.name!r} has {_count(damaged)} whose vector is damaged "
            f"({_some(damaged)}): {_mend(space, damaged)}"
        )


def _orphans(conn: sqlite3.Connection, space: Space, table: SourceTable) -> Iterator[str]:
    """What was made of images whose row is gone."""
    present = f"select 1 from {table.rows_sql} where {table.key_sql} = ours.image_key"
    for name, of_space in (
        ("imgsim_vectors", "ours.space_id = :id"),
        ("imgsim_atlas", "ours.space_id = :id"),
        ("imgsim_neighbours", "ours.space_id = :id"),
        ("imgsim_duplicates", "ours.space_id = :id"),
        ("imgsim_group_members", "ours.space_id = :id"),
        ("imgsim_thumbnails", "ours.source_table = :table and :is_default"),
    ):
        (count,) = conn.execute(
            f"select count(*) from {name} ours where {of_space} and not exists ({present})",
            {"id": space.id, "table": space.source_table, "is_default": space.is_default},
        ).fetchone()
        if count:
            yield (
                f"{name} has {count:,} rows of images that are no longer in the table "
                f"{space.source_table!r}: the next 'datasette imgsim embed' removes them"
            )


def _groups(conn: sqlite3.Connection, space: Space) -> Iterator[str]:
    """Images of groups that are gone, and groups without images."""
    for name, where, what in (
        ("imgsim_group_members", "other.id = ours.group_id", "images of groups that are gone"),
        ("imgsim_groups", "other.group_id = ours.id", "groups without images"),
    ):
        other = "imgsim_groups" if name == "imgsim_group_members" else "imgsim_group_members"
        (count,) = conn.execute(
            f"select count(*) from {name} ours where space_id = :id and not exists "
            f"(select 1 from {other} other where other.space_id = :id and {where})",
            {"id": space.id},
        ).fetchone()
        if count:
            forget = f"update imgsim_spaces set groups = null where id = {space.id}"
            yield (
                f'{name} has {count:,} {what}: make them anew with "{forget}" and '
                f"'datasette imgsim groups DATABASE --space {shlex.quote(space.name)}'"
            )


def _thumbnails(conn: sqlite3.Connection, space: Space, ids: list) -> Iterator[str]:
    damaged = []
    for id in ids:
        jpeg = read_thumbnail(conn, space.source_table, id)
        try:
            is_sound = apart.SHARED.decode(jpeg or b"", 1).facts.format == "JPEG"
        except ImgsimError:
            is_sound = False
        if not is_sound:
            damaged.append(id)
    if damaged:
        remove = f"delete from imgsim_thumbnails where image_key in ({_listed(damaged)})"
        yield (
            f"{_count(damaged)} of {len(ids):,} looked at have no thumbnail that can be read "
            f'({_some(damaged)}): remove them with "{remove}". Then {_mend(space, damaged)}'
        )


def _embed_again(
    conn: sqlite3.Connection,
    space: Space,
    base: Path,
    ids: list,
    report: Report,
    progress: Progress,
) -> None:
    """Compares stored vectors with those that this machine computes of the same files."""
    if space.source_table.lower() != SOURCE_TABLE:
        report.skipped.append(
            f"{space.name}: not embedded again, since only files of the table 'images' are"
        )
        return
    try:
        network = settings.load_network(space, base)
    except ImgsimError as ex:
        report.skipped.append(f"{space.name}: not embedded again: {ex}")
        return
    cosines: list[np.ndarray] = []
    images = 0
    with progress(len(ids), " images", f"Embedding {space.name} again") as advance:
        for start in range(0, len(ids), PICTURES_AT_ONCE):
            batch = ids[start : start + PICTURES_AT_ONCE]
            found = {id: _pixels(conn, space, base, id) for id in batch}
            kept = {id: pixels for id, pixels in found.items() if pixels is not None}
            advance(len(batch))
            stored, usable = decoded(space, stored_blobs(conn, space, list(kept)))
            pixels = [kept[id] for id, is_usable in zip(kept, usable) if is_usable]
            if pixels:
                computed, _ = network.vectors(np.stack(pixels))
                images += len(pixels)
                cosines += [
                    np.vecdot(computed[:, part], stored[:, part])
                    / np.maximum(np.linalg.norm(stored[:, part], axis=1), 1e-12)
                    for part in space.slices.values()
                ]
    if not cosines:
        report.skipped.append(f"{space.name}: no file of its images is as it was")
        return
    values = np.concatenate(cosines)
    drift = Drift(space.name, images, float(values.min()), float(np.median(values)))
    report.drifts.append(drift)
    if drift.smallest < SMALLEST_COSINE:
        report.problems.append(
            f"The space {space.name!r} gives other vectors now than when it was made (the smallest "
            f"cosine is {drift.smallest:.4f}): make a new space with 'datasette imgsim embed "
            "DATABASE IMAGES --space NAME' and the same options"
        )


def _pixels(conn: sqlite3.Connection, space: Space, base: Path, id) -> np.ndarray | None:
    """The input of the network for an image whose file is as it was; else None."""
    row = conn.execute("select path, sha256 from images where id = ?", [id]).fetchone()
    if row is None or not isinstance(row[0], str):
        return None
    try:
        path = sources.absolute_path(row[0], base)
        with open(path, "rb") as file:
            if sources.digest(file) != row[1]:
                return None
        size, resize = space.preprocess["size"], space.preprocess["resize"]
        return apart.SHARED.decode(path, size, resize).pixels
    except (OSError, ValueError, ImgsimError):
        return None


def _spread(ids: list, count: int) -> list:
    """At most `count` of the ids, evenly spread."""
    step = max(1, -(-len(ids) // max(1, count)))
    return ids[::step] if count else []


def _mend(space: Space, ids: list) -> str:
    return (
        f'remove these vectors with "delete from imgsim_vectors where space_id = {space.id} and '
        f"image_key in ({_listed(ids)})\" and run 'datasette imgsim embed' again"
    )


def _count(ids: list) -> str:
    return "1 image" if len(ids) == 1 else f"{len(ids):,} images"


def _some(ids: list) -> str:
    text = ", ".join(map(str, ids[:EXAMPLES]))
    return f"id {text}" + (" …" if len(ids) > EXAMPLES else "")


def _listed(ids: list) -> str:
    """The ids for an SQL list."""
    return ", ".join(
        str(id) if isinstance(id, int) else "'{}'".format(str(id).replace("'", "''")) for id in ids
    )
