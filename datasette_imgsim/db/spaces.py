"""The table imgsim_spaces: how the vectors of each space were made, and statistics of them."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ImgsimError, listed
from ..limits import LIMITS
from . import schema
from .connect import Writer, batches, utc_now
from .dtypes import DTYPES
from .tables import SourceTable, column_names

ROWS_A_TRANSACTION, BYTES_A_TRANSACTION = 500, 16_000_000
SMALLEST_CENTRED_SPACE = 3
STAMPS = ("neighbours", "duplicates", "groups")
"""Columns that say, in JSON, from which generation something was made, and how."""
MOST_DIMENSIONS = 100_000_000
"""More than the largest map of any network has; a file from elsewhere could say anything."""


@dataclass(frozen=True)
class Space:
    """One row of imgsim_spaces: how its vectors were made, and statistics of them."""

    id: int
    name: str
    source_table: str
    is_default: bool
    """Whether it is the default space of its source table."""
    model: str
    weights_sha256: str
    """The digest of the model's weights, as `models.network.digest` computes it."""
    levels: dict[str, int]
    """Each level, in network order, and how many numbers of a vector it has."""
    pooling: str
    preprocess: dict
    """How pictures are prepared for the model: normalise, resize and size."""
    dtype: str
    """Of the stored numbers, a key of DTYPES."""
    precision: str
    """How the network computed at first; it does not distinguish spaces."""
    dimensions: int
    """How many numbers a vector has, all levels together."""
    generation: int
    """Raised at every change of vectors, centre or map."""
    centred_on: int
    """How many vectors the centre is the mean of; 0 if there is none."""
    level_weights: dict[str, float]
    """The default level weights."""
    versions: dict
    """The packages that made the space, and the version or file of the weights."""
    created_at: str
    """UTC, ISO 8601."""

    @property
    def slices(self) -> dict[str, slice]:
        """The part of a vector that belongs to each level, in network order."""
        slices, start = {}, 0
        for level, dimensions in self.levels.items():
            slices[level] = slice(start, start + dimensions)
            start += dimensions
        return slices

    @property
    def identity(self) -> tuple:
        """A key that no other space has, even if the database file is replaced by another."""
        return (
            self.id, self.name, self.created_at, self.source_table, self.model,
            self.weights_sha256, tuple(self.levels.items()), self.pooling,
            json.dumps(self.preprocess), self.dtype, self.precision, self.dimensions,
        )  # fmt: skip

    @property
    def rows_a_transaction(self) -> int:
        """How many vectors one transaction may write or remove, since readers wait for it."""
        vector_bytes = self.dimensions * np.dtype(DTYPES[self.dtype]).itemsize
        return min(ROWS_A_TRANSACTION, max(1, BYTES_A_TRANSACTION // vector_bytes))

    def decode(self, blob: bytes) -> np.ndarray:
        """The numbers of a stored vector, (dimensions,) float32."""
        return np.frombuffer(blob, DTYPES[self.dtype]).astype(np.float32)

    def encode(self, vector: np.ndarray) -> bytes:
        """The bytes of a vector as stored: little-endian, in the space's dtype."""
        return vector.astype(DTYPES[self.dtype]).tobytes()


SPACE_COLUMNS = (
    "id, name, source_table, is_default, model, weights_sha256, levels, pooling, preprocess, "
    "dtype, precision, dimensions, generation, centred_on, level_weights, versions, created_at"
)


def _space(row: tuple) -> Space:
    """The space of a row. Raises ImgsimError if the row is damaged.

    A database may come from elsewhere: what its rows say must not cost memory or end in errors.
    """
    values = dict(zip(SPACE_COLUMNS.split(", "), row))
    for name in ("levels", "preprocess", "level_weights", "versions"):
        try:
            values[name] = json.loads(values[name])
        except (ValueError, TypeError, RecursionError):
            values[name] = None
        if not isinstance(values[name], dict):
            raise _damaged(values["name"], name, "is no JSON object")
    for name, is_sound in SOUND.items():
        if not is_sound(values[name], values):
            raise _damaged(values["name"], name, f"cannot be {values[name]!r:.60}")
    values["is_default"] = bool(values["is_default"])
    return Space(**values)


def _damaged(space, column: str, problem: str) -> ImgsimError:
    return ImgsimError(
        f"The space {space!r:.60} is damaged (what imgsim_spaces has as {column} {problem}): "
        "restore the database from a copy"
    )


def _is_text(value, row: dict) -> bool:
    return isinstance(value, str)


def _is_count(value, row: dict) -> bool:
    return type(value) is int and value >= 0


def _are_levels(value: dict, row: dict) -> bool:
    are_counts = all(type(count) is int and count > 0 for count in value.values())
    return bool(value) and are_counts and sum(value.values()) <= MOST_DIMENSIONS


def _are_weights(value: dict, row: dict) -> bool:
    """Numbers from 0 up for some of the levels, not all of them 0."""
    weights = list(value.values())
    are_numbers = all(type(w) in (int, float) and 0 <= w <= sys.float_info.max for w in weights)
    return are_numbers and any(weights) and value.keys() <= row["levels"].keys()


def _is_preprocess(value: dict, row: dict) -> bool:
    return (
        type(value.get("size")) is int
        and 1 <= value["size"] <= LIMITS.side
        and isinstance(value.get("resize"), str)
        and isinstance(value.get("normalise"), (str, dict))
    )


SOUND: dict[str, Callable[..., bool]] = {
    "name": _is_text,
    "source_table": _is_text,
    "model": _is_text,
    "weights_sha256": _is_text,
    "pooling": _is_text,
    "precision": _is_text,
    "created_at": _is_text,
    "generation": _is_count,
    "centred_on": _is_count,
    "levels": _are_levels,
    "level_weights": _are_weights,
    "preprocess": _is_preprocess,
    "dtype": lambda value, row: value in DTYPES,
    "dimensions": lambda value, row: value == sum(row["levels"].values()),
}
"""Whether a value of a row, beside the others of the row, is one that this package writes."""


def all_spaces(conn: sqlite3.Connection, table: str | None = None) -> list[Space]:
    """All spaces, or those of one source table; defaults first, then in order of creation.

    Raises ImgsimError if one is damaged.
    """
    rows = conn.execute(
        f"""
        select {SPACE_COLUMNS} from imgsim_spaces
        where :table is null or source_table = :table
        order by is_default desc, id
        """,
        {"table": table},
    )
    return [_with_table(conn, _space(row)) for row in rows]


def _with_table(conn: sqlite3.Connection, space: Space) -> Space:
    """The space with the name of its table as it is now, which may have been changed in case."""
    name = schema.declared_name(conn, space.source_table)
    return replace(space, source_table=name or space.source_table)


def choose_space(
    conn: sqlite3.Connection,
    name: str | None = None,
    table: str | None = None,
    configured: str | None = None,
) -> Space:
    """The space called `name`; else the configured one; else the default of `table`.

    Without `table`, it is the default of `images`, else of the only table that has a space. The
    configured one may be of another table than `table`. Raises ImgsimError.
    """
    spaces = all_spaces(conn, table)
    if not spaces:
        where = f"the table {table!r}" if table else "this database"
        raise ImgsimError(
            f"There are no vectors for {where} yet: run 'datasette imgsim embed DATABASE FOLDER'"
        )
    by_name = {space.name: space for space in spaces}
    if name is not None:
        if name not in by_name:
            raise ImgsimError(f"No space {name!r}: there is {listed(by_name)}")
        return by_name[name]
    if configured in by_name:
        return by_name[configured]
    if configured is not None and configured not in [space.name for space in all_spaces(conn)]:
        raise ImgsimError(
            f"The space {configured!r}, which the configuration of the server names, is not in "
            f"this database: there is {listed(by_name)}"
        )
    defaults = {space.source_table.lower(): space for space in spaces if space.is_default}
    if schema.SOURCE_TABLE in defaults:
        return defaults[schema.SOURCE_TABLE]
    if len(defaults) == 1:
        return next(iter(defaults.values()))
    raise ImgsimError(f"Several tables have vectors: name a space, one of {listed(by_name)}")


def create_space(conn: sqlite3.Connection, **values) -> Space:
    """Inserts a space with these column values; the first of a source table is its default."""
    table = values["source_table"]
    values |= {
        "source_key": SourceTable.read(conn, table).key,
        "is_default": int(not all_spaces(conn, table)),
        "created_at": utc_now(),
    }
    row = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in values.items()}
    conn.execute(
        f"insert into imgsim_spaces ({', '.join(row)}) values ({', '.join('?' * len(row))})",
        list(row.values()),
    )
    return choose_space(conn, values["name"], table)


def read_centre(conn: sqlite3.Connection, space: Space) -> np.ndarray | None:
    """The centre of a space, (dimensions,) float32, the mean of its vectors; None without one."""
    (blob,) = conn.execute("select centre from imgsim_spaces where id = ?", [space.id]).fetchone()
    return None if blob is None else np.frombuffer(blob, "<f4")


def read_calibration(conn: sqlite3.Connection, space: Space) -> str | None:
    """The calibration of a space as `search.calibration` stored it, JSON text, or None."""
    row = conn.execute("select calibration from imgsim_spaces where id = ?", [space.id]).fetchone()
    return row and row[0]


def save_calibration(conn: sqlite3.Connection, space: Space, calibration: str) -> None:
    """Stores the calibration of a space, JSON text."""
    conn.execute("update imgsim_spaces set calibration = ? where id = ?", [calibration, space.id])


def save_versions(conn: sqlite3.Connection, space: Space, versions: dict) -> None:
    """Replaces the `versions` of a space."""
    conn.execute(
        "update imgsim_spaces set versions = ? where id = ?", [json.dumps(versions), space.id]
    )


def set_default_space(conn: Writer, space: Space) -> None:
    """Makes a space the default of its source table."""
    with conn.transaction():
        conn.execute(
            "update imgsim_spaces set is_default = (id = ?) where source_table = ?",
            [space.id, space.source_table],
        )


def drop_space(conn: Writer, space: Space) -> None:
    """Removes a space with all that is stored of it; the oldest one left becomes the default."""
    for ids in batches(embedded_ids(conn, space), space.rows_a_transaction):
        with conn.transaction():
            for table in ("imgsim_vectors", "imgsim_neighbours"):
                conn.executemany(
                    f"delete from {table} where space_id = ? and image_key = ?",
                    [(space.id, id) for id in ids],
                )
            raise_generation(conn, space)
    with conn.transaction():
        for table in schema.WITH_SPACES:
            conn.execute(f"delete from {table} where space_id = ?", [space.id])
        conn.execute("delete from imgsim_spaces where id = ?", [space.id])
        if space.is_default:
            conn.execute(
                """
                update imgsim_spaces set is_default = 1 where id =
                (select min(id) from imgsim_spaces where source_table = ?)
                """,
                [space.source_table],
            )
        if not column_names(conn, space.source_table):
            # The source table is gone too: nothing can use these rows any more.
            for table in (*schema.OF_IMAGES, "imgsim_failures"):
                conn.execute(
                    f"""
                    delete from {table} where source_table = :table
                    and not exists (select 1 from imgsim_spaces where source_table = :table)
                    """,
                    {"table": space.source_table},
                )


def embedded_ids(conn: sqlite3.Connection, space: Space) -> list:
    """The ids of the images that have a vector in a space."""
    rows = conn.execute("select image_key from imgsim_vectors where space_id = ?", [space.id])
    return [id for (id,) in rows]


def count_vectors(conn: sqlite3.Connection) -> dict[int, int]:
    """The number of vectors in each space, by space id."""
    return dict(conn.execute("select space_id, count(*) from imgsim_vectors group by space_id"))


def raise_generation(
    conn: sqlite3.Connection, space: Space, *, vectors_changed: bool = True
) -> None:
    """Marks a space as changed, so that readers reload it. Raises ImgsimError if it is gone.

    If its vectors are as they were, what was made from them stays up to date.
    """
    changes = ["generation = generation + 1"]
    if not vectors_changed:
        changes += [
            f"""{stamp} = case
                when json_valid({stamp}) and json_extract({stamp}, '$.generation') = generation
                then json_set({stamp}, '$.generation', generation + 1) else {stamp} end"""
            for stamp in STAMPS
        ]
    cursor = conn.execute(f"update imgsim_spaces set {', '.join(changes)} where id = ?", [space.id])
    if cursor.rowcount == 0:
        raise _removed(space.name)


def reread(conn: sqlite3.Connection, name: str) -> Space:
    """The space that this program worked in, as it is now. Raises ImgsimError if it is gone."""
    space = next((space for space in all_spaces(conn) if space.name == name), None)
    if space is None:
        raise _removed(name)
    return space


def _removed(name: str) -> ImgsimError:
    return ImgsimError(f"The space {name!r} was removed by another program meanwhile")


def renew_centre(conn: Writer, space: Space) -> None:
    """Computes the centre of a space that has none, or has doubled since the last time.

    The centre is the mean of each level's unit vectors. With fewer than 3 images there is none,
    since two centred vectors are always opposite.
    """
    ids = embedded_ids(conn, space)
    if len(ids) < SMALLEST_CENTRED_SPACE or len(ids) < 2 * space.centred_on:
        return
    total, count = np.zeros(space.dimensions, np.float64), 0
    # Vectors are read one at a time, since a long read would keep other writers waiting.
    for id in ids:
        row = conn.execute(
            "select vector from imgsim_vectors where space_id = ? and image_key = ?", [space.id, id]
        ).fetchone()
        vector = space.decode(row[0]) if row else None
        # One damaged vector must not spoil the mean of all.
        if vector is not None and len(vector) == len(total) and np.isfinite(vector).all():
            total += vector
            count += 1
    mean = (total / max(count, 1)).astype("<f4").tobytes()
    with conn.transaction():
        conn.execute(
            "update imgsim_spaces set centre = ?, centred_on = ? where id = ?",
            [mean, count, space.id],
        )
        raise_generation(conn, space)


def read_numbers(
    conn: sqlite3.Connection, space: Space, column: str, names: Sequence[str]
) -> list[int] | None:
    """Whole numbers from 0 in a JSON column of a space; None if one is missing or damaged."""
    row = conn.execute(f"select {column} from imgsim_spaces where id = ?", [space.id]).fetchone()
    try:
        stored = json.loads(row[0] or "")
        numbers = [stored[name] for name in names]
    except (ValueError, TypeError, KeyError):
        return None
    return numbers if all(type(number) is int and number >= 0 for number in numbers) else None


def save_numbers(
    conn: sqlite3.Connection, space: Space, column: str, numbers: dict[str, int]
) -> None:
    """Stores them, by their names."""
    sql = f"update imgsim_spaces set {column} = ? where id = ?"
    conn.execute(sql, [json.dumps(numbers), space.id])
