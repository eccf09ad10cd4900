"""The images most like each image of a space: computed, stored, and kept up to date."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from ..db.connect import Writer
from ..db.images import forget_orphans
from ..db.neighbours import (
    Neighbours,
    Stamp,
    change_neighbours,
    read_neighbours,
    read_stamp,
    save_neighbours,
    stored_keys,
)
from ..db.spaces import Space, count_vectors, reread
from ..errors import ImgsimError
from ..progress import Progress, silent
from ..search import indexes
from ..search.index import Index
from .nearest import nearest, nearest_of, scores_of

__all__ = ["Neighbours", "ensure_neighbours", "nearest", "update"]

K = 20
"""How many neighbours an image has by default."""
FEW = 0.2
"""Up to this share of the images, only the lists that change are computed."""
SAME = 5e-6
"""Scores that differ by less are those of the same vectors, perhaps on another machine."""


@dataclass(frozen=True)
class Summary:
    """What `update` did; all but k are numbers of images."""

    k: int
    """How many neighbours each image has, if there are so many others."""
    total: int
    computed: int
    """Whose neighbours were looked for among all images."""
    joined: int
    """Others that got new images among their neighbours."""
    damaged: int
    """Left out, since their vector cannot be used."""


def ensure_neighbours(
    conn: Writer, space: Space, k: int = K, progress: Progress = silent
) -> Neighbours:
    """The k nearest of each image: those that are stored, else computed and stored.

    What is stored is kept with more than k neighbours if it has more. Raises ImgsimError.
    """
    stamp = read_stamp(conn, space)
    is_enough = stamp is not None and stamp.k >= k
    update(conn, space, stamp.k if stamp and is_enough else k, progress)
    return read_neighbours(conn, space, k)


def update(conn: Writer, space: Space, k: int | None, progress: Progress = silent) -> Summary:
    """Brings the stored neighbours of a space up to date.

    k None stands for as many as are stored, else K. Where few images are new, has changed or are
    gone, only the lists that this changes are computed. Raises ImgsimError.
    """
    forget_orphans(conn, space.source_table)
    space = reread(conn, space.name)
    stamp = read_stamp(conn, space)
    k = k or (stamp.k if stamp else K)
    if stamp == Stamp(space.generation, k):
        return Summary(k, count_vectors(conn).get(space.id, 0), 0, 0, 0)
    index = indexes.load(conn, space, progress)
    if not index.ids:
        raise ImgsimError(f"The space {space.name!r} holds no vectors: embed pictures first")
    damaged = len(index.damaged)
    wanted = Stamp(index.space.generation, k)
    if stamp and stamp.k >= k:
        before = read_neighbours(conn, space, k, index.ids)
        new, lost = _outdated(conn, index, before)
        if len(new) + len(lost) <= FEW * len(index):
            joined = nearest_of(conn, index, before, new, lost, progress)
            if stamp.k == k:
                gone = [key for key in stored_keys(conn, space) if index.row(conn, key) is None]
                # New ones come last: if the run is ended before, they count as new again.
                changed = [*joined, *lost, *new]
                change_neighbours(conn, space, wanted, before, changed, gone, progress)
            else:
                save_neighbours(conn, space, wanted, before, progress)
            return Summary(k, len(index), len(new) + len(lost), len(joined), damaged)
    found = Neighbours(index.ids, *nearest(conn, index, k, progress))
    save_neighbours(conn, space, wanted, found, progress)
    return Summary(k, len(index), len(index), 0, damaged)


def _outdated(
    conn: sqlite3.Connection, index: Index, before: Neighbours
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of images that are new or have changed, and of those that lost a neighbour.

    Both are taken out of the lists in `before`, which keeps those that are still right. An image
    has changed if its stored score with its first neighbour, or with its last, is another now.
    """
    has_list = before.rows[:, 0] >= 0
    is_new = ~has_list
    images = np.flatnonzero(has_list)
    lengths = (before.rows >= 0).sum(axis=1)
    for place in (np.zeros(len(images), int), lengths[images] - 1):
        now = scores_of(conn, index, images, before.rows[images, place])
        is_new[images] |= np.abs(now - before.scores[images, place]) > SAME
    names_new = (before.rows >= 0) & is_new[before.rows]
    before.rows[names_new] = -1
    before.rows[is_new] = -1
    most = min(before.rows.shape[1], len(index) - 1)
    is_lost = ~is_new & ((before.rows >= 0).sum(axis=1) < most)
    before.rows[is_lost] = -1
    before.scores[before.rows < 0] = -np.inf
    return np.flatnonzero(is_new), np.flatnonzero(is_lost)
