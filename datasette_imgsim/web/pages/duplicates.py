"""The page of duplicates: images that are one picture or one moment, side by side."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from ...db.duplicates import (
    BURST,
    EXACT,
    KINDS,
    NEAR,
    Facts,
    Group,
    Member,
    count_groups,
    counts_json,
    present_stamp,
    read_groups,
    read_stamp,
)
from ...db.spaces import Space, all_spaces
from .. import compat
from ..answers import common_context, html_answer, is_json, json_answer, next_link, page
from ..options import PAGE_SIZE, Options, chosen_space, parse_options
from ..refused import Refused
from ..results import Tile, tiles
from ..source import Source
from .atlas import space_command

WORDS = {
    EXACT: "the same bytes",
    NEAR: "the same picture, changed",
    BURST: "other shots of one moment",
}


@dataclass(frozen=True)
class Shown:
    """An image of a group."""

    member: Member
    tile: Tile

    @property
    def details(self) -> list[str]:
        """Its size and bytes, when it was taken and its path, as far as they are known."""
        facts = self.member.facts
        time = (facts.taken_at or "").replace("T", " ")
        return [line for line in (size_of(facts), time, facts.path) if line]

    @property
    def can_be_laid(self) -> bool:
        """Whether the one to keep can be laid over it: they are neither the same nor turned."""
        note = self.member.note
        return not (self.member.keep or "turned" in note or "mirrored" in note)


@dataclass(frozen=True)
class Content:
    """What a page of duplicates shows."""

    space: Space
    spaces: list[str]
    counts: dict[str, tuple[int, int]]
    groups: list[tuple[Group, list[Shown]]]
    next: str | None
    note: str | None
    """Why the groups are not those of the present images, and what to do about it."""
    command: str
    """The command that finds duplicates in this space."""


@page
async def duplicates(datasette, request, source):
    options = parse_options(request)
    kind = request.args.get("kind") or None
    if kind is not None and kind not in KINDS:
        raise Refused(400, f"kind is one of {', '.join(KINDS)}, not {kind!r:.60}")
    content = await source.db.execute_fn(lambda conn: _content(conn, source, options, kind))
    path = source.urls.duplicates

    def query(next: str | None = None, kind: str | None = kind) -> str:
        size = options.size if options.size != PAGE_SIZE else None
        return options.query(kind=kind, _size=size, _next=next)

    if is_json(request):
        link = next_link(source, request, content.next, f"{path}.json{query(content.next)}")
        return json_answer(datasette, _json(content) | link)
    context = {
        **common_context(source, options),
        "content": content,
        "words": WORDS,
        "kind": kind,
        "path": path,
        "url_of": lambda kind: path + query(kind=kind),
        "space_url": lambda name: path + options.in_space(name),
        "first_url": path + query(),
        "next_url": path + query(content.next) if content.next else None,
        "csv_url": await _csv_url(datasette, request.actor, source, content.space),
        "alternate_url_json": f"{path}.json{query(options.next)}",
    }
    return await html_answer(datasette, request, "imgsim_duplicates.html", context)


def _content(conn, source: Source, options: Options, kind: str | None) -> Content:
    space = chosen_space(conn, source, options)
    kinds = KINDS if kind is None else (kind,)
    groups = read_groups(conn, space, kinds, options.start, options.size + 1)
    following = str(groups[options.size - 1].number) if len(groups) > options.size else None
    groups = groups[: options.size]
    ids = [member.facts.id for group in groups for member in group.members]
    found = dict(zip(ids, tiles(conn, source, options, ids)))
    command = space_command(conn, source, space, "duplicates")
    return Content(
        space,
        [each.name for each in all_spaces(conn, source.table.name)],
        count_groups(conn, space),
        [
            (group, [Shown(each, found[each.facts.id]) for each in group.members])
            for group in groups
        ],
        following,
        _note(conn, space, command),
        command,
    )


def _note(conn, space: Space, command: str) -> str | None:
    stamp = read_stamp(conn, space)
    if stamp is None:
        return f"Nobody has looked for duplicates yet: run '{command}'"
    if stamp != present_stamp(conn, space):
        return (
            "Images or decisions may have changed since these groups were found: "
            f"'{command}' finds them anew"
        )
    return None


def size_of(facts: Facts) -> str:
    """The size and bytes of an image in words, as far as they are known."""
    parts = [f"{facts.width:,} x {facts.height:,}"] if facts.pixels else []
    if facts.bytes is not None:
        kilobytes = facts.bytes / 1000
        parts.append(f"{kilobytes / 1000:.1f} MB" if kilobytes >= 1000 else f"{kilobytes:.0f} kB")
    return " · ".join(parts)


async def _csv_url(datasette, actor, source: Source, space: Space) -> str | None:
    """The address of all groups as CSV; None if the actor may not view their table."""
    table = "imgsim_duplicates"
    if not await compat.can_view(datasette, actor, source.db.name, table):
        return None
    query = urllib.parse.urlencode({"space_id__exact": space.id, "_stream": "on"})
    return f"{datasette.urls.table(source.db.name, table)}.csv?{query}"


def _json(content: Content) -> dict:
    return {
        "ok": True,
        "space": content.space.name,
        "note": content.note,
        "counts": counts_json(content.counts),
        "groups": [_group_json(group, shown) for group, shown in content.groups],
    }


def _group_json(group: Group, shown: list[Shown]) -> dict:
    told = group.json()
    for image, each in zip(told["images"], shown):
        image["href"], image["thumbnail"] = each.tile.href, each.tile.thumbnail
    return told
