"""Reads and writes of the tables; one short transaction a batch."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlite_utils

from . import schema
from .errors import ImgsimError

# The largest there is. Vectors of 640 float16 numbers fill such pages to 99 %, thumbnails of 5 to
# 12 KB to 88 % or more; pages of 8,192 bytes they fill to 82 % and to 75 to 90 %.
PAGE_SIZE = 65536
WRITER_WAITS_SECONDS = 600
READER_WAITS_SECONDS = 5
ROWS_A_TRANSACTION, BYTES_A_TRANSACTION = 500, 16_000_000
SMALLEST_CENTRED_SPACE = 3
FACTS = schema.IMAGES_COLUMNS[5:]  # what a picture's content says, beside its hash and size
DTYPES = {"float16": "<f2", "float32": "<f4"}


@dataclass(frozen=True)
class Space:
    """One row of imgsim_spaces: what makes vectors comparable, and the statistics of the whole."""

    id: int
    name: str
    source_table: str
    is_default: bool
    model: str
    weights_sha256: str
    levels: dict[str, int]
    pooling: str
    preprocess: dict
    dtype: str
    precision: str
    dimensions: int
    generation: int
    centred_on: int
    level_weights: dict[str, float]
    versions: dict
    created_at: str

    @property
    def slices(self) -> dict[str, slice]:
        """Where each level's numbers lie within a vector, in network order."""
        found, start = {}, 0
        for level, dimensions in self.levels.items():
            found[level] = slice(start, start + dimensions)
            start += dimensions
        return found

    @property
    def rows_a_transaction(self) -> int:
        """How many vectors to write or remove at once: readers wait for the transaction."""
        vector_bytes = self.dimensions * np.dtype(DTYPES[self.dtype]).itemsize
        return min(ROWS_A_TRANSACTION, max(1, BYTES_A_TRANSACTION // vector_bytes))

    def decode(self, blob: bytes) -> np.ndarray:
        """The float32 numbers (dimensions,) of a stored vector."""
        return np.frombuffer(blob, DTYPES[self.dtype]).astype(np.float32)

    def encode(self, vector: np.ndarray) -> bytes:
        """The bytes of a vector as stored: little-endian, in the space's dtype."""
        return vector.astype(DTYPES[self.dtype]).tobytes()


SPACE_COLUMNS = (
    "id, name, source_table, is_default, model, weights_sha256, levels, pooling, preprocess, "
    "dtype, precision, dimensions, generation, centred_on, level_weights, versions, created_at"
)


def _space(row: tuple) -> Space:
    """Raises ImgsimError for a row that is damaged."""
    values = dict(zip(SPACE_COLUMNS.split(", "), row))
    for name in ("levels", "preprocess", "level_weights", "versions"):
        try:
            values[name] = json.loads(values[name])
        except (ValueError, TypeError, RecursionError):
            values[name] = None
        if not isinstance(values[name], dict):
            raise ImgsimError(
                f"The space {values['name']!r} is damaged (what imgsim_spaces has as {name} is no "
                "JSON object): restore the database from a copy"
            )
    values["is_default"] = bool(values["is_default"])
    return Space(**values)


# Opening


@contextmanager
def errors_named(path) -> Iterator[None]:
    """Turns SQLite's errors about the file `path` into sentences."""
    try:
        yield
    except sqlite3.DatabaseError as ex:
        text = str(ex)
        for part, sentence in (
            ("not a database", f"{path} is not a SQLite database: name another file"),
            ("malformed", f"{path} is damaged ({text}): restore it from a copy"),
            ("readonly", f"{path} is read-only: make the file and its folder writable"),
            ("unable to open", f"{path} cannot be opened: check that its folder exists and "
                               "that you may read and write there"),
            ("full", f"No space is left on the disk of {path}: what was stored before is safe; "
                     "free some space and run the command again"),
            ("disk I/O", f"Reading or writing {path} failed (disk I/O error; the disk may be "
                         "full): what was stored before is safe; run the command again"),
            ("locked", f"{path} is in use by another program that keeps it locked: try again "
                       "when that has ended"),
        ):  # fmt: skip
            if part in text:
                raise ImgsimError(sentence) from ex
        raise


class Writer(sqlite3.Connection):
    """A connection on which every statement waits for programs that have the database locked.

    SQLite's own waiting could not be ended with Ctrl-C, and says nothing.
    """

    waiting: Callable[[], None] = staticmethod(lambda: None)
    """Called once, when there is something to wait for."""

    def execute(self, *args):
        deadline = time.monotonic() + WRITER_WAITS_SECONDS
        while True:
            try:
                return super().execute(*args)
            except sqlite3.OperationalError as ex:
                if "locked" not in str(ex) or time.monotonic() > deadline:
                    raise
            self.waiting()
            self.waiting = lambda: None
            time.sleep(0.05)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One short transaction; what raises is rolled back.

        Exclusive from the start: a commit that had to wait for a slow reader would lock out all
        the others meanwhile.
        """
        self.execute("begin exclusive")
        try:
            yield
            self.execute("commit")
        except BaseException:
            if self.in_transaction:
                self.execute("rollback")
            raise


def open_writer(
    path: str | Path,
    waiting: Callable[[], None] = lambda: None,
    create: bool = False,
    images: bool = True,
) -> Writer:
    """Opens a database that holds images and brings its tables up to date.

    With `create`, makes the tables where there are none, and the file; without `images`, only the
    tables that hold what is made of pictures, in a file that exists. `waiting` is called when
    another program has the database locked. Raises ImgsimError.
    """
    if not create or not images:
        _refuse_absent(path)
    is_new = not os.path.exists(path)
    with errors_named(path):
        # The short timeout is how long each of the Writer's attempts may hold readers back.
        conn = sqlite3.connect(path, timeout=0.1, isolation_level=None, factory=Writer)
        try:
            conn.waiting = waiting
            conn.execute(f"pragma page_size = {PAGE_SIZE}")  # heeded by an empty database only
            with conn.transaction():
                _prepare(conn, path, create, images)
        except BaseException as ex:
            conn.close()
            if is_new and isinstance(ex, sqlite3.Error):
                _remove_empty(path)
            raise
    return conn


def _prepare(conn: Writer, path: str | Path, create: bool, images: bool) -> None:
    """Makes or upgrades our tables, unless something speaks against it. Raises ImgsimError."""
    names = schema.tables(conn)
    if not create and "imgsim_spaces" not in names:
        raise _holds_nothing(path)
    try:
        schema.check_version(conn)
    except schema.OlderDatabase:
        pass  # it is upgraded here
    if not images:
        pass
    elif schema.SOURCE_TABLE in names:
        if not schema.is_ours(conn):
            if create:
                raise ImgsimError(
                    f"{path} has a table 'images' that was not made by datasette-imgsim: "
                    "name another database file"
                )
    elif create:
        conn.execute(schema.IMAGES_SQL)
    schema.migrations.apply(sqlite_utils.Database(conn))


def _remove_empty(path: str | Path) -> None:
    """Takes away the empty file that is left where a database could not be made."""
    if os.path.exists(path) and os.path.getsize(path) == 0:
        os.remove(path)


def open_reader(path: str | Path) -> sqlite3.Connection:
    """Opens a database that holds images, read-only. Raises ImgsimError."""
    _refuse_absent(path)
    with errors_named(path):
        if os.path.exists(f"{path}-journal"):
            _roll_back(path)
        uri = f"file:{_quote(path)}?mode=ro"
        conn = sqlite3.connect(uri, uri=True, timeout=READER_WAITS_SECONDS)
        try:
            if "imgsim_spaces" not in schema.tables(conn):
                raise _holds_nothing(path)
            schema.check_version(conn)
        except BaseException:
            conn.close()
            raise
    return conn


def open_any(path: str | Path) -> sqlite3.Connection:
    """Opens a database read-only, whether or not it holds images yet. Raises ImgsimError."""
    _refuse_absent(path)
    with errors_named(path):
        uri = f"file:{_quote(path)}?mode=ro"
        conn = sqlite3.connect(uri, uri=True, timeout=READER_WAITS_SECONDS)
        try:
            schema.tables(conn)
        except BaseException:
            conn.close()
            raise
    return conn


def _roll_back(path: str | Path) -> None:
    """Undoes a transaction whose program was killed, which a read-only connection may not do."""
    with closing(sqlite3.connect(path, timeout=READER_WAITS_SECONDS)) as conn:
        conn.execute("select 1 from sqlite_master").fetchone()


def _refuse_absent(path: str | Path) -> None:
    if not os.path.exists(path):
        raise ImgsimError(
            f"{path} does not exist: make it with 'datasette imgsim embed {path} FOLDER'"
        )


def _holds_nothing(path: str | Path) -> ImgsimError:
    return ImgsimError(
        f"{path} holds no images yet: 'datasette imgsim embed {path} FOLDER' adds them"
    )


def _quote(path: str | Path) -> str:
    return urllib.parse.quote(os.fsencode(os.path.abspath(path)))


# Spaces


def spaces(conn: sqlite3.Connection, table: str | None = None) -> list[Space]:
    """All spaces, or those of one source table; defaults first, then in order of creation.

    Raises ImgsimError where one is damaged.
    """
    rows = conn.execute(
        f"""
        select {SPACE_COLUMNS} from imgsim_spaces
        where :table is null or source_table = :table
        order by is_default desc, id
        """,
        {"table": table},
    )
    return [_space(row) for row in rows]


def choose_space(
    conn: sqlite3.Connection,
    name: str | None = None,
    table: str | None = None,
    configured: str | None = None,
) -> Space:
    """The space called `name`; else the configured one; else the default of `table`.

    Without `table`: of `images`, else of the only table that has a space. Raises ImgsimError.
    """
    found = spaces(conn, table)
    if not found:
        where = f"the table {table!r}" if table else "this database"
        raise ImgsimError(
            f"There are no vectors for {where} yet: run 'datasette imgsim embed DATABASE FOLDER'"
        )
    by_name = {space.name: space for space in found}
    if name is not None:
        if name not in by_name:
            raise ImgsimError(f"No space {name!r}: there is {listed(by_name)}")
        return by_name[name]
    if configured in by_name:
        return by_name[configured]
    defaults = {space.source_table: space for space in found if space.is_default}
    if schema.SOURCE_TABLE in defaults:
        return defaults[schema.SOURCE_TABLE]
    if len(defaults) == 1:
        return next(iter(defaults.values()))
    raise ImgsimError(f"Several tables have vectors: name a space, one of {listed(by_name)}")


def listed(names: Iterable[str]) -> str:
    """'a, b and c'."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def create_space(conn: sqlite3.Connection, **values) -> Space:
    """Inserts a space; the first of its source table becomes the default."""
    table = values["source_table"]
    values |= {"is_default": int(not spaces(conn, table)), "created_at": now()}
    row = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in values.items()}
    conn.execute(
        f"insert into imgsim_spaces ({', '.join(row)}) values ({', '.join('?' * len(row))})",
        list(row.values()),
    )
    return choose_space(conn, values["name"], table)


def centre(conn: sqlite3.Connection, space: Space) -> np.ndarray | None:
    """The mean of each level's unit vectors (dimensions,), or None while there are too few."""
    (blob,) = conn.execute("select centre from imgsim_spaces where id = ?", [space.id]).fetchone()
    return None if blob is None else np.frombuffer(blob, "<f4")


def calibration(conn: sqlite3.Connection, space: Space) -> str | None:
    """What `search.calibration` has stored of a space, or None."""
    row = conn.execute("select calibration from imgsim_spaces where id = ?", [space.id]).fetchone()
    return row and row[0]


def save_calibration(conn: sqlite3.Connection, space: Space, calibration: str) -> None:
    conn.execute("update imgsim_spaces set calibration = ? where id = ?", [calibration, space.id])


def save_versions(conn: sqlite3.Connection, space: Space, versions: dict) -> None:
    conn.execute(
        "update imgsim_spaces set versions = ? where id = ?", [json.dumps(versions), space.id]
    )


def set_default(conn: Writer, space: Space) -> None:
    with conn.transaction():
        conn.execute(
            "update imgsim_spaces set is_default = (id = ?) where source_table = ?",
            [space.id, space.source_table],
        )


def drop_space(conn: Writer, space: Space) -> None:
    """Removes a space with its vectors and atlas; the oldest one left becomes the default."""
    for ids in pieces(image_ids(conn, space), space.rows_a_transaction):
        with conn.transaction():
            conn.executemany(
                "delete from imgsim_vectors where space_id = ? and image_id = ?",
                [(space.id, id) for id in ids],
            )
            raise_generation(conn, space)
    with conn.transaction():
        for table in ("imgsim_vectors", "imgsim_atlas"):
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
            # Of a table that is gone, nothing must stay that nobody can ask for any more.
            for table in ("imgsim_thumbnails", "imgsim_failures", "imgsim_contents"):
                conn.execute(
                    f"""
                    delete from {table} where source_table = :table
                    and not exists (select 1 from imgsim_spaces where source_table = :table)
                    """,
                    {"table": space.source_table},
                )


def image_ids(conn: sqlite3.Connection, space: Space) -> list:
    """The images that have a vector in a space."""
    rows = conn.execute("select image_id from imgsim_vectors where space_id = ?", [space.id])
    return [id for (id,) in rows]


def pieces(items: list, size: int) -> Iterator[list]:
    """The items, `size` at a time: readers must not wait for a long transaction."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def counts(conn: sqlite3.Connection) -> dict[int, int]:
    """Vectors per space id."""
    return dict(conn.execute("select space_id, count(*) from imgsim_vectors group by space_id"))


# Images


@dataclass(frozen=True)
class Known:
    """An image of the source table, as far as it decides what is to do."""

    id: int | str
    path: int | str
    sha256: str | None
    bytes: int | None
    mtime_ns: int | None
    embedded: bool
    """Whether it has a vector in the space that is worked on."""


def known_images(conn: sqlite3.Connection, space: Space | None) -> list[Known]:
    # "+" takes away the affinity of i.id, for which SQLite would not use the index.
    rows = conn.execute(
        """
        select i.id, i.path, i.sha256, i.bytes, i.mtime_ns, v.image_id is not null
        from images i left join imgsim_vectors v on v.space_id = ? and v.image_id = +i.id
        """,
        [space.id if space else None],
    )
    return [Known(*row[:5], bool(row[5])) for row in rows]


def known_rows(conn: sqlite3.Connection, space: Space | None, table: str) -> list[Known]:
    """The rows of somebody's own table that were embedded; their key stands for a path."""
    key = f"t.{quoted(primary_key(conn, table)[0])}"
    rows = conn.execute(
        f"""
        select {key}, {key}, c.sha256, c.bytes, c.mtime_ns, v.image_id is not null
        from {quoted(table)} t
        join imgsim_contents c on c.source_table = ? and c.image_id = +{key}
        left join imgsim_vectors v on v.space_id = ? and v.image_id = +{key}
        """,
        [table, space.id if space else None],
    )
    return [Known(*row[:5], bool(row[5])) for row in rows]


def save_content(conn: sqlite3.Connection, table: str, id, sha256: str, size, mtime_ns) -> None:
    """Notes what the picture of a row is; one that is another now loses what was made of it."""
    present = conn.execute(
        "select sha256 from imgsim_contents where source_table = ? and image_id = ?", [table, id]
    ).fetchone()
    if present and present[0] != sha256:
        forget(conn, table, [id])
    conn.execute(
        "insert or replace into imgsim_contents (source_table, image_id, sha256, bytes, mtime_ns) "
        "values (?, ?, ?, ?, ?)",
        [table, id, sha256, size, mtime_ns],
    )


def image_at(conn: sqlite3.Connection, path: str) -> tuple[int, str | None] | None:
    """(id, sha256) of the image with this path."""
    return conn.execute("select id, sha256 from images where path = ?", [path]).fetchone()


def save_image(conn: sqlite3.Connection, values: dict) -> int:
    """Inserts a row of images, or updates that of the same path; gives its id.

    A row whose content is another now loses all that was made of the old content.
    """
    present = image_at(conn, values["path"])
    if present and present[1] != values["sha256"]:
        forget(conn, schema.SOURCE_TABLE, [present[0]])
        values = dict.fromkeys(FACTS) | values
    sql = f"""
        insert into images ({", ".join(values)}) values ({", ".join("?" * len(values))})
        on conflict (path) do update set
        {", ".join(f"{column} = excluded.{column}" for column in values)}
        returning id
    """
    (id,) = conn.execute(sql, list(values.values())).fetchone()
    return id


def rename_image(conn: sqlite3.Connection, image: Known, path: str) -> bool:
    """Gives an image another path, unless either has changed hands; says whether it did."""
    changed = conn.execute(
        """
        update images set path = :new where id = :id and path = :old
        and not exists (select 1 from images where path = :new)
        """,
        {"new": path, "id": image.id, "old": image.path},
    )
    return changed.rowcount == 1


def forget(conn: sqlite3.Connection, table: str, ids: Iterable) -> None:
    """Removes the vectors, thumbnails and atlas points of images that changed or are gone."""
    ids = list(ids)
    of_space = "space_id in (select id from imgsim_spaces where source_table = ?)"
    for name, owner in (
        ("imgsim_vectors", of_space),
        ("imgsim_atlas", of_space),
        ("imgsim_thumbnails", "source_table = ?"),
        ("imgsim_contents", "source_table = ?"),
    ):
        conn.executemany(
            f"delete from {name} where {owner} and image_id = ?", [(table, id) for id in ids]
        )
    if ids:
        conn.execute(
            "update imgsim_spaces set generation = generation + 1 where source_table = ?", [table]
        )


def save_vectors(conn: sqlite3.Connection, space: Space, rows: Iterable[tuple]) -> None:
    """Writes (image id, vector (dimensions,), norms (levels,))."""
    conn.executemany(
        "insert or replace into imgsim_vectors (space_id, image_id, vector, norms) "
        "values (?, ?, ?, ?)",
        [
            (space.id, id, space.encode(vector), norms.astype("<f4").tobytes())
            for id, vector, norms in rows
        ],
    )


def facts(conn: sqlite3.Connection, id: int) -> dict:
    """What the file's content says of an image: size, format, EXIF; empty where it is gone."""
    row = conn.execute(f"select {', '.join(FACTS)} from images where id = ?", [id]).fetchone()
    return dict(zip(FACTS, row or ()))


def copy_vector(conn: sqlite3.Connection, space: Space, source: int, target: int) -> None:
    """Gives an image the vector and thumbnail of another with the same content."""
    conn.execute(
        """
        insert or replace into imgsim_vectors (space_id, image_id, vector, norms)
        select space_id, ?, vector, norms from imgsim_vectors where space_id = ? and image_id = ?
        """,
        [target, space.id, source],
    )
    conn.execute(
        """
        insert or ignore into imgsim_thumbnails (source_table, image_id, jpeg)
        select source_table, ?, jpeg from imgsim_thumbnails
        where source_table = ? and image_id = ?
        """,
        [target, space.source_table, source],
    )


def raise_generation(conn: sqlite3.Connection, space: Space) -> None:
    """Tells readers that a space has changed. Raises ImgsimError where it is gone."""
    changed = conn.execute(
        "update imgsim_spaces set generation = generation + 1 where id = ?", [space.id]
    )
    if changed.rowcount == 0:
        raise ImgsimError(f"The space {space.name!r} was removed by another program meanwhile")


def save_thumbnails(conn: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Writes (image id, JPEG bytes) where there is none yet: `forget` removes outdated ones."""
    conn.executemany(
        "insert or ignore into imgsim_thumbnails (source_table, image_id, jpeg) values (?, ?, ?)",
        [(table, id, jpeg) for id, jpeg in rows],
    )


def thumbnail(conn: sqlite3.Connection, table: str, id) -> bytes | None:
    """The JPEG bytes of an image's thumbnail; None where there is none, or no BLOB."""
    row = conn.execute(
        "select jpeg from imgsim_thumbnails "
        "where source_table = ? and image_id = ? and typeof(jpeg) = 'blob'",
        [table, id],
    ).fetchone()
    return row and row[0]


def failures(conn: sqlite3.Connection, table: str) -> dict[str, tuple]:
    """Each source that failed -> (bytes, mtime_ns) when it did."""
    rows = conn.execute(
        "select source, bytes, mtime_ns from imgsim_failures where source_table = ?", [table]
    )
    return {source: (size, mtime_ns) for source, size, mtime_ns in rows}


def save_failures(conn: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Writes (source, error, bytes, mtime_ns)."""
    conn.executemany(
        "insert or replace into imgsim_failures "
        "(source_table, source, error, bytes, mtime_ns, tried_at) values (?, ?, ?, ?, ?, ?)",
        [(table, *row, now()) for row in rows],
    )


def clear_failures(conn: sqlite3.Connection, table: str, sources: Iterable[str]) -> None:
    conn.executemany(
        "delete from imgsim_failures where source_table = ? and source = ?",
        [(table, source) for source in sources],
    )


def remove_images(conn: Writer, images: list[Known], is_gone: Callable[[Known], bool]) -> int:
    """Deletes rows of images with all that was made of them; how many.

    Those stay whose file is back by now, or whose row another program gave to another file.
    """
    count = 0
    size = min(space.rows_a_transaction for space in spaces(conn, schema.SOURCE_TABLE))
    for some in pieces(images, size):
        still_gone = [image for image in some if is_gone(image)]
        with conn.transaction():
            deleted = [image.id for image in still_gone if _delete_image(conn, image)]
            forget(conn, schema.SOURCE_TABLE, deleted)
        count += len(deleted)
    return count


def _delete_image(conn: sqlite3.Connection, image: Known) -> bool:
    deleted = conn.execute("delete from images where id = ? and path = ?", [image.id, image.path])
    return deleted.rowcount == 1


def forget_orphans(conn: Writer, table: str) -> None:
    """Removes what was made of images whose row has been deleted by hand."""
    key, _ = primary_key(conn, table)
    # Qualified throughout: somebody's table may have columns of our names.
    gone = f"not exists (select 1 from {quoted(table)} s where s.{quoted(key)} = ours.image_id)"
    of_space = "ours.space_id in (select id from imgsim_spaces where source_table = :table)"
    orphans = conn.execute(
        f"""
        select ours.image_id from imgsim_vectors ours where {of_space} and {gone}
        union
        select ours.image_id from imgsim_atlas ours where {of_space} and {gone}
        union
        select ours.image_id from imgsim_thumbnails ours
        where ours.source_table = :table and {gone}
        union
        select ours.image_id from imgsim_contents ours
        where ours.source_table = :table and {gone}
        """,
        {"table": table},
    ).fetchall()
    forget_in_pieces(conn, table, [id for (id,) in orphans])


def forget_in_pieces(conn: Writer, table: str, ids: list) -> None:
    """As `forget`, in transactions that are short."""
    size = min(space.rows_a_transaction for space in spaces(conn, table))
    for some in pieces(ids, size):
        with conn.transaction():
            forget(conn, table, some)


def centre_if_due(conn: Writer, space: Space) -> None:
    """Computes the space's mean where it has none, or has doubled since it was computed.

    The mean of each level's unit vectors; with fewer than 3 images it says nothing and stays
    empty (two centred vectors are always opposite).
    """
    ids = image_ids(conn, space)
    if len(ids) < SMALLEST_CENTRED_SPACE or len(ids) < 2 * space.centred_on:
        return
    total, count = np.zeros(space.dimensions, np.float64), 0
    # One at a time, since a long read would keep other writers waiting.
    for id in ids:
        row = conn.execute(
            "select vector from imgsim_vectors where space_id = ? and image_id = ?", [space.id, id]
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


# The atlas


def atlas(conn: sqlite3.Connection, space: Space) -> tuple[list, np.ndarray, np.ndarray]:
    """The map of a space: ids in ascending order, positions (n, 2) float64 and fitted (n,) bool.

    Only of images that still are in their table; from one query, so always of one map.
    """
    key = f"s.{quoted(primary_key(conn, space.source_table)[0])}"
    rows = conn.execute(
        f"""
        select {key}, a.x, a.y, a.placed = 'fitted' from imgsim_atlas a
        cross join {quoted(space.source_table)} s on {key} = a.image_id
        where a.space_id = ? and typeof({key}) in ('integer', 'text') order by a.image_id
        """,
        [space.id],
    ).fetchall()
    ids, x, y, fitted = zip(*rows) if rows else ((), (), (), ())
    return list(ids), np.column_stack([x, y]).astype(np.float64), np.array(fitted, bool)


def save_atlas(conn: Writer, space: Space, rows: Iterable[tuple], replace: bool) -> None:
    """Writes (image id, x, y, placed) in one transaction, so that no reader sees half a map.

    `replace` removes the map that was there; otherwise a point that is there stays as it is.
    """
    with conn.transaction():
        if replace:
            conn.execute("delete from imgsim_atlas where space_id = ?", [space.id])
        conn.executemany(
            "insert into imgsim_atlas (space_id, image_id, x, y, placed) values (?, ?, ?, ?, ?) "
            "on conflict do nothing",
            ((space.id, *row) for row in rows),
        )
        raise_generation(conn, space)


def has_atlas(conn: sqlite3.Connection, space: Space) -> bool:
    """Whether the space has a map."""
    row = conn.execute("select 1 from imgsim_atlas where space_id = ? limit 1", [space.id])
    return row.fetchone() is not None


def place(conn: sqlite3.Connection, space: Space, id) -> tuple[float, float, bool] | None:
    """(x, y, whether it was laid out with the others) of one image on the map of a space."""
    return conn.execute(
        "select x, y, placed = 'fitted' from imgsim_atlas where space_id = ? and image_id = ?",
        [space.id, id],
    ).fetchone()


# Source tables


def primary_key(conn: sqlite3.Connection, table: str) -> tuple[str, str]:
    """(column, affinity) of a source table's key; affinity is 'integer', 'text' or 'blob'.

    Raises ImgsimError for a compound key, and where the table is gone.
    """
    columns = conn.execute("select name, type, pk from pragma_table_info(?)", [table]).fetchall()
    if not columns:
        raise _gone(conn, table)
    keys = [(name, declared) for name, declared, pk in columns if pk]
    if len(keys) > 1:
        raise ImgsimError(
            f"The table {table!r} has a compound primary key ({listed(k for k, _ in keys)}): "
            "use a table whose key is one column"
        )
    if not keys:
        return "rowid", "integer"
    column, declared = keys[0]
    declared = declared.upper()
    if "INT" in declared:
        return column, "integer"
    if any(part in declared for part in ("CHAR", "CLOB", "TEXT")):
        return column, "text"
    return column, "blob"


def check_column(conn: sqlite3.Connection, table: str, column: str, hint: str = "") -> None:
    """Raises ImgsimError unless the table has the column; generated ones count.

    `hint` ends the sentence about a column that is not there.
    """
    names = column_names(conn, table)
    if not names:
        raise _gone(conn, table)
    if column not in names:
        raise ImgsimError(
            f"The table {table!r} has no column {column!r}: there is {listed(names)}{hint}"
        )


def column_names(conn: sqlite3.Connection, table: str) -> list[str]:
    """Of a table, generated ones with them; none where there is no such table."""
    return [name for (name,) in conn.execute("select name from pragma_table_xinfo(?)", [table])]


def _gone(conn: sqlite3.Connection, table: str) -> ImgsimError:
    names = conn.execute("select name from imgsim_spaces where source_table = ?", [table])
    return ImgsimError(
        f"The table {table!r} is gone, whose images are in the space "
        f"{' and '.join(repr(name) for (name,) in names)}: bring it back, or remove the space "
        "with 'datasette imgsim drop DB SPACE'"
    )


def column(
    conn: sqlite3.Connection, table: str, name: str, ids: list | None = None
) -> Iterator[tuple]:
    """(key, value) of each row of a source table, or of some; without those that are null.

    Text that is no UTF-8 comes with replacement characters.
    """
    key, wanted = quoted(primary_key(conn, table)[0]), quoted(name)
    some = "1" if ids is None else f"{key} in (select value from json_each(:ids))"
    for id, kind, value in conn.execute(
        f"select {key}, typeof({wanted}), "
        f"iif(typeof({wanted}) = 'text', cast({wanted} as blob), {wanted}) "
        f"from {quoted(table)} where {wanted} is not null and {some}",
        {"ids": json.dumps(ids)},
    ):
        yield id, value.decode(errors="replace") if kind == "text" else value


def quoted(name: str) -> str:
    """A table or column name as an SQL identifier."""
    return '"{}"'.format(name.replace('"', '""'))


def now() -> str:
    """The UTC time as ISO 8601 text."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
