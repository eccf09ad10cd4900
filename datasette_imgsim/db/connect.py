"""Opens database files: for one writer at a time, and read-only."""

from __future__ import annotations

import datetime
import os
import shlex
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlite_utils

from .. import sqlite_errors
from ..errors import ImgsimError
from . import schema, versions

# SQLite's largest. Vectors of 640 float16 numbers fill 99 % of such pages, thumbnails of 5 to 12 KB
# fill 88 % or more; of pages of 8,192 bytes they fill 82 %, and 75 to 90 %. But each table has at
# least one page, so a small database has small ones.
PAGE_SIZE, SMALL_PAGE_SIZE = 65536, 8192
MANY_IMAGES = 1_000
"""A new database for at least so many images has large pages."""
WRITER_WAITS_SECONDS = 600
READER_WAITS_SECONDS = 5


LOCKED = "SQLITE_BUSY"
SENTENCES = {
    "SQLITE_NOTADB": "{path} is not a SQLite database: name another file",
    "SQLITE_CORRUPT": "{path} is damaged ({error}): restore it from a copy",
    "SQLITE_READONLY": "{path} is read-only: make the file and its folder writable",
    "SQLITE_CANTOPEN": "{path} cannot be opened: check that its folder exists and that you may "
    "read and write there",
    "SQLITE_FULL": "No space is left on the disk of {path}: what was stored before is safe; free "
    "some space and run the command again",
    "SQLITE_IOERR": "Reading or writing {path} failed (disk I/O error; the disk may be full): what "
    "was stored before is safe; run the command again",
    "SQLITE_CONSTRAINT": "{path} refuses what is to be stored ({error}): change or drop that "
    "index, trigger or constraint",
    LOCKED: "{path} is in use by another program that keeps it locked: try again when that has "
    "ended",
}
# Errors of the sqlite3 module itself, and those of Python 3.10, have no name: their text tells.
TEXTS = {
    "not a database": "SQLITE_NOTADB",
    "malformed": "SQLITE_CORRUPT",
    "Could not decode": "SQLITE_CORRUPT",
    "readonly": "SQLITE_READONLY",
    "unable to open": "SQLITE_CANTOPEN",
    "full": "SQLITE_FULL",
    "disk I/O": "SQLITE_IOERR",
    "constraint failed": "SQLITE_CONSTRAINT",
    "locked": LOCKED,
}


def _error_name(ex: Exception) -> str | None:
    """SQLite's primary result code (https://sqlite.org/rescode.html) if it is in SENTENCES."""
    name = getattr(ex, "sqlite_errorname", None)
    if name is None:
        return next((code for text, code in TEXTS.items() if text in str(ex)), None)
    if name.startswith("SQLITE_LOCKED"):  # by another connection of this process
        return LOCKED
    return next((code for code in SENTENCES if name.startswith(code)), None)


def has_sentence(ex: Exception) -> bool:
    """Whether an error is about the whole database, and `errors_named` has a sentence for it."""
    return _error_name(ex) is not None


@contextmanager
def errors_named(path) -> Iterator[None]:
    """Turns SQLite's errors about the file `path` into sentences."""
    try:
        yield
    except sqlite_errors.DatabaseError as ex:
        sentence = SENTENCES.get(_error_name(ex) or "")
        if sentence is None:
            raise
        raise ImgsimError(sentence.format(path=path, error=ex)) from ex


class Writer(sqlite3.Connection):
    """A connection whose statements wait while another program has the database locked.

    Unlike SQLite's own waiting, this can be ended with Ctrl-C and is reported to the user.
    """

    waiting: Callable[[], None] = staticmethod(lambda: None)
    """Called the first time that a statement has to wait."""

    def execute(self, *args):
        """Like `sqlite3.Connection.execute`, but tries for up to WRITER_WAITS_SECONDS."""
        deadline = time.monotonic() + WRITER_WAITS_SECONDS
        while True:
            try:
                return super().execute(*args)
            except sqlite_errors.OperationalError as ex:
                if _error_name(ex) != LOCKED or time.monotonic() > deadline:
                    raise
            self.waiting()
            self.waiting = lambda: None
            time.sleep(0.05)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One short transaction, which an exception rolls back.

        It is exclusive from the start: a commit that waits for a slow reader would lock out all
        other readers meanwhile.
        """
        self.execute("begin exclusive")
        try:
            yield
            self.execute("commit")
        except BaseException:
            if self.in_transaction:
                self.execute("rollback")
            raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction, which an exception rolls back alone."""
        self.execute("savepoint part")
        try:
            yield
        except BaseException:
            if self.in_transaction:
                self.execute("rollback to part")
                self.execute("release part")
            raise
        self.execute("release part")


def open_writer(
    path: str | Path,
    waiting: Callable[[], None] = lambda: None,
    create: bool = False,
    images: bool = True,
    expected: int = 0,
) -> Writer:
    """Opens a database for writing and upgrades its tables.

    With `create`, a missing file and missing tables are made. Without `images`, for a source table
    of the user's own, the file must exist and the table `images` is not made. `waiting` is called
    when another program has the database locked. `expected` is the number of images that a new
    database is made for. Raises ImgsimError.
    """
    if not create or not images:
        _refuse_absent(path)
    is_new = not os.path.exists(path)
    with errors_named(path):
        # Each attempt of the Writer may hold readers back for as long as this timeout.
        conn = sqlite3.connect(path, timeout=0.1, isolation_level=None, factory=Writer)
        try:
            conn.waiting = waiting
            page_size = PAGE_SIZE if expected >= MANY_IMAGES else SMALL_PAGE_SIZE
            conn.execute(f"pragma page_size = {page_size}")  # has no effect in a filled one
            with conn.transaction():
                _prepare(conn, path, create, images)
        except BaseException as ex:
            conn.close()
            if is_new and isinstance(ex, sqlite_errors.Error):
                _remove_empty(path)
            raise
    return conn


def _prepare(conn: Writer, path: str | Path, create: bool, images: bool) -> None:
    """Makes or upgrades our tables. Raises ImgsimError where that is not allowed."""
    names = schema.tables(conn)
    if not create and "imgsim_spaces" not in names:
        raise _holds_nothing(path)
    try:
        versions.check_version(conn)
    except versions.OlderDatabase:
        pass  # it is upgraded here
    if not images:
        pass
    elif schema.SOURCE_TABLE in names:
        if create and not schema.is_ours(conn):
            raise _not_ours(conn, path)
    elif create:
        conn.execute(schema.IMAGES_SQL)
    versions.migrations.apply(sqlite_utils.Database(conn))


def _not_ours(conn: sqlite3.Connection, path: str | Path) -> ImgsimError:
    """The sentence about a table `images` that pictures cannot be embedded into."""
    missing = schema.missing_columns(conn)
    if not missing:
        return ImgsimError(
            f"{path} has a table 'images' that was not made by datasette-imgsim: "
            "name another database file"
        )
    name = missing[0]
    text = f"The table 'images' of {path} has no column {name!r} any more: rename it back"
    if name not in ("id", "path"):  # an empty one would do
        words = ["sqlite-utils", "add-column", str(path), "images", name, schema.IMAGES_TYPES[name]]
        text += f", or add an empty one with '{shlex.join(words)}'"
    return ImgsimError(text)


def _remove_empty(path: str | Path) -> None:
    """Removes the empty file that remains when a database could not be made."""
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
            versions.check_version(conn)
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
    """Rolls back the transaction of a killed program, which a read-only connection cannot do."""
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


def folder_of(path: str | Path) -> Path:
    """The real path of the folder that a database is in, which stored paths are relative to.

    The file itself may be a link: paths are relative to the folder of the link.
    """
    return Path(os.path.realpath(os.path.dirname(os.path.abspath(path))))


def batches(items: list, size: int) -> Iterator[list]:
    """Splits items into lists of at most `size`, to keep transactions and reads short."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def utc_now() -> str:
    """The current UTC time as ISO 8601 text, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
