"""Groups of images that belong together, each with a cover and a name, kept up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..db.connect import Writer
from ..db.groups import (
    RULES,
    Group,
    Stamp,
    read_groups,
    read_members,
    read_stamp,
    save_groups,
)
from ..db.neighbours import Places, read_neighbours
from ..db.spaces import Space, reread
from ..progress import Progress, silent
from ..search import indexes, ranking
from . import communities
from .names import names_of
from .neighbours import update as update_neighbours

FEWEST_IMAGES = 12
"""Fewer images than this have no groups."""
OUTGROWN = 1.5
"""Where a space has so many times the images that its groups were made of, or so many times fewer,
they are made anew."""
SAME = 1 / 3
"""A group made anew is an older one if they have at least this share of their images in common."""


def update(conn: Writer, space: Space, progress: Progress = silent) -> Space:
    """Brings the stored groups of a space up to date, and its neighbours; gives the space as it is.

    Nothing is done where no image has changed since. Images of groups stay where they are; new ones
    join the group of most of their neighbours, or form new groups. Where the space has grown or
    shrunk much, groups are made anew, and those that are still there keep their ids and names.
    Raises ImgsimError.
    """
    stamp = read_stamp(conn, space)
    if stamp and stamp.is_current(space):
        return space
    update_neighbours(conn, space, None, progress)
    space = reread(conn, space.name)
    neighbours = read_neighbours(conn, space, communities.NEIGHBOURS)
    keys, count = neighbours.keys, len(neighbours.keys)
    before = _stored(conn, space, keys)
    rows = communities.linked(neighbours.rows)
    with progress(count, " images", "Grouping") as advance:
        if count < FEWEST_IMAGES:
            after = Grouped(np.full(count, -1), [])
        else:
            weights = communities.shared(rows, advance)
            if stamp and stamp.rules == RULES and _is_close(count, stamp.images):
                after = _extended(before, communities.extended(rows, weights, before.of))
            else:
                stamp = None
                after = _matched(before, communities.find(rows, weights))
    made_of = stamp.images if stamp else count
    groups = _described(conn, space, keys, after, progress)
    save_groups(
        conn, space, Stamp(space.generation, RULES, made_of), groups, keys, after.of, progress
    )
    return space


@dataclass(frozen=True)
class Grouped:
    """The groups of the images of a space."""

    of: np.ndarray
    """(n,) int, for each image the place of its group in `groups`; -1 if it is in none."""
    groups: list[Group | None]
    """What is stored of each; None for a new one."""

    def members(self) -> list[np.ndarray]:
        """The images of each group."""
        order = np.argsort(self.of, kind="stable")
        starts = np.searchsorted(self.of[order], np.arange(len(self.groups) + 1))
        return [order[start:end] for start, end in zip(starts, starts[1:])]


def _is_close(count: int, images: int) -> bool:
    return images / OUTGROWN <= count <= images * OUTGROWN


def _stored(conn: sqlite3.Connection, space: Space, keys: Sequence) -> Grouped:
    """The stored groups of which images are still there."""
    groups = read_groups(conn, space)
    place_of = {group.id: place for place, group in enumerate(groups)}
    members = [(place_of[id], key) for id, key in read_members(conn, space) if id in place_of]
    of = np.full(len(keys), -1)
    rows = Places(keys).of([key for _, key in members])
    of[rows[rows >= 0]] = np.array([place for place, _ in members], int)[rows >= 0]
    there = np.unique(of[of >= 0])
    return Grouped(communities.numbered(of, there), [groups[place] for place in there])


def _extended(before: Grouped, of: np.ndarray) -> Grouped:
    """The same groups, and new ones behind them."""
    more = max(0, of.max(initial=-1) + 1 - len(before.groups))
    return Grouped(of, [*before.groups, *[None] * more])


def _matched(before: Grouped, of: np.ndarray) -> Grouped:
    """Groups made anew, as those that were there before where they have enough in common.

    Each older group is at most one of them, so that they have as much in common as possible.
    """
    from scipy.optimize import linear_sum_assignment

    groups: list[Group | None] = [None] * (of.max(initial=-1) + 1)
    both = (before.of >= 0) & (of >= 0)
    common = np.zeros((len(before.groups), len(groups)))
    np.add.at(common, (before.of[both], of[both]), 1)
    old, new = (np.bincount(each[each >= 0], minlength=n) for each, n in
                ((before.of, len(before.groups)), (of, len(groups))))  # fmt: skip
    share = common / np.maximum(old[:, None] + new - common, 1)
    for place, match in zip(*linear_sum_assignment(-share)):
        if share[place, match] >= SAME:
            groups[match] = before.groups[place]
    return Grouped(of, groups)


def _described(
    conn: sqlite3.Connection,
    space: Space,
    keys: Sequence,
    grouped: Grouped,
    progress: Progress,
) -> list[Group]:
    """The groups with covers, counts and names; those that have them keep covers and names."""
    members = grouped.members()
    lacking = [
        place
        for place, group in enumerate(grouped.groups)
        if group is None or not _has(members[place], keys, group.cover)
    ]
    covers = _medoids(conn, space, keys, [members[place] for place in lacking], progress)
    cover_of = dict(zip(lacking, covers))
    new = [place for place, group in enumerate(grouped.groups) if group is None]
    named = {group.name: place for place, group in enumerate(grouped.groups) if group}
    names = {}
    if new:
        in_none = np.flatnonzero(grouped.of < 0)
        lists = [[keys[row] for row in rows.tolist()] for rows in [*members, in_none]]
        largest = sorted(new, key=lambda place: -len(lists[place]))
        names = dict(zip(largest, names_of(conn, space, lists, largest, named, progress)))
    described = []
    for place, (group, rows) in enumerate(zip(grouped.groups, members)):
        group = group or Group(None, names[place], "", 0)
        cover = cover_of.get(place, group.cover)
        described.append(replace(group, cover=cover, images=len(rows)))
    return described


def _has(rows: np.ndarray, keys: Sequence, key) -> bool:
    return any(keys[row] == key for row in rows.tolist())


def _medoids(
    conn: sqlite3.Connection,
    space: Space,
    keys: Sequence,
    members: list[np.ndarray],
    progress: Progress,
) -> list:
    """The keys of the images with the best mean score with the others of their group."""
    if not members:
        return []
    index = indexes.load(conn, space, progress)
    vectors = index.compact(np.sqrt(ranking.weights(index.space)))
    found = []
    for rows in members:
        ids = [keys[row] for row in rows.tolist()]
        at = [row for id in ids if (row := index.row(conn, id)) is not None]
        if not at:  # all have changed meanwhile
            found.append(ids[0])
            continue
        middle = vectors[at].mean(axis=0)
        found.append(index.ids[at[int((vectors[at] @ middle).argmax())]])
    return found
