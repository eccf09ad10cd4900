"""The plugin's configuration: settings of the instance, and of single databases."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass, fields
from pathlib import Path

import click
from datasette.utils import StartupError, actor_matches_allow

from .. import sqlite_errors
from ..errors import listed
from .compat import PLUGIN

BYTES_A_MB = 1_000_000


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
    if name not in NAMES:
        return f"there is no setting {name!r}, only {', '.join(NAMES)}"
    return None


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
