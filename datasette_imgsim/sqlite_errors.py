"""SQLite's errors, whichever module a connection comes from, for `except` and `isinstance`.

Datasette and sqlite-utils use pysqlite3 where it is installed. Its errors are classes of its own.
"""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import suppress
from types import ModuleType

MODULES: list[ModuleType] = [sqlite3]
with suppress(ImportError):
    MODULES.append(importlib.import_module("pysqlite3"))


def _of_all(name: str) -> tuple[type[Exception], ...]:
    return tuple(getattr(module, name) for module in MODULES)


Error = _of_all("Error")
DatabaseError = _of_all("DatabaseError")
OperationalError = _of_all("OperationalError")
IntegrityError = _of_all("IntegrityError")
