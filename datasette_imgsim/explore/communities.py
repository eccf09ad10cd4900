"""Finds communities in the graph of neighbours: images that are mostly each other's neighbours.

Two images are linked by the share of the neighbours that they have in common (shared nearest
neighbours; Jarvis and Patrick 1973, Clustering Using a Similarity Measure Based on Shared Near
Neighbors). So a crowd and a sparse region count alike, and images that are near to everything link
nothing. Communities are those of the greatest modularity, by the method of Louvain (Blondel et al.
2008, Fast unfolding of communities in large networks).
"""

from __future__ import annotations

import numpy as np

from ..errors import ImgsimError
from ..limits import LIMITS
from ..progress import Advance, ignore

NEIGHBOURS, FEWEST_NEIGHBOURS, IMAGES_A_NEIGHBOUR = 10, 4, 8
"""An image is linked to so many others; in a small collection to fewer, else all are linked."""
FEWEST_GROUPS, MOST_GROUPS = 12, 60
"""Wanted of 1,000 images and more, and of 4,000 and more; of fewer images, in proportion to the
root of their number, as the size of the smallest group is."""
FEWEST_A_ROOT, MOST_A_ROOT, SMALLEST_A_ROOT = 0.38, 0.95, 0.25
SMALLEST = 4
COHESION = 0.5
"""Of the neighbours of its images, a new group has this share on average."""
FINER, TRIES = 1.4, 10
"""By so much the resolution is raised or lowered until there are as many groups as wanted."""
IMAGES_AT_ONCE = 2_000


def fewest_groups(images: int) -> int:
    """How many groups of so many images are wanted at least, if their likeness has so many."""
    return max(2, min(FEWEST_GROUPS, round(FEWEST_A_ROOT * images**0.5)))


def most_groups(images: int) -> int:
    """How many groups so many images have at most."""
    return max(3, min(MOST_GROUPS, round(MOST_A_ROOT * images**0.5)))


def smallest_group(images: int) -> int:
    """How many images a new group has at least."""
    return max(SMALLEST, round(SMALLEST_A_ROOT * images**0.5))


def linked(rows: np.ndarray) -> np.ndarray:
    """The neighbours (n, k) that count, out of lists, nearest first, -1 where there is none."""
    k = max(FEWEST_NEIGHBOURS, min(NEIGHBOURS, len(rows) // IMAGES_A_NEIGHBOUR))
    return rows[:, : min(k, int((rows >= 0).sum(axis=1).max(initial=1)))]


def shared(rows: np.ndarray, advance: Advance = ignore) -> np.ndarray:
    """The weights (n, k) float32, 0..1, of the links of images to their neighbours (n, k).

    A weight is the number of images that two lists have in common, of all that are in either; an
    image is in its own list. Where there is no neighbour (-1), it is 0.
    """
    count, k = rows.shape
    lists = np.column_stack([np.arange(count, dtype=rows.dtype), rows])
    weights = np.empty((count, k), np.float32)
    for start in range(0, count, IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        own, others = lists[part, None, :, None], lists[rows[part]][:, :, None, :]
        common = ((own == others) & (own >= 0)).sum(axis=(2, 3))
        weights[part] = np.where(rows[part] >= 0, common / (2 * (k + 1) - common), 0)
        advance(len(weights[part]))
    return weights


def find(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The group (n,) of each image, by its number from 0; -1 where it belongs to none.

    `rows` (n, k) are the neighbours of each image, -1 where there is none, and `weights` what
    `shared` gives for them.
    """
    images, resolution = len(rows), 1.0
    pieces = _pieces(rows, weights)
    of = _louvain(rows, weights, pieces, resolution)
    best = _belonging(rows, of, rows >= 0, smallest_group(images))
    for _ in range(TRIES):
        count = best.max(initial=-1) + 1
        if count < fewest_groups(images):
            resolution *= FINER
            of = _louvain(rows, weights, pieces, resolution)
        elif count > most_groups(images):
            resolution /= FINER
            of = _louvain(rows, weights, of, resolution)  # communities of these communities
        else:
            break
        other = _belonging(rows, of, rows >= 0, smallest_group(images))
        if count < fewest_groups(images) and other.max(initial=-1) + 1 <= count:
            break  # the links have no more groups than these
        best = other
    return extended(rows, weights, _largest(best, most_groups(images)))


def extended(rows: np.ndarray, weights: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The groups `of` (n,), with the images in none that belong to one, and with new groups.

    An image belongs to the group that most of its neighbours are in. Those that are left form
    groups among themselves, if they can, while there may be more of them.
    """
    of = joined(rows, of)
    while True:
        count, left = of.max(initial=-1) + 1, np.flatnonzero(of < 0)
        allowed = most_groups(len(rows)) - count
        if allowed <= 0 or len(left) < smallest_group(len(rows)):
            return of
        place = np.full(len(rows) + 1, -1, rows.dtype)  # the last one is that of no neighbour, -1
        place[left] = np.arange(len(left))
        among = place[rows[left]]
        links = np.where(among >= 0, weights[left], 0)
        new = _louvain(among, links, _pieces(among, links), 1)
        new = _belonging(among, new, rows[left] >= 0, smallest_group(len(rows)))
        new = _largest(new, allowed)
        if new.max(initial=-1) < 0:
            return of
        of[left[new >= 0]] = new[new >= 0] + count
        of = joined(rows, of)


def joined(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The groups `of` (n,), with each image in none that has most of its neighbours in one."""
    of = of.copy()
    groups = np.append(of, -1)  # the last one is that of no neighbour, -1
    while True:
        out = np.flatnonzero(of < 0)
        theirs = np.sort(groups[rows[out]], axis=1)
        middle = theirs[:, theirs.shape[1] // 2]  # whatever most of them are is there
        count = (theirs == middle[:, None]).sum(axis=1)
        belongs = (middle >= 0) & (2 * count > (rows[out] >= 0).sum(axis=1))
        if not belongs.any():
            return of
        of[out[belongs]] = groups[out[belongs]] = middle[belongs]


def _belonging(rows: np.ndarray, of: np.ndarray, is_there: np.ndarray, least: int) -> np.ndarray:
    """The groups (n,) that communities `of` (n,) make.

    They are of the images that have most of their neighbours in their community. A group must have
    `least` images, and enough of their neighbours: by chance, there are communities among images
    that have nothing in common, but few of these have neighbours that belong, too. `is_there`
    (n, k) marks the neighbours, of which `rows` may have only some.
    """
    neighbours = is_there.sum(axis=1)
    kept = np.where(2 * _inside(rows, of) > neighbours, of, -1)
    sizes = np.bincount(kept[kept >= 0], minlength=1)
    share = _inside(rows, kept) / np.maximum(neighbours, 1)
    cohesion = np.bincount(kept[kept >= 0], share[kept >= 0], minlength=1) / np.maximum(sizes, 1)
    return numbered(kept, np.flatnonzero((sizes >= least) & (cohesion >= COHESION)))


def _inside(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How many neighbours (n,) of each image are in its own group; 0 if it is in none."""
    return ((rows >= 0) & (of >= 0)[:, None] & (of[rows] == of[:, None])).sum(axis=1)


def _largest(of: np.ndarray, count: int) -> np.ndarray:
    """The groups `of` (n,), but only the `count` largest."""
    sizes = np.bincount(of[of >= 0])
    return numbered(of, np.argsort(-sizes, kind="stable")[:count])


def numbered(of: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The groups `of` (n,), the kept ones numbered from 0; -1 in place of the others, and of -1."""
    number = np.full(max(of.max(initial=-1), kept.max(initial=-1)) + 2, -1)
    number[kept] = np.arange(len(kept))
    return number[of]


def _louvain(
    rows: np.ndarray, weights: np.ndarray, pieces: np.ndarray, resolution: float
) -> np.ndarray:
    """The community (n,) of each image; those of a piece (n,) are in the same one."""
    try:
        import networkx
    except ImportError:
        raise ImgsimError("This needs networkx: pip install 'datasette-imgsim[embed]'") from None
    from scipy import sparse

    image, place = np.nonzero(weights)
    ends = pieces[image], pieces[rows[image, place]]
    count = pieces.max() + 1
    links = sparse.csr_array((weights[image, place], ends), (count, count))
    links = sparse.triu(links + links.T).tocoo()
    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_weighted_edges_from(
        zip(*(part.tolist() for part in (links.row, links.col, links.data)))
    )
    graph.add_weighted_edges_from(
        (piece, piece, weight / 2)  # the sum above has links within a piece twice
        for piece, weight in enumerate(links.diagonal().tolist())
        if weight
    )
    found = networkx.community.louvain_communities(graph, resolution=resolution, seed=0)
    of = np.empty(count, int)
    for number, community in enumerate(found):
        of[list(community)] = number
    return of[pieces]


def _pieces(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The piece (n,) of each image: images that are together in any case, which saves time.

    An image belongs to the piece of its nearest neighbour, if that has stronger links; of very many
    images, to that of the strongest link among all neighbours that have stronger ones (quick shift;
    Vedaldi and Soatto 2008, Quick Shift and Kernel Methods for Mode Seeking).
    """
    strength = weights.mean(axis=1)
    is_stronger = (rows >= 0) & (strength[rows] > strength[:, None])
    if len(rows) <= LIMITS.compared_exactly:
        is_stronger[:, 1:] = False
    place = np.where(is_stronger, weights, -1).argmax(axis=1)
    every = np.arange(len(rows))
    leads_to = np.where(is_stronger[every, place], rows[every, place], every)
    while (further := leads_to[leads_to] != leads_to).any():
        leads_to = np.where(further, leads_to[leads_to], leads_to)
    return np.unique(leads_to, return_inverse=True)[1]
