"""Groups of images that show one picture or one moment, each with one to keep.

There are three kinds. *exact*: the files have the same bytes. *near*: the same picture, resized,
compressed again, lightly cropped, turned by 90°, mirrored, greyed or written on. *burst*: other
shots of one moment. Of an exact group only the one to keep takes part in a near group, and of a
near group only the one to keep takes part in a burst.

Nothing is chained: each image of a group was compared with the one to keep.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from ..db.connect import Writer
from ..db.duplicates import (
    BURST,
    EXACT,
    NEAR,
    Facts,
    Group,
    Member,
    all_facts,
    present_stamp,
    read_stamp,
    read_verdicts,
    save_groups,
)
from ..db.neighbours import Neighbours
from ..db.spaces import SMALLEST_CENTRED_SPACE, Space, reread
from ..db.tables import SourceTable
from ..progress import Progress, silent
from ..search import indexes, ranking
from ..search.likeness import Steps, steps
from .compare import ORIENTATIONS
from .keeping import WHOLE, differing, later, moment, preference, seconds_between, why
from .neighbours import ensure_neighbours
from .pairs import Links, Pairs, Thumbnails

SECONDS_OF_BURST = 10
"""Shots with more time between them are of different moments."""
MOST_COMPARED = 500
"""In a larger cluster, no other pairs are compared than those that were candidates."""
QUERIES_FOR_STEPS = 100
"""From so many images it is estimated which score is high in a space."""


class Link(NamedTuple):
    """Another image that belongs to one that is kept."""

    note: Callable[[], str]
    """How it differs from that one, in words."""
    strength: float = 1
    """How sure that is."""


Linked = dict[int | str, dict[int | str, Link]]
"""{an image that may be kept: {another one: how they belong together}}"""


def update(conn: Writer, space: Space, progress: Progress = silent) -> Space:
    """Brings the stored groups of a space up to date, and its neighbours; gives the space as it is.

    Nothing is done where no image and no verdict has changed since. Raises ImgsimError.
    """
    if read_stamp(conn, space) == present_stamp(conn, space):
        return space
    neighbours = ensure_neighbours(conn, space, progress=progress)
    space = reread(conn, space.name)
    stamp = present_stamp(conn, space)
    save_groups(conn, space, stamp, find(conn, space, neighbours, progress), progress)
    return space


def find(
    conn: sqlite3.Connection, space: Space, neighbours: Neighbours, progress: Progress = silent
) -> list[Group]:
    """The groups of a space: exact ones, near ones, then bursts, of each kind the largest first."""
    search = _Search(conn, space, neighbours, progress)
    groups: list[Group] = []
    for kind, find_groups in (
        (EXACT, search.exact), (NEAR, search.near), (BURST, search.bursts)
    ):  # fmt: skip
        members = sorted(find_groups(), key=len, reverse=True)
        groups += [Group(len(groups) + n, kind, each) for n, each in enumerate(members, 1)]
    return groups


class _Search:
    """One run over a space. Each step hides from the next all images but the ones to keep.

    Images are named by their keys; rows are places in the list of keys of the neighbours.
    """

    def __init__(self, conn, space: Space, neighbours: Neighbours, progress: Progress):
        table = SourceTable.read(conn, space.source_table)
        self.conn, self.space, self.neighbours = conn, space, neighbours
        self.progress = progress
        self.facts: dict[int | str, Facts] = {each.id: each for each in all_facts(conn, table)}
        self.times = {id: moment(each) for id, each in self.facts.items()}
        self.borrowed: dict[int | str, datetime] = {}
        """The times of copies that have lost theirs."""
        self.verdicts = read_verdicts(conn, space.source_table)
        self.keys = list(neighbours.keys)
        self.row_of = {key: row for row, key in enumerate(self.keys)}
        self.stand_in = np.arange(len(self.keys))
        """(n,) the row of the one to keep in place of the image in each row."""
        self.links = Links.joined([])

    def exact(self) -> list[list[Member]]:
        """The groups of equal bytes."""
        equal = defaultdict(list)
        for each in self.facts.values():
            if each.sha256:
                equal[each.sha256].append(each.id)
        same = Link(lambda: "the same bytes")
        links: Linked = {}
        for ids in equal.values():
            left = sorted(ids, key=lambda id: preference(self.facts[id]))
            while len(left) > 1:
                kept, *others = left
                left = [id for id in others if self._is_decided(id, kept)]
                links[kept] = {id: same for id in others if not self._is_decided(id, kept)}
        # There may be thousands of one picture: they are not all compared with each other.
        apart = self._is_decided if self.verdicts else None
        return self._grouped(links, apart, lambda *_: "the same bytes")

    def near(self) -> list[list[Member]]:
        """The groups of one picture, changed. Images without a thumbnail are in none."""
        rows = [row for row in self._standing() if self.keys[row] in self.facts]
        thumbnails = Thumbnails(self.conn, self.space.source_table, self.keys)
        pairs = Pairs(thumbnails, rows, self.progress)
        candidates = np.concatenate([self._neighbour_pairs()[0], pairs.by_bits()])
        found = pairs.confirmed(candidates)
        self.links = Links.joined([found, pairs.confirmed(_not_compared(found, self._best))])
        linked = self._linked(pairs.is_grey)
        self._borrow_times(linked)
        return self._grouped(linked, self._is_another_moment, differing)

    def bursts(self) -> list[list[Member]]:
        """The groups of other shots of one moment: seconds apart, and much alike."""
        if not any(self.times.values()):
            return []
        pairs, scores = self._neighbour_pairs()
        alike = pairs[scores >= self._high_score()]
        # The same picture by its details, but not by its time.
        alike = np.concatenate([alike, self.stand_in[self.links.pairs]])
        links: dict = defaultdict(dict)
        for one, other in np.unique(alike, axis=0).tolist():
            ids = self.keys[one], self.keys[other]
            apart = seconds_between(*map(self.times.get, ids))
            if one != other and apart is not None and apart <= SECONDS_OF_BURST:
                for kept, member in (ids, ids[::-1]):
                    links[kept][member] = Link(self._later(member, kept))
        return self._grouped(links, self._is_decided, lambda *_: "of the same moment")

    def _standing(self) -> np.ndarray:
        """The rows of the images that no step has hidden."""
        return np.flatnonzero(self.stand_in == np.arange(len(self.keys)))

    def _neighbour_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows (pairs, 2) of images to keep that are neighbours, their scores (pairs,))"""
        rows, scores = self.neighbours.rows, self.neighbours.scores
        first = np.repeat(np.arange(len(rows)), rows.shape[1]).reshape(rows.shape)
        there = rows >= 0
        pairs = self.stand_in[np.stack([first[there], rows[there]], axis=1)]
        return pairs, scores[there]

    def _best(self, rows: Iterable[int]) -> int:
        """The row, out of some, of the image that would be kept."""
        return min(rows, key=lambda row: preference(self.facts[self.keys[row]]))

    def _linked(self, is_grey: np.ndarray) -> Linked:
        """The images that show one picture; `is_grey` (n,) says which have no colours."""
        linked: Linked = defaultdict(dict)
        for (one, other), orientation, part, agreement in self.links:
            words = ORIENTATIONS[orientation]
            more = 1 / part if part < WHOLE else 1
            for kept, member, share in ((one, other, part), (other, one, more)):
                only_grey = bool(is_grey[member] and not is_grey[kept])
                note = self._differing(member, kept, words, share, only_grey)
                linked[self.keys[kept]][self.keys[member]] = Link(note, agreement)
        return linked

    def _borrow_times(self, linked: Linked) -> None:
        """Gives copies that have lost their time that of the image which they are most like.

        Of two shots of a burst, it is the one that they are copies of.
        """
        for id, links in linked.items():
            timed = [other for other in links if self.times[other]]
            if timed and not self.times[id]:
                closest = max(timed, key=lambda other: links[other].strength)
                self.borrowed[id] = self.times[closest]  # type: ignore[assignment]

    def _differing(
        self, member: int, kept: int, words: str, part: float, is_grey: bool
    ) -> Callable[[], str]:
        other, one = (self.facts[self.keys[row]] for row in (member, kept))
        return lambda: differing(other, one, words=words, part=part, is_grey=is_grey)

    def _later(self, member, kept) -> Callable[[], str]:
        return lambda: later(self.times[member], self.times[kept])

    def _is_decided(self, one, other) -> bool:
        """Whether somebody has said that two images are not the same, or settled."""
        return (one, other) in self.verdicts

    def _is_another_moment(self, one, other) -> bool:
        """Whether two images cannot be one picture: decided, or other shots of a burst."""
        apart = seconds_between(*(self.times[id] or self.borrowed.get(id) for id in (one, other)))
        is_burst = apart is not None and 0 < apart <= SECONDS_OF_BURST
        return is_burst or self._is_decided(one, other)

    def _grouped(
        self, links: Linked, apart: Callable[..., bool] | None, note: Callable[..., str]
    ) -> list[list[Member]]:
        """Groups of images around those that most others are linked to.

        No two images of a group are `apart`; None stands for no such rule. All but the ones to keep
        are hidden afterwards. `note` says how another one differs from the one to keep, if these
        two are not linked.
        """
        taken: set = set()
        groups = []
        for middle in sorted(links, key=lambda id: self._standing_of(id, links[id])):
            if middle in taken:
                continue
            chosen = [middle]
            for other in sorted(links[middle], key=lambda id: -links[middle][id].strength):
                is_apart = apart and any(apart(other, each) for each in chosen)
                if other not in taken and not is_apart:
                    chosen.append(other)
            if len(chosen) > 1:
                taken.update(chosen)
                kept, *others = sorted((self.facts[id] for id in chosen), key=preference)
                differs = {
                    each.id: links[kept.id][each.id].note()
                    if each.id in links[kept.id]
                    else note(each, kept)
                    for each in others
                }
                groups.append(
                    [
                        Member(kept, True, why(kept, others)),
                        *(Member(each, False, differs[each.id]) for each in others),
                    ]
                )
                self._hide(kept.id, chosen)
        # Who stood for an image may be hidden by another one now.
        self.stand_in = self.stand_in[self.stand_in]
        return groups

    def _standing_of(self, id, links: dict[int | str, Link]) -> tuple:
        """Sorts images so that those come first to which most others are linked, most surely."""
        return -round(sum(link.strength for link in links.values()), 3), preference(self.facts[id])

    def _hide(self, kept, ids: list) -> None:
        """Lets one image stand for all of these, also with the time that one of them knows."""
        self.times[kept] = next(filter(None, map(self.times.get, [kept, *ids])), None)
        rows = [self.row_of[id] for id in ids if id in self.row_of]
        if rows:
            self.stand_in[rows] = self.row_of.get(kept, rows[0])

    def _high_score(self) -> float:
        """The score from which images of this space are much alike."""
        index = indexes.load(self.conn, self.space, self.progress)
        if len(index) < SMALLEST_CENTRED_SPACE:
            return 1.0
        weights = ranking.weights(self.space)
        found: list[Steps] = []
        for row in range(0, len(index), max(1, len(index) // QUERIES_FOR_STEPS)):
            query = ranking.query_of_image(self.conn, index, row, weights)
            found.append(steps(self.conn, index, query))  # type: ignore[arg-type]
        return float(np.median([each.near_identical for each in found]))


def _not_compared(links: Links, best: Callable[[Iterable[int]], int]) -> np.ndarray:
    """The pairs (pairs, 2) of the best image of each cluster with those not linked to it."""
    linked: dict[int, set[int]] = defaultdict(set)
    for one, other in links.pairs.tolist():
        linked[one].add(other)
        linked[other].add(one)
    found = []
    seen: set[int] = set()
    for start in linked:
        if start in seen:
            continue
        cluster, waiting = {start}, [start]
        while waiting:
            new = linked[waiting.pop()] - cluster
            cluster |= new
            waiting += new
        seen |= cluster
        if len(cluster) <= MOST_COMPARED:
            kept = best(cluster)
            found += [(kept, other) for other in cluster - linked[kept] - {kept}]
    return np.array(found, int).reshape(-1, 2)
