"""Replaces the rows of a space in a large table: no reader waits long, and none sees half of them.

The rows are written, in short transactions, into a table of their own, which then takes the place
of the table of all spaces in one that is as short.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from .. import sqlite_errors
from ..errors import ImgsimError
from ..progress import Advance
from .connect import Writer
from .schema import indexes_and_triggers
from .spaces import STAMPS, Space
from .tables import quoted

READERS_SHARE, LONGEST_PAUSE = 4, 0.25
"""How many times as long as a transaction the pause after it is, and the most seconds: SQLite asks
again at least every 0.1 s."""


@dataclass(frozen=True)
class Table:
    """One of our tables with rows for the images of all spaces."""

    name: str
    columns: tuple[str, ...]
    """Those that are written; space_id is one of them."""
    key: tuple[str, ...]
    """The columns that, with space_id, no two rows have alike."""
    rows_a_transaction: int

    def insert(self, conn: Writer, rows: Iterable[tuple], into: str | None = None) -> None:
        """Writes rows, with a value for each of the columns; a row that is there stays."""
        conn.executemany(
            f"insert into {into or self.name} ({', '.join(self.columns)}) "
            f"values ({', '.join('?' * len(self.columns))}) on conflict do nothing",
            rows,
        )


@contextmanager
def one_of_many(conn: Writer) -> Iterator[None]:
    """A transaction that leaves readers time before the next one.

    A reader that finds the database locked asks again every now and then: it would never find it
    free if one transaction followed the other.
    """
    with conn.transaction():
        started = time.monotonic()
        yield
    time.sleep(min(LONGEST_PAUSE, READERS_SHARE * (time.monotonic() - started)))


def replace(
    conn: Writer,
    table: Table,
    space: Space,
    rows: Iterator[tuple],
    count: int,
    finish: Callable[[], None],
    advance: Advance,
) -> None:
    """Replaces all rows of a space by `count` others; a reader sees the old ones or the new ones.

    `finish` ends the transaction that shows them. `advance` is called with numbers of rows. No
    transaction is long.
    """
    if count > table.rows_a_transaction:
        return _replace_many(conn, table, space, rows, finish, advance)
    with conn.transaction():
        conn.execute(f"delete from {table.name} where space_id = ?", [space.id])
        table.insert(conn, rows)
        finish()
    advance(count)


def _replace_many(
    conn: Writer,
    table: Table,
    space: Space,
    rows: Iterator[tuple],
    finish: Callable[[], None],
    advance: Advance,
) -> None:
    # Two runs at once must not write into one table.
    new = f"{table.name}_new_{secrets.token_hex(4)}"
    try:
        with conn.transaction():
            for left in _unfinished(conn, table):
                conn.execute(f"drop table {quoted(left)}")
            conn.execute(_definition(conn, table).replace(table.name, new, 1))
        while batch := list(islice(rows, table.rows_a_transaction)):
            with one_of_many(conn):
                table.insert(conn, batch, new)
            advance(len(batch))
        copied = _others(conn, space)
        for id in copied:
            _copy(conn, table, new, id)
        _switch(conn, table, new, space, copied, finish)
    except BaseException as ex:
        with suppress(*sqlite_errors.Error), conn.transaction():
            conn.execute(f"drop table if exists {new}")
        if f"no such table: {new}" in str(ex):
            raise ImgsimError(
                f"Another run has begun to store into {table.name}: run this command again when "
                "that has ended"
            ) from ex
        raise


def _unfinished(conn: Writer, table: Table) -> list[str]:
    """The tables that earlier runs have left, or that another run fills at this time."""
    prefix = f"{table.name}_new"
    sql = "select name from sqlite_master where type = 'table' and substr(name, 1, ?) = ?"
    return [name for (name,) in conn.execute(sql, [len(prefix), prefix]).fetchall()]


def _definition(conn: Writer, table: Table) -> str:
    """The SQL that makes the table of all spaces."""
    sql = "select sql from sqlite_master where type = 'table' and name = ?"
    return conn.execute(sql, [table.name]).fetchone()[0]


def _others(conn: Writer, space: Space) -> dict[int, tuple]:
    """{id: what changes with the rows of a space} of all other spaces."""
    sql = f"select id, generation, {', '.join(STAMPS)} from imgsim_spaces where id <> ?"
    return {id: tuple(state) for id, *state in conn.execute(sql, [space.id]).fetchall()}


def _copy(conn: Writer, table: Table, new: str, id: int) -> None:
    """Copies the rows of another space into the new table, in short transactions."""
    key = ", ".join(table.key)
    after, last = "", ()
    while True:
        with one_of_many(conn):
            rows = conn.execute(
                f"select {', '.join(table.columns)} from {table.name} "
                f"where space_id = ? {after} order by {key} limit ?",
                [id, *last, table.rows_a_transaction],
            ).fetchall()
            table.insert(conn, rows, new)
        if len(rows) < table.rows_a_transaction:
            return
        after = f"and ({key}) > ({', '.join('?' * len(table.key))})"
        last = tuple(rows[-1][table.columns.index(column)] for column in table.key)


def _switch(
    conn: Writer,
    table: Table,
    new: str,
    space: Space,
    copied: dict[int, tuple],
    finish: Callable[[], None],
) -> None:
    """Puts the new table in the place of the old one; `copied` is what `_others` gave before."""
    columns = ", ".join(table.columns)
    # Otherwise, SQLite refuses to rename a table while a view names the one that is replaced.
    conn.execute("pragma legacy_alter_table = on")
    # Overwriting what is dropped would take long, and what it says is no secret.
    conn.execute("pragma secure_delete = off")
    with conn.transaction():
        now = _others(conn, space)
        for id in {*copied, *now}:
            if copied.get(id) != now.get(id):
                conn.execute(f"delete from {new} where space_id = ?", [id])
                conn.execute(
                    f"insert into {new} ({columns}) "
                    f"select {columns} from {table.name} where space_id = ?",
                    [id],
                )
        own = indexes_and_triggers(conn, table.name)
        conn.execute(f"drop table {table.name}")
        conn.execute(f"alter table {new} rename to {table.name}")
        for sql in own:
            conn.execute(sql)
        finish()
