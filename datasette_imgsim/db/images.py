"""Reads and writes images and what is stored of each: vector, thumbnail, failure."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import ImgsimError
from . import schema
from .connect import Writer, batches, utc_now
from .rules import left_out, own_rules
from .spaces import ROWS_A_TRANSACTION, Space, all_spaces
from .tables import SourceTable

OF_THE_FILE = ("id", "path", "bytes", "mtime_ns", "sha256")
FACTS = tuple(column for column in schema.IMAGES_COLUMNS if column not in OF_THE_FILE)
"""The columns of `images` that are read from the picture itself: size, format and EXIF."""


@dataclass(frozen=True)
class KnownImage:
    """What is stored of an image, to decide whether it must be embedded."""

    id: int | str
    path: int | str
    """The path of its file, or the key of its row in a table of the user's own."""
    sha256: str | None
    bytes: int | None
    mtime_ns: int | None
    file: str | None
    """The path in the row of a user's own table; None for a BLOB, and for a row of `images`."""
    embedded: bool
    """Whether it has a vector in the space of the run."""
    thumbnail_size: int | None
    """The size that its thumbnail was made for; None if that is unknown."""
    gps: bool
    """Whether its place is stored, if the picture tells one."""

    @property
    def stamp(self) -> tuple[int | None, int | None, str | None]:
        """What tells without reading whether its picture is the one that was read before."""
        return self.bytes, self.mtime_ns, self.file


def _known(id, path, sha256, size, mtime_ns, file, embedded, thumbnail_size, gps) -> KnownImage:
    return KnownImage(
        id, path, sha256, size, mtime_ns, file, bool(embedded), thumbnail_size, bool(gps)
    )


def known_images(conn: sqlite3.Connection, space: Space | None) -> list[KnownImage]:
    """All rows of `images`; without a space, none of them counts as embedded."""
    # Without "+", the affinity of i.id would keep SQLite from using the index.
    rows = conn.execute(
        """
        select i.id, i.path, i.sha256, i.bytes, i.mtime_ns, null, v.image_key is not null,
        r.thumbnail_size, coalesce(r.gps, i.latitude is not null)
        from images i left join imgsim_vectors v on v.space_id = ? and v.image_key = +i.id
        left join imgsim_readings r on r.source_table = ? and r.image_key = +i.id
        """,
        [space.id if space else None, schema.SOURCE_TABLE],
    )
    return [_known(*row) for row in rows]


def known_rows(conn: sqlite3.Connection, space: Space | None, table: str) -> list[KnownImage]:
    """The rows of a table of the user's own that were embedded before, in any space."""
    source = SourceTable.read(conn, table)
    key = source.key_sql
    rows = conn.execute(
        f"""
        select {key}, {key}, c.sha256, c.bytes, c.mtime_ns, c.path, v.image_key is not null,
        r.thumbnail_size, r.gps
        from {source.rows_sql}
        join imgsim_contents c on c.source_table = ? and c.image_key = +{key}
        left join imgsim_vectors v on v.space_id = ? and v.image_key = +{key}
        left join imgsim_readings r on r.source_table = ? and r.image_key = +{key}
        """,
        [table, space.id if space else None, table],
    )
    return [_known(*row) for row in rows]


def save_content(
    conn: sqlite3.Connection,
    table: str,
    id,
    sha256: str,
    size,
    mtime_ns,
    path: str | None,
    same_pixels: bool,
) -> None:
    """Stores the hash, size, mtime and path of a row's picture.

    If the picture has changed, all that was made of the old one is removed, unless `same_pixels`.
    """
    stored = conn.execute(
        "select sha256 from imgsim_contents where source_table = ? and image_key = ?", [table, id]
    ).fetchone()
    if stored and stored[0] != sha256 and not same_pixels:
        forget_images(conn, table, [id])
    conn.execute(
        "insert or replace into imgsim_contents "
        "(source_table, image_key, sha256, bytes, mtime_ns, path) values (?, ?, ?, ?, ?, ?)",
        [table, id, sha256, size, mtime_ns, path],
    )


def image_at(conn: sqlite3.Connection, path: str) -> tuple[int, str | None] | None:
    """(id, sha256) of the image with this path, or None."""
    return conn.execute("select id, sha256 from images where path = ?", [path]).fetchone()


def save_image(conn: sqlite3.Connection, values: dict, same_pixels: bool) -> int:
    """Inserts a row into `images`, or updates the row with the same path; returns its id.

    If the content has changed, all that was made of the old one is removed, unless `same_pixels`.
    Raises RuleBroken if a trigger leaves the row out.
    """
    stored = image_at(conn, values["path"])
    if stored and stored[1] != values["sha256"]:
        if not same_pixels:
            forget_images(conn, schema.SOURCE_TABLE, [stored[0]])
        values = dict.fromkeys(FACTS) | values
    sql = f"""
        insert into images ({", ".join(values)}) values ({", ".join("?" * len(values))})
        on conflict (path) do update set
        {", ".join(f"{column} = excluded.{column}" for column in values)}
        returning id
    """
    row = conn.execute(sql, list(values.values())).fetchone()
    if row is None:
        raise left_out(conn, schema.SOURCE_TABLE)
    return row[0]


def rename_image(conn: sqlite3.Connection, image: KnownImage, path: str) -> bool:
    """Changes the path of an image; returns whether it did.

    It does not if another program has changed that row, or has used the new path.
    """
    cursor = conn.execute(
        """
        update images set path = :new where id = :id and path = :old
        and not exists (select 1 from images where path = :new)
        """,
        {"new": path, "id": image.id, "old": image.path},
    )
    return cursor.rowcount == 1


def move_images(conn: Writer, moves: list[tuple[KnownImage, str]]) -> None:
    """Changes the paths of images, which may be paths that others of them had.

    Raises RuleBroken if a rule of the user's own refuses it; ImgsimError if another program has
    changed one of these rows.
    """
    sql = "update images set path = ? where id = ? and path = ?"
    with own_rules(conn, schema.SOURCE_TABLE):
        for image, _ in moves:
            if conn.execute(sql, [_between(image), image.id, image.path]).rowcount != 1:
                raise ImgsimError(
                    f"The image {image.path} was changed by another program meanwhile: run it again"
                )
        for image, path in moves:
            conn.execute(sql, [path, image.id, _between(image)])


def _between(image: KnownImage) -> str:
    """A path that no file has, while paths are changed in turn."""
    return f"image {image.id} on its way"


def read_facts(conn: sqlite3.Connection, id: int) -> dict:
    """The FACTS of an image by column; empty if its row is gone."""
    row = conn.execute(f"select {', '.join(FACTS)} from images where id = ?", [id]).fetchone()
    return dict(zip(FACTS, row or ()))


def save_vectors(conn: sqlite3.Connection, space: Space, rows: Iterable[tuple]) -> None:
    """Writes rows (image id, vector (dimensions,), norms (levels,))."""
    conn.executemany(
        "insert or replace into imgsim_vectors (space_id, image_key, vector, norms) "
        "values (?, ?, ?, ?)",
        [
            (space.id, id, space.encode(vector), norms.astype("<f4").tobytes())
            for id, vector, norms in rows
        ],
    )


def read_vector(conn: sqlite3.Connection, space: Space, id: int | str) -> np.ndarray | None:
    """The vector of an image, (dimensions,) float32; None if it is missing or damaged."""
    row = conn.execute(
        "select vector from imgsim_vectors where space_id = ? and image_key = ? "
        "and typeof(vector) = 'blob' and length(vector) = ?",
        [space.id, id, len(space.encode(np.zeros(space.dimensions)))],
    ).fetchone()
    return row and space.decode(row[0])


def copy_vector(
    conn: sqlite3.Connection, space: Space, source: int | str, target: int | str
) -> None:
    """Copies the vector and thumbnail of an image to another with the same content."""
    conn.execute(
        """
        insert or replace into imgsim_vectors (space_id, image_key, vector, norms)
        select space_id, ?, vector, norms from imgsim_vectors where space_id = ? and image_key = ?
        """,
        [target, space.id, source],
    )
    conn.execute(
        """
        insert or ignore into imgsim_thumbnails (source_table, image_key, jpeg)
        select source_table, ?, jpeg from imgsim_thumbnails
        where source_table = ? and image_key = ?
        """,
        [target, space.source_table, source],
    )
    conn.execute(
        """
        insert or ignore into imgsim_readings (source_table, image_key, thumbnail_size)
        select source_table, ?, thumbnail_size from imgsim_readings
        where source_table = ? and image_key = ?
        """,
        [target, space.source_table, source],
    )


def save_thumbnails(
    conn: sqlite3.Connection, table: str, rows: Iterable[tuple], size: int | None, replace: bool
) -> None:
    """Writes rows (image id, JPEG bytes), made for this size; None if that is unknown.

    Unless `replace`, an image that has a thumbnail keeps it: outdated ones were removed before.
    """
    for id, jpeg in rows:
        written = conn.execute(
            f"insert or {'replace' if replace else 'ignore'} into imgsim_thumbnails "
            "(source_table, image_key, jpeg) values (?, ?, ?)",
            [table, id, jpeg],
        )
        if written.rowcount:
            conn.execute(
                """
                insert into imgsim_readings (source_table, image_key, thumbnail_size)
                values (?, ?, ?) on conflict do update set thumbnail_size = excluded.thumbnail_size
                """,
                [table, id, size],
            )


def mark_places_read(conn: sqlite3.Connection, table: str, ids: Iterable) -> None:
    """Records that the places of images were stored, if their pictures tell any."""
    conn.executemany(
        """
        insert into imgsim_readings (source_table, image_key, gps) values (?, ?, 1)
        on conflict do update set gps = 1
        """,
        [(table, id) for id in ids],
    )


def read_thumbnail(conn: sqlite3.Connection, table: str, id) -> bytes | None:
    """The JPEG bytes of an image's thumbnail; None if it is missing or not a BLOB."""
    row = conn.execute(
        "select jpeg from imgsim_thumbnails "
        "where source_table = ? and image_key = ? and typeof(jpeg) = 'blob'",
        [table, id],
    ).fetchone()
    return row and row[0]


def read_failures(conn: sqlite3.Connection, table: str) -> dict[str, tuple]:
    """Each source that failed -> its (bytes, mtime_ns, path) at that time."""
    rows = conn.execute(
        "select source, bytes, mtime_ns, path from imgsim_failures where source_table = ?", [table]
    )
    return {source: tuple(stamp) for source, *stamp in rows}


def save_failures(conn: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Writes rows (source, error, bytes, mtime_ns, path)."""
    conn.executemany(
        "insert or replace into imgsim_failures "
        "(source_table, source, error, bytes, mtime_ns, path, tried_at) "
        "values (?, ?, ?, ?, ?, ?, ?)",
        [(table, *row, utc_now()) for row in rows],
    )


def clear_failures(conn: sqlite3.Connection, table: str, sources: Iterable[str]) -> None:
    """Removes the failures of some sources."""
    conn.executemany(
        "delete from imgsim_failures where source_table = ? and source = ?",
        [(table, source) for source in sources],
    )


def forget_images(conn: sqlite3.Connection, table: str, ids: Iterable) -> None:
    """Removes all that was made of images that have changed or are gone, in all spaces."""
    ids = list(ids)
    for name, condition in _owned_by_table():
        conn.executemany(
            f"delete from {name} as ours where {condition} and image_key = :id",
            [{"table": table, "id": id} for id in ids],
        )
    conn.executemany(
        "delete from imgsim_verdicts where source_table = ? and other_key = ?",
        [(table, id) for id in ids],
    )
    if ids:
        conn.execute(
            "update imgsim_spaces set generation = generation + 1 where source_table = ?", [table]
        )


def _owned_by_table() -> Iterator[tuple[str, str]]:
    """Each of our tables with rows for images, and the condition for those of a source table.

    The table is called ours in it, since a user's table may have columns with our names.
    """
    for name in schema.OF_SPACES:
        spaces = "select id from imgsim_spaces where source_table = :table"
        yield name, f"ours.space_id in ({spaces})"
    for name in schema.OF_IMAGES:
        yield name, "ours.source_table = :table"


def forget_in_batches(conn: Writer, table: str, ids: list) -> None:
    """Like `forget_images`, in short transactions."""
    for batch in batches(ids, _rows_a_transaction(conn, table)):
        with conn.transaction():
            forget_images(conn, table, batch)


def forget_orphans(conn: Writer, table: str) -> None:
    """Removes all that was made of images whose row was deleted by hand."""
    source = SourceTable.read(conn, table)
    gone = f"not exists (select 1 from {source.rows_sql} where {source.key_sql} = ours.image_key)"
    orphans = conn.execute(
        " union ".join(
            f"select ours.image_key from {name} ours where {condition} and {gone}"
            for name, condition in _owned_by_table()
        ),
        {"table": table},
    ).fetchall()
    forget_in_batches(conn, table, [id for (id,) in orphans])


def remove_images(
    conn: Writer, images: list[KnownImage], is_gone: Callable[[KnownImage], bool]
) -> int:
    """Deletes rows of `images` and all that was made of them; returns how many.

    A row stays if `is_gone` is no longer true of it, or if another program has changed its path.
    Raises RuleBroken if a trigger of the user's own refuses it.
    """
    count = 0
    for batch in batches(images, _rows_a_transaction(conn, schema.SOURCE_TABLE)):
        still_gone = [image for image in batch if is_gone(image)]
        with conn.transaction(), own_rules(conn, schema.SOURCE_TABLE):
            deleted = [image.id for image in still_gone if _delete_image(conn, image)]
            forget_images(conn, schema.SOURCE_TABLE, deleted)
        count += len(deleted)
    return count


def _rows_a_transaction(conn: sqlite3.Connection, table: str) -> int:
    sizes = [space.rows_a_transaction for space in all_spaces(conn, table)]
    # Another program may have removed the last space meanwhile.
    return min(sizes, default=ROWS_A_TRANSACTION)


def _delete_image(conn: sqlite3.Connection, image: KnownImage) -> bool:
    cursor = conn.execute("delete from images where id = ? and path = ?", [image.id, image.path])
    return cursor.rowcount == 1
