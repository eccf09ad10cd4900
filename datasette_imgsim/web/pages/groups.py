"""The page of groups: images that belong together, with covers and names."""

from __future__ import annotations

from dataclasses import dataclass

from ...db.atlas import has_atlas
from ...db.groups import Group
from ...db.spaces import Space, all_spaces
from ..answers import common_context, html_answer, is_json, json_answer, page
from ..groups import Groups, get_groups
from ..options import Options, chosen_space, parse_options
from ..query import Query
from ..results import Tile, tiles
from ..source import Source
from .atlas import space_command

MOST_CARDS = 24
"""So many of the largest groups stand above the gallery."""


@dataclass(frozen=True)
class Shown:
    """A group on a page."""

    group: Group
    cover: Tile
    more: list[Tile]
    """Some more of its images."""
    query: Query
    """The query for its images."""


@dataclass(frozen=True)
class Card:
    """A group above the gallery."""

    name: str
    images: int
    cover: Tile
    href: str
    """The address of its images; of all images if it is chosen."""
    is_chosen: bool


@page
async def groups(datasette, request, source):
    options = parse_options(request)
    space, spaces, has_map, command = await source.db.execute_fn(
        lambda conn: _known(conn, source, options)
    )
    found = await get_groups(source, space)
    shown = await source.db.execute_fn(lambda conn: _shown(conn, source, options, found))
    path, note = source.urls.groups, _note(found, space, command)
    if is_json(request):
        return json_answer(datasette, _json(source, space, found, shown, note))
    context = {
        **common_context(source, options),
        "space": space,
        "spaces": spaces,
        "shown": shown,
        "found": found,
        "note": note,
        "has_map": has_map,
        "space_url": lambda name: path + options.in_space(name),
        "alternate_url_json": f"{path}.json{options.query()}",
    }
    return await html_answer(datasette, request, "imgsim_groups.html", context)


def _known(conn, source: Source, options: Options) -> tuple[Space, list[str], bool, str]:
    """(the space, all spaces, whether it has a map, the command that makes its groups)"""
    space = chosen_space(conn, source, options)
    return (
        space,
        [each.name for each in all_spaces(conn, source.table.name)],
        has_atlas(conn, space),
        space_command(conn, source, space, "groups"),
    )


def _shown(conn, source: Source, options: Options, found: Groups) -> list[Shown]:
    keys = [key for each in found.groups for key in (each.cover, *found.more[each.id])]
    known = dict(zip(keys, tiles(conn, source, options, keys)))
    query = Query((("_space", options.space),) if options.space else ())
    return [
        Shown(
            each,
            cover,
            [tile for key in found.more[each.id] if (tile := known[key])],
            query.in_group(each.id),
        )
        for each in found.groups
        # The cover may have been deleted just now.
        if (cover := next(filter(None, map(known.get, (each.cover, *found.more[each.id]))), None))
    ]


def _note(found: Groups, space: Space, command: str) -> str | None:
    """Why the groups are not those of the present images, and what to do about it."""
    if found.stamp is None:
        return f"Nobody has made groups of these images yet: run '{command}'"
    if not found.is_current(space):
        return f"Images may have changed since these groups were made: '{command}' renews them"
    return None


def _json(source: Source, space: Space, found: Groups, shown: list[Shown], note: str | None):
    return {
        "ok": True,
        "space": space.name,
        "note": note,
        "groups": [
            {
                "id": each.group.id,
                "name": each.group.name,
                "images": each.group.images,
                "cover": each.group.cover,
                "href": each.query.page_url(source.urls.gallery),
                "thumbnail": each.cover.thumbnail,
            }
            for each in shown
        ],
        "ungrouped": found.ungrouped,
        "is_current": found.is_current(space),
    }


async def cards(source: Source, options: Options, space: Space, query: Query) -> list[Card]:
    """The groups of a space for the top of the gallery, the chosen one first."""
    found, chosen = await get_groups(source, space), query.get("_in_group")
    groups = sorted(found.groups, key=lambda group: str(group.id) != chosen)[:MOST_CARDS]
    covers = await source.db.execute_fn(
        lambda conn: tiles(conn, source, options, [group.cover for group in groups])
    )
    return [
        Card(
            group.name,
            group.images,
            cover,
            query.in_group(None if str(group.id) == chosen else group.id).page_url(
                source.urls.gallery
            ),
            str(group.id) == chosen,
        )
        for group, cover in zip(groups, covers)
        if cover
    ]
