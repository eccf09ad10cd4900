"""The plugin's configuration: settings of the instance, and of single databases."""

from __future__ import annotations

import functools
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import click
from datasette.utils import StartupError, actor_matches_allow

from .. import sqlite_errors
from ..errors import listed
from ..search.engine import Engine, engines, open_engine
from .compat import PLUGIN

BYTES_A_MB = 1_000_000
BESIDE_ENGINE = ("token", "timeout_ms")
"""What the setting engine may have beside the name of an engine with its address."""
TIMEOUT_MS = 800
"""Less than Datasette's usual sql_time_limit_ms."""


class WrongSettings(StartupError, click.ClickException):
    """One sentence: Datasette 1.0 expects the one class, and 0.65 leaves the other to click."""


@dataclass(frozen=True)
class Config:
    """The settings that apply to one database."""

    uploads: bool | dict = True
    """Who may search with an image of their own: everybody, nobody, or an allow block."""
    max_upload_mb: float = 20
    images_root: str | None = None
    """The folder from which /large/ may show pictures; without it there is no such page. It is
    relative to the folder of the database."""
    space: str | None = None
    """The name of the default space."""
    engine: dict | None = None
    """The engine that has the vectors, such as {"milvus": URI, "token": …, "timeout_ms": 800}."""
    for_several: bool = False
    """Whether the space is named for several databases, of which some may lack it."""

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * BYTES_A_MB)

    def space_in(self, conn: sqlite3.Connection) -> str | None:
        """The name of the default space for the database of a connection."""
        if self.space and self.for_several and self.space not in _space_names(conn):
            return None
        return self.space

    def may_upload(self, actor: dict | None) -> bool:
        return actor_matches_allow(actor, self.uploads)


NAMES = [field.name for field in fields(Config) if field.name != "for_several"]


def read_config(datasette, database: str) -> Config:
    """The configuration of a database: its own settings, else those of the instance."""
    own = _settings(datasette, database)
    settings = {**_settings(datasette), **own}
    files = [db for db in datasette.databases.values() if db.path]
    # Datasette 1.0 opens connections before `check` refuses unknown names.
    known = {name: value for name, value in settings.items() if name in NAMES}
    return Config(**known, for_several="space" not in own and len(files) > 1)


def check(datasette) -> None:
    """Raises WrongSettings if a setting is invalid."""
    for database in (None, *datasette.databases):
        settings = _settings(datasette, database)
        where = f"the plugin {PLUGIN}" + (f" of the database {database!r}" if database else "")
        problems = [_problem(name, value) for name, value in settings.items()]
        if not any(problems):
            problems.append(_deadline_problem(datasette, settings))
        # Settings of the instance are for all databases, which may lie in different folders.
        for db in [datasette.databases[database]] if database else datasette.databases.values():
            problems.append(_folder_problem(db, settings.get("images_root")))
        for problem in filter(None, problems):
            raise WrongSettings(f"The configuration of {where} is wrong: {problem}")


async def check_spaces(datasette) -> None:
    """Raises WrongSettings if the space of a database, or of the instance, is not there.

    A database without any space may get one later.
    """
    known = {}
    for name, db in datasette.databases.items():
        if name != "_internal":
            known[name] = await db.execute_fn(_space_names)
    everywhere = [space for names in known.values() for space in names]
    for database, names in ((None, everywhere), *known.items()):
        space = _settings(datasette, database).get("space")
        if space is not None and names and space not in names:
            where = f"the database {database!r}" if database else "any database"
            raise WrongSettings(
                f"The configuration of the plugin {PLUGIN} is wrong: no space {space!r} is in "
                f"{where}: there is {listed(names)}"
            )


def _space_names(conn: sqlite3.Connection) -> list[str]:
    try:
        return [name for (name,) in conn.execute("select name from imgsim_spaces order by id")]
    except sqlite_errors.Error:  # no such table, or a file that cannot be read: its pages say so
        return []


def _settings(datasette, database: str | None = None) -> dict:
    return datasette.plugin_config(PLUGIN, database=database, fallback=False) or {}


def _problem(name: str, value) -> str | None:
    if name == "uploads" and not isinstance(value, (bool, dict)):
        return f"uploads is true, false or an allow block, not {value!r}"
    if name == "max_upload_mb" and not (_is_number(value) and 0 < value * BYTES_A_MB < math.inf):
        return f"max_upload_mb is a finite number above 0, not {value!r}"
    if name == "images_root" and not isinstance(value, str):
        return f"images_root is a folder that exists, not {value!r}"
    if name == "space" and not isinstance(value, str):
        return f"space is the name of a space, not {value!r}"
    if name == "engine":
        return _engine_problem(value)
    if name not in NAMES:
        return f"there is no setting {name!r}, only {', '.join(NAMES)}"
    return None


def _engine_problem(value) -> str | None:
    names = [name for name in value if name not in BESIDE_ENGINE] if isinstance(value, dict) else []
    if len(names) != 1 or not isinstance(value[names[0]], str) or not value[names[0]]:
        return 'engine is an object such as {"milvus": "http://localhost:19530"}'
    if names[0] not in (known := engines()):
        return f"engine names {names[0]!r}: there is {listed(known)}"
    if not isinstance(value.get("token", ""), str):
        return 'token of engine is text, such as {"$env": "MILVUS_TOKEN"}'
    milliseconds = value.get("timeout_ms", TIMEOUT_MS)
    if not (_is_number(milliseconds) and 0 < milliseconds < math.inf):
        return f"timeout_ms of engine is a number above 0, not {milliseconds!r}"
    return None


def _deadline_problem(datasette, settings: dict) -> str | None:
    """A query would be ended by its own limit before the engine's is over."""
    engine, limit = settings.get("engine"), datasette.setting("sql_time_limit_ms")
    if not isinstance(engine, dict) or engine.get("timeout_ms", TIMEOUT_MS) < limit:
        return None
    return f"timeout_ms of engine is less than sql_time_limit_ms, which is {limit}"


def opener(db, settings: Config) -> Callable[[], Engine] | None:
    """Connects to the engine of a database; None without one."""
    # Datasette 1.0 opens connections before `check` refuses what is wrong.
    if not settings.engine or _engine_problem(settings.engine):
        return None
    ((name, uri),) = ((k, v) for k, v in settings.engine.items() if k not in BESIDE_ENGINE)
    if "://" not in uri and db.path:
        uri = str(Path(db.path).absolute().parent / Path(uri).expanduser())
    seconds = settings.engine.get("timeout_ms", TIMEOUT_MS) / 1000
    return functools.partial(open_engine, name, uri, settings.engine.get("token"), seconds)


def images_folder(db, images_root: str) -> Path:
    """The folder that images_root means for a database; ~ is the user's."""
    return Path(db.path).absolute().parent / Path(images_root).expanduser()


def _folder_problem(db, images_root) -> str | None:
    if not isinstance(images_root, str) or not db.path:
        return None
    try:
        folder = images_folder(db, images_root)
        if folder.is_dir():
            return None
    except (ValueError, OSError, RuntimeError):  # a NUL in it, too long, or no such user
        folder = images_root
    return f"images_root is a folder that exists, not {str(folder)!r}"


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
