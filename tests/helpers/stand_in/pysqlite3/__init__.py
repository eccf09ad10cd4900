"""Stands in for pysqlite3 in a process of its own: sqlite3 with errors of other classes."""

import sqlite3
from contextlib import contextmanager
from sqlite3 import *  # noqa: F403


class Error(Exception):
    pass


class DatabaseError(Error):
    pass


class OperationalError(DatabaseError):
    pass


class IntegrityError(DatabaseError):
    pass


class ProgrammingError(DatabaseError):
    pass


class NotSupportedError(DatabaseError):
    pass


@contextmanager
def own_errors():
    try:
        yield
    except sqlite3.Error as ex:
        raise globals()[type(ex).__name__](*ex.args) from None


def _with_own_errors(name):
    def inner(self, *arguments, **options):
        with own_errors():
            return getattr(super(type(self), self), name)(*arguments, **options)

    return inner


class Cursor(sqlite3.Cursor):
    execute = _with_own_errors("execute")
    executemany = _with_own_errors("executemany")
    executescript = _with_own_errors("executescript")
    fetchone = _with_own_errors("fetchone")
    fetchmany = _with_own_errors("fetchmany")
    fetchall = _with_own_errors("fetchall")
    __next__ = _with_own_errors("__next__")


class Connection(sqlite3.Connection):
    commit = _with_own_errors("commit")

    def cursor(self, factory=Cursor):
        return super().cursor(factory)

    def execute(self, *arguments):
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments):
        return self.cursor().executemany(*arguments)

    def executescript(self, *arguments):
        return self.cursor().executescript(*arguments)


def connect(*arguments, **options):
    with own_errors():
        return sqlite3.connect(*arguments, **{"factory": Connection, **options})
