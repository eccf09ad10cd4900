"""The groups of a space as the pages need them, in memory until the database changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ..db import groups as stored
from ..db.groups import Group
from ..db.spaces import Space
from .pages.atlas import space_command
from .refused import Refused
from .source import Source
from .state import file_stamps

MORE = 8
"""So many images of a group are known beside its cover."""

FACET, GROUP = "_facet_likeness", "group"
"""The parameter for the facet of Datasette's page of a table, and its only value."""

Value = TypeVar("Value")
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-groups")


@dataclass(frozen=True)
class Groups:
    """The groups of a space."""

    groups: list[Group]
    """The largest first."""
    more: dict[int | None, list[int | str]]
    """Keys of some images of each group beside its cover, by the group's id."""
    ungrouped: int
    """How many images of the space are in no group."""
    stamp: stored.Stamp | None
    """What they were made from; None if nobody has made groups yet."""

    def is_current(self, space: Space) -> bool:
        """Whether they were made of the space as it is."""
        return self.stamp is not None and self.stamp.is_current(space)


async def get_groups(source: Source, space: Space) -> Groups:
    """The groups of a space."""
    return await remembered(source, space, "groups", lambda conn: _read(conn, source, space))


async def remembered(
    source: Source,
    space: Space,
    name: str,
    read: Callable[[sqlite3.Connection], Value],
    made_of: Hashable = None,
) -> Value:
    """What `read` makes of the groups of a space and of something else, whose version is `made_of`.

    It is read again if either has changed, in a thread of its own and without a time limit.
    """
    version = (file_stamps(source.db), made_of)
    key = (space.identity, name)
    return await source.state.loaded(_reader, source.state.groups, key, version, read)


def _read(conn: sqlite3.Connection, source: Source, space: Space) -> Groups:
    groups = stored.read_groups(conn, space)
    # "cross join" and "+" let SQLite walk along the index of the vectors, and look up each row.
    (images,) = conn.execute(
        f"select count(*) from imgsim_vectors v cross join {source.table.rows_sql} "
        f"on {source.table.key_sql} = v.image_key where v.space_id = ?",
        [space.id],
    ).fetchone()
    return Groups(
        groups,
        {group.id: stored.read_some(conn, space, group, MORE) for group in groups},
        max(0, images - sum(group.images for group in groups)),
        stored.read_stamp(conn, space),
    )


def find_group(
    conn: sqlite3.Connection, source: Source, space: Space, text: str
) -> tuple[int, str]:
    """(id, name) of the group that a request names. Raises Refused."""
    if not (text.isdecimal() and len(text) < 19):
        raise Refused(400, f"_in_group is the id of a group, a whole number, not {text!r:.60}")
    names = known_names(conn, source, space)
    if int(text) not in names:
        raise Refused(404, f"There is no group {text} in the space {space.name!r}")
    return int(text), names[int(text)]


def known_names(conn: sqlite3.Connection, source: Source, space: Space) -> dict[int, str]:
    """{id: name} of the groups of a space. Raises Refused if it has none."""
    names = stored.read_names(conn, space)
    if not names:
        command = space_command(conn, source, space, "groups")
        raise Refused(404, f"There are no groups of the space {space.name!r} yet: run '{command}'")
    return names


def check_facet(conn: sqlite3.Connection, source: Source, space: Space, values: list[str]) -> None:
    """Raises Refused unless these values of FACET can be counted."""
    for value in values:
        if value != GROUP:
            raise Refused(400, f"{FACET} is {GROUP}, not {value!r:.60}")
    known_names(conn, source, space)
