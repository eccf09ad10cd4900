"""Finds the map that a request is about."""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor

from ...atlas.load import Atlas
from ...db.atlas import has_atlas
from ...db.spaces import Space, choose_space
from ...errors import ImgsimError
from ..options import Options, chosen_space
from ..refused import Refused
from ..source import Source
from ..threads import in_thread

_loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="imgsim-map")


class NoMap(Refused):
    """The space has no map; `command` makes one."""

    def __init__(self, space: Space, command: str):
        super().__init__(404, f"There is no map of the space {space.name!r} yet: run '{command}'")
        self.space, self.command = space, command


async def get_atlas(source: Source, options: Options) -> Atlas:
    """The map of the requested space. Raises NoMap."""
    return await atlas_of(
        source, await source.db.execute_fn(lambda conn: chosen_space(conn, source, options))
    )


async def atlas_of(source: Source, space: Space) -> Atlas:
    """The map of a space, which must be fresh from the database. Raises NoMap."""
    atlases = source.state.atlases
    atlas = atlases.ready(space)
    if atlas is None:
        # Requests that wait for a map's first load use this thread, and hold up no others.
        atlas = await in_thread(_loader, atlases.get, space)
    if not len(atlas):
        raise NoMap(
            space, await source.db.execute_fn(lambda conn: map_command(conn, source, space))
        )
    return atlas


def check_map(conn, source: Source, space: Space) -> None:
    """Raises NoMap if a space has no map."""
    if not has_atlas(conn, space):
        raise NoMap(space, map_command(conn, source, space))


def map_command(conn, source: Source, space: Space) -> str:
    """The command that makes the map of a space."""
    return space_command(conn, source, space, "map")


def space_command(conn, source: Source, space: Space, name: str) -> str:
    """A command that works in this space."""
    words = ["datasette", "imgsim", name, source.file]
    try:
        is_default = choose_space(conn) == space
    except ImgsimError:
        is_default = False
    return shlex.join(words if is_default else [*words, "--space", space.name])
