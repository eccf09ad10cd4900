"""Lets the time limit of a connection end long work of our own.

Datasette ends a query that takes too long from within SQLite, which calls it back every 1,000
steps of a statement. While Python code computes, SQLite makes no steps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

# Counts to 200, which takes more than 1,000 steps and less than 0.1 ms.
_STEPS_SQL = """
    with recursive counted(n) as (select 1 union all select n + 1 from counted where n < 200)
    select max(n) from counted
"""


def check(conn: sqlite3.Connection) -> None:
    """Raises SQLite's OperationalError, 'interrupted', if the time of a connection is over."""
    conn.execute(_STEPS_SQL).fetchone()


def checked(conn: sqlite3.Connection, items: Iterable[Item], every: int = 10_000) -> Iterator[Item]:
    """The items, with a `check` after every so many of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            check(conn)
