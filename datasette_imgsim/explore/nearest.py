"""The k images with the best scores for each image of an index.

Blocks of rough scores come from matrix products, which may round equal vectors differently. So
they only choose pairs, with a margin, whose scores are then computed as a search does it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from ..atlas import layout
from ..db.neighbours import Neighbours
from ..limits import LIMITS
from ..progress import Advance, Progress, silent
from ..search import ranking
from ..search.index import ROUGH, Index, InMemory
from .blocks import Block, blocks

BYTES_OF_PAIRS = 250_000
"""Of the vectors of pairs that are scored at once: what fits into the cache of a processor."""
BYTES_A_READ = 64_000_000
"""Of the vectors of pairs that are not in memory: images of a group have many candidates alike."""
ALLOWANCE, SPARE = 2, 40
"""A reduction chooses ALLOWANCE times as many candidates as neighbours, and SPARE more."""
GROUPS_COMPARED = 120
"""Of very many images, an image looks for neighbours among so many groups of 200 on average."""
SCORES_AT_ONCE = 4_000_000


def nearest(
    conn: sqlite3.Connection, index: Index, k: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each image of an index, best first; equal scores in order of id.

    Returns their rows (n, k) int32, -1 where there are fewer images, and scores (n, k) float32,
    -inf there. They are what a search finds, exactly for up to LIMITS.compared_exactly images
    whose vectors are in memory. Of more, a reduction chooses candidates in the groups near to an
    image, whose scores are exact.
    """
    best = Best.empty(len(index), k)
    rows = np.arange(len(index))
    with progress(len(index), " images", "Finding neighbours") as advance:
        if _is_exact(index):
            _compare_all(index, best, advance)
        else:
            _compare_in_groups(conn, index, best, rows, np.zeros(len(index), bool), advance)
    return best.rows, best.scores


def nearest_of(
    conn: sqlite3.Connection,
    index: Index,
    lists: Neighbours,
    new: np.ndarray,
    lost: np.ndarray,
    progress: Progress = silent,
) -> np.ndarray:
    """Fills the empty lists of rows `new` and `lost`, and adds `new` to the others' lists.

    Returns the rows of these others whose lists have changed.
    """
    best = Best(lists.rows, lists.scores)
    is_offered = np.ones(len(index), bool)
    is_offered[new] = is_offered[lost] = False
    before = lists.rows.copy()
    with progress(len(new) + len(lost), " images", "Finding neighbours") as advance:
        for rows, offered in ((new, is_offered), (lost, np.zeros(len(index), bool))):
            if not len(rows):
                continue
            if _is_exact(index):
                _compare_some(index, best, rows, offered, advance)
            else:
                _compare_in_groups(conn, index, best, rows, offered, advance)
    return np.flatnonzero(is_offered & (before != lists.rows).any(axis=1))


def scores_of(
    conn: sqlite3.Connection, index: Index, images: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """The scores of pairs (pairs,) of rows, float32, as a search for images like the first ones."""
    factors = ranking.per_number(index.space, ranking.weights(index.space))
    if isinstance(index, InMemory):
        return _scores(index.matrix, index.matrix, images, others, factors)
    scores = np.empty(len(images), np.float32)
    step = max(1, BYTES_A_READ // (4 * index.space.dimensions))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        used, places = np.unique(np.stack([images[part], others[part]]), return_inverse=True)
        vectors, (a, b) = index.vectors(conn, used), places.reshape(2, -1)
        scores[part] = _scores(vectors, vectors, a, b, factors)
    return scores


@dataclass
class Best:
    """The k best of each of n images that were found so far."""

    rows: np.ndarray
    """(n, k) int32, -1 at the end where there are fewer."""
    scores: np.ndarray
    """(n, k) float32, -inf there; exact."""

    @classmethod
    def empty(cls, count: int, k: int) -> Best:
        return cls(np.full((count, k), -1, np.int32), np.full((count, k), -np.inf, np.float32))

    def are_full(self, *parts: Block) -> bool:
        """Whether all images of blocks have k others in their lists."""
        return all((self.rows[part.rows, -1] >= 0).all() for part in parts)

    def enter(self, images: np.ndarray, others: np.ndarray, scores: np.ndarray) -> None:
        """Enters others (m,), none of which is there, into the lists of images (m,)."""
        k = self.rows.shape[1]
        touched, place = np.unique(images, return_inverse=True)
        owners = np.concatenate([np.repeat(np.arange(len(touched)), k), place])
        rows = np.concatenate([self.rows[touched].ravel(), others.astype(np.int32)])
        values = np.concatenate([self.scores[touched].ravel(), scores])
        order = np.lexsort((rows, -values, owners))
        counts = k + np.bincount(place, minlength=len(touched))
        starts = np.cumsum(counts) - counts
        kept = order[starts[:, None] + np.arange(k)]
        self.rows[touched], self.scores[touched] = rows[kept], values[kept]


def _is_exact(index: Index) -> TypeGuard[InMemory]:
    return isinstance(index, InMemory) and len(index) <= LIMITS.compared_exactly


def _compare_all(index: InMemory, best: Best, advance: Advance) -> None:
    """Compares each image with all others, each pair once."""
    factors = ranking.per_number(index.space, ranking.weights(index.space))
    parts = blocks(index, factors, np.arange(len(index)))
    # Blocks with themselves come first: later, few images can enter a list.
    for part in parts:
        _offer(best, part, part, *part.better(part))
    # So many images seem done with each block, since the first ones are compared with most others.
    shares = np.arange(len(parts), 0, -1).cumsum()
    done = len(index) * shares // shares[-1]
    for number, part in enumerate(parts):
        for other in parts[number + 1 :]:
            rough = part.rough(other) if best.are_full(part, other) else part.better(other)
            _offer(best, part, other, *rough)
            _offer(best, other, part, *rough, by_column=True)
        advance(int(done[number] - (done[number - 1] if number else 0)))


def _compare_some(
    index: InMemory, best: Best, rows: np.ndarray, is_offered: np.ndarray, advance: Advance
) -> None:
    """Compares rows with all others; they are offered to the lists of those that are marked."""
    factors = ranking.per_number(index.space, ranking.weights(index.space))
    parts = blocks(index, factors, np.arange(len(index)))
    for asked in blocks(index, factors, rows):
        for other in parts:
            rough = asked.rough(other) if best.are_full(asked, other) else asked.better(other)
            _offer(best, asked, other, *rough)
            if is_offered[other.rows].any():
                _offer(best, other, asked, *rough, by_column=True, is_offered=is_offered)
        advance(len(asked.rows))


def _offer(
    best: Best,
    images: Block,
    others: Block,
    rough: np.ndarray,
    margin: float,
    by_column: bool = False,
    is_offered: np.ndarray | None = None,
) -> None:
    """Enters others into the lists of images, or of those that are marked.

    The rough scores are (images, others), or (others, images) if `by_column`; true ones are at
    most `margin` away.
    """
    k = best.rows.shape[1]
    axis = 0 if by_column else 1
    last = best.scores[images.rows, -1]
    least = last - np.float32(margin)
    if len(others.rows) > k + 1 and np.isneginf(least).any():
        # Lists that are not full: only the best of this block can enter, beside the image itself.
        of_block = np.partition(rough, -k - 1, axis).take(-k - 1, axis)
        least = np.maximum(least, of_block - np.float32(2 * margin))
    # Only an image with a smaller id could enter a list of copies.
    least[(last >= 1) & (best.rows[images.rows, -1] < others.rows[0])] = np.inf
    if is_offered is not None:
        least[~is_offered[images.rows]] = np.inf
    places = _places(rough >= (least if by_column else least[:, None]))
    a, b = divmod(places, rough.shape[1])
    if by_column:
        a, b = b, a
    is_other = images.rows[a] != others.rows[b]
    a, b = a[is_other], b[is_other]
    if len(a) > 2 * k * len(images.rows):
        if margin > ROUGH:
            better, margin = images.better(others)
            _offer(best, images, others, better, margin, is_offered=is_offered)
            return
        order = np.lexsort((b, a))
        a, b = a[order], b[order]
        kept = _without_ties(a, rough[b, a] if by_column else rough[a, b], k)
        a, b = a[kept], b[kept]
    if len(a):
        scores = _scores(images.vectors, others.vectors, a, b, images.factors)
        can_enter = scores >= last[a]
        best.enter(images.rows[a[can_enter]], others.rows[b[can_enter]], scores[can_enter])


def _places(mask: np.ndarray) -> np.ndarray:
    """The places of the few that are true, as `np.flatnonzero` gives them, but faster."""
    flat = mask.reshape(-1)
    if len(flat) % 8:
        return np.flatnonzero(flat)
    words = np.flatnonzero(flat.view(np.uint64))
    word, byte = np.nonzero(flat.reshape(-1, 8)[words])
    return words[word] * 8 + byte


def _scores(
    images: np.ndarray, others: np.ndarray, a: np.ndarray, b: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """The scores (pairs,) of vectors a of images and b of others, as a search computes them."""
    scores = np.empty(len(a), np.float32)
    step = max(1, BYTES_OF_PAIRS // images[:1].nbytes)
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        scores[part] = np.vecdot(others[b[part]], images[a[part]] * factors)
    return ranking.rounded(scores).astype(np.float32)


def _without_ties(lists: np.ndarray, rough: np.ndarray, k: int) -> np.ndarray:
    """Which of the pairs (m,) can enter their list; `lists` (m,) is in ascending order.

    There may be many copies of one picture: of those that tie with the k-th, k are enough.
    """
    _, starts, counts = np.unique(lists, return_index=True, return_counts=True)
    order = np.lexsort((-rough, lists))
    kth = np.repeat(rough[order][starts + np.minimum(counts, k) - 1], counts)
    is_tied = np.abs(rough - kth) <= ROUGH
    so_far = np.cumsum(is_tied)
    place = so_far - np.repeat((so_far - is_tied)[starts], counts)
    return (rough > kth + ROUGH) | (is_tied & (place <= k))


def _compare_in_groups(
    conn: sqlite3.Connection,
    index: Index,
    best: Best,
    rows: np.ndarray,
    is_offered: np.ndarray,
    advance: Advance,
) -> None:
    """Like `_compare_some`, among those in the groups near to each, by their reduced vectors."""
    vectors = index.compact(np.sqrt(ranking.weights(index.space)))
    asked = vectors if len(rows) == len(vectors) else vectors[rows]
    wanted = ALLOWANCE * best.rows.shape[1] + SPARE
    for places, candidates in layout.compared(asked, vectors, GROUPS_COMPARED):
        compared = vectors[candidates]
        count = min(wanted + 1, len(candidates))  # the image itself may be among them
        step = max(1, SCORES_AT_ONCE // len(candidates))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            rough = asked[part] @ compared.T
            chosen = np.argpartition(rough, len(candidates) - count, axis=1)[:, -count:]
            images, others = np.repeat(rows[part], count), candidates[chosen].ravel()
            is_other = images != others
            images, others = images[is_other], others[is_other]
            scores = scores_of(conn, index, images, others)
            best.enter(images, others, scores)
            can_enter = is_offered[others] & (scores >= best.scores[others, -1] - ROUGH)
            if can_enter.any():
                pairs = others[can_enter], images[can_enter]
                best.enter(*pairs, scores_of(conn, index, *pairs))
            advance(len(part))
