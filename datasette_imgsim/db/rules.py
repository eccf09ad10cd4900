"""Rules of the user's own in the database: unique indexes, triggers and constraints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from .. import sqlite_errors
from ..errors import ImgsimError, listed
from .connect import Writer, has_sentence


class RuleBroken(ImgsimError):
    """A row is not stored, since a rule of the user's own refuses it."""


@contextmanager
def own_rules(conn: Writer, table: str) -> Iterator[None]:
    """A part of a transaction, which is undone alone if a rule of a table refuses it.

    Raises RuleBroken, which names the rule; ImgsimError if the rule ends the whole transaction.
    """
    try:
        with conn.savepoint():
            yield
    except sqlite_errors.DatabaseError as ex:
        is_rule = isinstance(ex, sqlite_errors.IntegrityError)
        triggers = _triggers(conn, table)
        # A trigger may also fail in itself, as when it writes to a table that is gone.
        if not is_rule and (has_sentence(ex) or not triggers):
            raise
        problem = _problem(conn, table, str(ex), triggers)
        if not conn.in_transaction:
            raise ImgsimError(f"{problem}; it has ended the run") from ex
        raise RuleBroken(problem) from ex


def left_out(conn: sqlite3.Connection, table: str) -> RuleBroken:
    """The error where a trigger leaves a row out without a word, with raise(ignore)."""
    return RuleBroken(_problem(conn, table, "its row was left out", _triggers(conn, table)))


def _problem(conn: sqlite3.Connection, table: str, error: str, triggers: list[str]) -> str:
    return (
        "an index, trigger or constraint of yours refuses it "
        f"({error}{_named(conn, table, error, triggers)}): change or drop that, and run it with "
        "--retry-failed"
    )


def _named(conn: sqlite3.Connection, table: str, error: str, triggers: list[str]) -> str:
    """The index or the triggers that an error of SQLite is about, where it does not name them."""
    kind, _, columns = error.partition(" constraint failed: ")
    if kind == "UNIQUE":
        indexes = _unique_indexes(conn, table).get(columns, [])
        return f"; {_listed('index', 'indexes', indexes)}" if indexes else ""
    if kind in ("CHECK", "NOT NULL", "FOREIGN KEY") or not triggers:
        return ""
    return f"; {_listed('trigger', 'triggers', triggers)}"


def _listed(one: str, many: str, names: list[str]) -> str:
    return f"{one if len(names) == 1 else many} {listed(map(repr, names))}"


def _triggers(conn: sqlite3.Connection, table: str) -> list[str]:
    rows = conn.execute(
        "select name from sqlite_master where type = 'trigger' and lower(tbl_name) = lower(?)",
        [table],
    )
    return [name for (name,) in rows]


def _unique_indexes(conn: sqlite3.Connection, table: str) -> dict[str, list[str]]:
    """The unique indexes of a table by their columns, as SQLite's errors name these."""
    rows = conn.execute(
        """
        select entry.name, group_concat(? || '.' || column.name, ', ')
        from pragma_index_list(?) as entry join pragma_index_info(entry.name) as column
        where entry."unique" and entry.origin = 'c' group by entry.name
        """,
        [table, table],
    )
    indexes: dict[str, list[str]] = {}
    for name, columns in rows:
        indexes.setdefault(columns or "", []).append(name)
    return indexes
