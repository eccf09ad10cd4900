"""Files whose names went round, such as page_02 to page_03 to page_04: their rows follow them.

A run by itself finds the new names of files that are gone. Here are those whose name was given to
another file: a row's file has other content now, and what it had is at another name.
"""

from __future__ import annotations

import collections

from ..db.connect import Writer
from ..db.images import KnownImage, move_images
from ..db.rules import RuleBroken
from .plan import Plan
from .sources import Item, digest


def follow(conn: Writer, plan: Plan) -> list[KnownImage]:
    """Gives rows of `images` the paths that their content has now; returns those that have moved.

    A row whose content is nowhere any more, and whose path another one takes, gets a path that
    became free.
    """
    moves = _moves(plan)
    if not moves:
        return []
    displaced = _displaced(plan, moves)
    try:
        with conn.transaction():
            move_images(conn, moves + displaced)
    except RuleBroken:  # the user's own rules want every path to stay where it is
        return []
    return [image for image, _ in moves]


def _moves(plan: Plan) -> list[tuple[KnownImage, str]]:
    """Each image whose content is at another name now, with that name."""
    pending = {item.name: item for item in plan.pending}
    by_size = collections.defaultdict(list)
    for item in plan.pending:
        by_size[item.size].append(item)
    hashes = _Hashes()
    moves: list[tuple[KnownImage, str]] = []
    taken: set[int | str] = set()
    for image in [*(plan.rows[name] for name in pending if name in plan.rows), *plan.gone]:
        own = pending.get(image.path)
        # Only files of a size that hints at a move are read. New names of files that are gone are
        # found later, when they are read anyway.
        others = [
            item
            for item in by_size[image.bytes]
            if item.name != image.path and (own or item.name in plan.rows)
        ]
        if not others or (own and hashes.of(own) in (image.sha256, None)):
            continue
        for item in others:
            row = plan.rows.get(item.name)
            has_moved = item.name not in taken and hashes.of(item) == image.sha256
            if has_moved and not (row and row.sha256 == image.sha256):
                taken.add(item.name)
                moves.append((image, str(item.name)))
                break
    return moves


def _displaced(plan: Plan, moves: list[tuple[KnownImage, str]]) -> list[tuple[KnownImage, str]]:
    """The images that do not move and whose path another one takes, with the path they get."""
    came_from = {name: str(image.path) for image, name in moves}
    moving = set(came_from.values())
    displaced = []
    for name in came_from.keys() - moving:
        if name in plan.rows:
            free = name
            while free in came_from:
                free = came_from[free]
            displaced.append((plan.rows[name], free))
    return displaced


class _Hashes:
    """The hashes of items, each read once."""

    def __init__(self) -> None:
        self.known: dict[int | str, str | None] = {}

    def of(self, item: Item) -> str | None:
        """The hash of an item's file; None if it cannot be read."""
        if item.name not in self.known:
            self.known[item.name] = None
            if not item.error:
                try:
                    with item.open() as file:
                        self.known[item.name] = digest(file)
                except OSError:
                    pass
        return self.known[item.name]
