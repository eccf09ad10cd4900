"""All that is stored of an image in a space, to be written into files and taken from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import schema
from .connect import batches
from .dtypes import DTYPES
from .facts import OF_CONTENTS, fact_sql
from .images import FACTS
from .spaces import Space
from .tables import WHOLE_NUMBER, SourceTable, column_names

IDS_A_READ = 500


@dataclass(frozen=True)
class Record:
    """An image with its vector, or a picture that could not be embedded; None where unknown."""

    path: str
    """Of its file, or a name that no other image has."""
    thumbnail: bytes | None = None
    """A JPEG file."""
    id: str | None = None
    """The key of its row, as text."""
    sha256: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None
    facts: dict = field(default_factory=dict)
    """Values of the columns FACTS of `images`."""
    vector: np.ndarray | None = None
    """(dimensions,): each level's unit vector, raw."""
    norms: np.ndarray | None = None
    """(levels,) float32."""
    error: str | None = None
    """Why it could not be embedded."""


def read_records(conn: sqlite3.Connection, space: Space, ids: Sequence) -> Iterator[Record]:
    """The records of images with these keys, which have a row and a usable vector."""
    table = SourceTable.read(conn, space.source_table)
    there = {name.lower(): name for name in column_names(conn, table.name)}
    names = [*OF_CONTENTS, *FACTS]
    is_ours = table.name == schema.SOURCE_TABLE and schema.is_ours(conn)
    shared = set() if is_ours else _shared_paths(conn, table)
    if not is_ours:  # a column of this name may hold anything, such as the name of an album
        there.pop("path", None)
    for batch in batches(list(ids), IDS_A_READ):
        # Without "+", the key's affinity would keep SQLite from using the index.
        rows = conn.execute(
            f"""
            select {table.key_sql}, v.vector, v.norms, s.jpeg,
            {", ".join(fact_sql(there, name) for name in names)}
            from imgsim_vectors v cross join {table.rows_sql} on {table.key_sql} = v.image_key
            left join imgsim_thumbnails s on s.source_table = ? and s.image_key = +{table.key_sql}
            left join imgsim_contents c on c.source_table = ? and c.image_key = +{table.key_sql}
            where v.space_id = ? and v.image_key in ({", ".join("?" * len(batch))})
            order by v.image_key
            """,
            [table.name, table.name, space.id, *batch],
        ).fetchall()  # an open read would keep writers waiting while the caller writes files
        for key, vector, norms, jpeg, *values in rows:
            numbers = _numbers(vector, DTYPES[space.dtype], space.dimensions)
            if numbers is None:
                continue
            facts = {name: _readable(value) for name, value in zip(names, values)}
            path, sha256, size, mtime_ns = (facts.pop(name) for name in OF_CONTENTS)
            if not isinstance(path, str) or path in shared:
                path = _name_of_row(table, key)
            yield Record(
                path=path,
                id=str(key),
                sha256=sha256,
                bytes=size,
                mtime_ns=mtime_ns,
                facts=facts,
                vector=numbers,
                norms=_numbers(norms, "<f4", len(space.levels)),
                thumbnail=jpeg if isinstance(jpeg, bytes) else None,
            )


def _shared_paths(conn: sqlite3.Connection, table: SourceTable) -> set[str]:
    """The paths that several rows of a table of the user's own have."""
    rows = conn.execute(
        "select path from imgsim_contents where source_table = ? and path is not null "
        "group by path having count(*) > 1",
        [table.name],
    )
    return {path for (path,) in rows}


def _name_of_row(table: SourceTable, key: int | str) -> str:
    """A name that no other row has: the text 7 is not the number 7."""
    is_like_number = isinstance(key, str) and WHOLE_NUMBER.fullmatch(key)
    return f"{table.name}/{key!r}" if is_like_number else f"{table.name}/{key}"


def _readable(value):
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _numbers(blob, dtype: str, count: int) -> np.ndarray | None:
    """The numbers of a BLOB; None unless they are so many, and all finite."""
    if not isinstance(blob, bytes) or len(blob) != count * np.dtype(dtype).itemsize:
        return None
    numbers = np.frombuffer(blob, dtype)
    return numbers if np.isfinite(numbers).all() else None


def read_failed(conn: sqlite3.Connection, table: str) -> Iterator[Record]:
    """The pictures of a source table that could not be embedded."""
    rows = conn.execute(
        "select cast(source as blob), cast(error as blob), bytes, mtime_ns from imgsim_failures "
        "where source_table = ? order by source",
        [table],
    )
    for source, error, size, mtime_ns in rows:
        yield Record(_readable(source), error=_readable(error), bytes=size, mtime_ns=mtime_ns)


@dataclass(frozen=True)
class Stored:
    """What a space holds of an image that is to be imported."""

    id: int
    sha256: str | None
    mtime_ns: int | None
    vector: bytes | None
    """As stored; None if there is none in the space."""
    has_thumbnail: bool
    facts: dict
    """Values of the columns FACTS of `images`."""

    def is_newer(self, record: Record) -> bool:
        """Whether the file was changed after that of the record."""
        if self.mtime_ns is None or record.mtime_ns is None or self.sha256 == record.sha256:
            return False
        return self.mtime_ns > record.mtime_ns

    def holds(self, record: Record, vector: bytes | None) -> bool:
        """Whether the record and its encoded vector, if one is to be stored, say nothing new."""
        is_same = record.sha256 is None or record.sha256 == self.sha256
        is_complete = self.has_thumbnail or record.thumbnail is None
        return is_same and is_complete and vector in (None, self.vector) and not self.lacks(record)

    def lacks(self, record: Record) -> dict:
        """The facts of the record that are not known here."""
        return {
            name: value
            for name, value in record.facts.items()
            if value is not None and self.facts[name] is None
        }


def stored_image(conn: sqlite3.Connection, space: Space, path: str) -> Stored | None:
    """What is stored of the image with this path; None if there is none."""
    row = conn.execute(
        f"select i.id, i.sha256, i.mtime_ns, v.vector, t.image_key is not null, "
        f"{', '.join(f'i.{name}' for name in FACTS)} from images i "
        "left join imgsim_vectors v on v.space_id = ? and v.image_key = +i.id "
        "left join imgsim_thumbnails t on t.source_table = 'images' and t.image_key = +i.id "
        "where i.path = ?",
        [space.id, path],
    ).fetchone()
    if row is None:
        return None
    id, sha256, mtime_ns, vector, has_thumbnail, *facts = row
    return Stored(id, sha256, mtime_ns, vector, bool(has_thumbnail), dict(zip(FACTS, facts)))
