"""Positions of images on the map: t-SNE of their vectors, and places among them for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..db.atlas import read_atlas, save_atlas
from ..db.connect import Writer
from ..db.images import forget_orphans
from ..db.spaces import Space
from ..errors import ImgsimError
from ..limits import LIMITS
from ..progress import Progress, interruptible, silent
from ..search import indexes, ranking
from ..search.index import Index

SIDE, MARGIN = 256, 4
# The positions of one, two or three images: t-SNE needs four.
FEW = {
    1: [(128, 128)],
    2: [(80, 128), (176, 128)],
    3: [(80, 156), (176, 156), (128, 73)],
}
COMPONENTS, SPARE_COMPONENTS, POWER_ITERATIONS = 50, 10, 5
PERPLEXITY = 30
EXAGGERATED, ITERATIONS, ITERATIONS_A_REPORT = 250, 500, 10
# With fewer points, steps are so short that threads mostly wait for each other.
THREADED = 5_000
ROWS_AT_ONCE, BYTES_AT_ONCE = 2_000, 64_000_000
SPREAD = 0.5
# Placing among many: how many vectors a group has on average, and in how many groups an image
# looks for neighbours.
VECTORS_A_GROUP, GROUPS_COMPARED = 200, 40
# Placing: how many neighbours count, how fast their weight falls with their score, the distance in
# map units below which they pull no stronger, and the iterations of the median.
NEIGHBOURS, TEMPERATURE, SOFTENING, STEPS = 10, 0.05, 0.5, 20
# The largest float32 error in the score of a vector with itself.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Summary:
    """What `update` did; all are numbers of images."""

    laid_out: int
    """By t-SNE, in this run."""
    placed: int
    """Between others, in this run."""
    interpolated: int
    """Placed between others, in this run or before."""
    total: int
    """On the map."""
    damaged: int
    """Left out, since their vector cannot be used."""

    @property
    def could_be_truer(self) -> bool:
        """Whether more images would be laid out by t-SNE if the map was made anew."""
        return self.total - self.interpolated < fitted_count(self.total)


def update(conn: Writer, space: Space, refit: bool, progress: Progress = silent) -> Summary:
    """Brings the map of a space up to date.

    With `refit`, or if there is no map, all images are laid out (of very many, a sample by t-SNE
    and the others among it); else only new images are placed, and none is moved. Points of images
    that are gone are removed. Raises ImgsimError.
    """
    forget_orphans(conn, space.source_table)
    index = indexes.load(conn, space, progress)
    if not index.ids:
        raise ImgsimError(f"The space {space.name!r} holds no vectors: embed pictures first")
    ids, positions, fitted = read_atlas(conn, space)
    rows = np.array([-1 if (row := index.row(conn, id)) is None else row for id in ids], int)
    usable = rows >= 0
    vectors = ranked(index)
    damaged = len(index.damaged)
    if refit or not (fitted & usable).any():
        before = np.full((len(vectors), 2), np.nan)
        before[rows[usable]] = positions[usable]
        laid, is_fitted = lay_out_many(vectors, before, progress)
        save_atlas(conn, space, index.ids, laid, is_fitted, progress, replace=True)
        count, total = int(is_fitted.sum()), len(laid)
        return Summary(count, total - count, total - count, total, damaged)
    new = np.setdiff1d(np.arange(len(vectors)), rows)
    if len(new):
        laid_out = fitted & usable
        placed = place(vectors[new], vectors[rows[laid_out]], positions[laid_out], progress)
        new_ids = [index.ids[row] for row in new]
        is_fitted = np.zeros(len(new), bool)
        save_atlas(conn, space, new_ids, placed, is_fitted, progress, replace=False)
    interpolated = int((~fitted).sum()) + len(new)
    return Summary(0, len(new), interpolated, len(ids) + len(new), damaged)


def ranked(index: Index) -> np.ndarray:
    """The vectors of an index, (n, dimensions) float32, scaled so that inner products are scores.

    For a space that is not in memory: its reduced vectors, with nearly the same inner products.
    """
    return index.scaled(np.sqrt(ranking.weights(index.space)))


# Laying out


def fitted_count(count: int) -> int:
    """How many of `count` different images are laid out by t-SNE."""
    return count if count <= LIMITS.most_laid_out else LIMITS.laid_out_of_many


def lay_out_many(
    vectors: np.ndarray, before: np.ndarray, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """Positions as `lay_out` gives them, and which images t-SNE has laid out, (n,) bool.

    Of more than LIMITS.most_laid_out different vectors these are a random sample, the same for the
    same number of vectors, and copies of it; `place` gives the others their positions.
    """
    firsts, copies = distinct(vectors)
    count = fitted_count(len(firsts))
    if count == len(firsts):
        return lay_out(vectors, before, progress), np.ones(len(vectors), bool)
    order = np.random.default_rng(0).permutation(len(firsts))
    is_fitted = np.zeros(len(firsts), bool)
    is_fitted[order[:count]] = True
    fitted, others = (np.array(firsts)[part] for part in (is_fitted, ~is_fitted))
    laid = np.empty((len(firsts), 2))
    laid[is_fitted] = lay_out(vectors[fitted], before[fitted], progress)
    laid[~is_fitted] = place(vectors[others], vectors[fitted], laid[is_fitted], progress)
    return laid[copies], is_fitted[copies]


def lay_out(
    vectors: np.ndarray, before: np.ndarray | None = None, progress: Progress = silent
) -> np.ndarray:
    """Positions (n, 2) float64, 0 <= x, y < 256, of vectors (n, dimensions) made by `ranked`.

    The same input gives the same positions, and equal vectors share one. `before` (n, 2) is an
    older map, NaN for images without a position: t-SNE starts from it, and the new map is rotated
    to match it.
    """
    firsts, copies = distinct(vectors)
    if len(firsts) in FEW:
        return np.array(FEW[len(firsts)], float)[copies]
    vectors = vectors[firsts]
    points = principal(vectors)
    start, exaggerated = points[:, :2].astype(float), EXAGGERATED
    before = np.full((len(points), 2), np.nan) if before is None else before[firsts]
    has_place = np.isfinite(before).all(axis=1)
    if has_place.any() and np.ptp(before[has_place], axis=0).all():
        start = before.copy()
        start[~has_place] = place(
            vectors[~has_place], vectors[has_place], before[has_place], progress
        )
        exaggerated = 0  # these steps would rearrange the clusters
    with interruptible(progress) as watched:
        laid = tsne(points, start, exaggerated, watched)
    if has_place.any():
        laid = laid @ turn(laid[has_place], before[has_place])
    return in_square(laid)[copies]


def distinct(vectors: np.ndarray) -> tuple[list[int], list[int]]:
    """(firsts, copies): the rows of distinct vectors, and each row's place in that list."""
    kinds: dict[bytes, int] = {}
    firsts: list[int] = []
    copies: list[int] = []
    for row, vector in enumerate(vectors):
        kind = kinds.setdefault(hashlib.blake2b(vector, digest_size=16).digest(), len(kinds))
        if kind == len(firsts):
            firsts.append(row)
        copies.append(kind)
    return firsts, copies


def principal(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, dimensions) float32 on their first principal components, (n, at most 50) float32.

    Computed by subspace iteration from a seeded random start (Halko, Martinsson and Tropp 2011,
    Finding structure with randomness), since a vector may have very many dimensions.
    """
    count, dimensions = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = min(COMPONENTS + SPARE_COMPONENTS, count, dimensions)
    axes = np.random.default_rng(0).standard_normal((dimensions, size), np.float32)
    for _ in range(POWER_ITERATIONS):
        axes, _ = np.linalg.qr(axes)
        scores = vectors @ axes - mean @ axes
        axes = vectors.T @ scores - np.outer(mean, scores.sum(axis=0))
    axes, _ = np.linalg.qr(axes)
    scores = vectors @ axes - mean @ axes
    _, directions = np.linalg.eigh(scores.T.astype(np.float64) @ scores)
    return scores @ directions[:, ::-1][:, :COMPONENTS].astype(np.float32)


def neighbours(points: np.ndarray, k: int, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """The exact k nearest neighbours of each point: rows (n, k) and Euclidean distances (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(points)
    rows, distances = np.empty((len(points), k), int), np.empty((len(points), k))
    with progress(len(points), " images", "Finding neighbours") as advance:
        for start in range(0, len(points), ROWS_AT_ONCE):
            batch = slice(start, min(start + ROWS_AT_ONCE, len(points)))
            lengths, nearest = tree.kneighbors(points[batch])
            is_neighbour = nearest != np.arange(batch.start, batch.stop)[:, None]
            # A point with many near copies may be missing here: then the last one is dropped.
            is_neighbour[is_neighbour.all(axis=1), -1] = False
            rows[batch], distances[batch] = (
                values[is_neighbour].reshape(-1, k) for values in (nearest, lengths)
            )
            advance(len(nearest))
    return rows, distances


def tsne(points: np.ndarray, start: np.ndarray, exaggerated: int, progress: Progress) -> np.ndarray:
    """Positions (n, 2) float64 of points (n, components), n >= 4 (van der Maaten and Hinton 2008).

    `start` (n, 2) are the first positions, in any scale. `exaggerated` is the number of steps with
    early exaggeration, which come before the others.
    """
    try:
        import openTSNE
        from openTSNE import affinity, initialization, nearest_neighbors
    except ImportError:
        raise ImgsimError("This needs openTSNE: pip install 'datasette-imgsim[embed]'") from None

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    nearest = neighbours(points, round(3 * perplexity), progress)
    n_jobs = 1 if len(points) < THREADED else -1
    affinities = affinity.PerplexityBasedNN(
        knn_index=nearest_neighbors.PrecomputedNeighbors(*nearest),
        perplexity=perplexity,
        n_jobs=n_jobs,
    )
    # Points at the same position would never separate.
    start = initialization.jitter(initialization.rescale(start), random_state=0)
    with progress(exaggerated + ITERATIONS, " steps", "Laying out") as advance:
        method = openTSNE.TSNE(
            perplexity=perplexity,
            early_exaggeration_iter=exaggerated,
            n_iter=ITERATIONS,
            n_jobs=n_jobs,
            random_state=0,
            callbacks=lambda *state: advance(ITERATIONS_A_REPORT),
            callbacks_every_iters=ITERATIONS_A_REPORT,
        )
        return np.array(method.fit(affinities=affinities, initialization=start))


def turn(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation or reflection (2, 2) that brings points (n, 2) nearest to `target` (n, 2).

    Scale and shift are ignored (Schönemann 1966, orthogonal Procrustes).
    """
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(points - points.mean(axis=0), target - target.mean(axis=0))[0]


def in_square(points: np.ndarray) -> np.ndarray:
    """Scales and shifts points (n, 2) into the middle of the map, both axes alike.

    Along each axis, a coordinate becomes the mean of itself and of its rank, scaled to the same
    range (a histogram equalisation of half strength). This narrows gaps, gives crowds room, keeps
    the order, and leaves a few far outliers no more than half of the range.
    """
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    ranks = np.column_stack([np.searchsorted(np.sort(axis), axis) for axis in points.T])
    even = ranks * span / max(1, len(points) - 1)
    spread = (1 - SPREAD) * (points - low) + SPREAD * even
    middle, size = (spread.min(axis=0) + spread.max(axis=0)) / 2, np.ptp(spread, axis=0).max()
    return (spread - middle) * ((SIDE - 2 * MARGIN) / size) + SIDE / 2


# Placing


def place(
    vectors: np.ndarray, fitted: np.ndarray, positions: np.ndarray, progress: Progress = silent
) -> np.ndarray:
    """Positions (m, 2) float64, on an existing map, of vectors (m, dimensions) made by `ranked`.

    `fitted` (n, dimensions) are the vectors of images on the map and `positions` (n, 2) their
    positions. An image is placed at the weighted geometric median of the positions of its 10 best
    neighbours, with weights exp((score - best score) / 0.05). Unlike the weighted mean, the median
    stays near most of them if they are in different parts of the map. It is computed by the
    algorithm of Weiszfeld (1937), with distances softened by half a unit. A copy of an image gets
    the position of the image.
    """
    placed = np.empty((len(vectors), 2))
    with progress(len(vectors), " images", "Placing") as advance:
        for rows, candidates in compared(vectors, fitted):
            places, others = positions[candidates], fitted[candidates]
            k = min(NEIGHBOURS, len(candidates))
            step = max(1, BYTES_AT_ONCE // (4 * len(candidates)))
            for start in range(0, len(rows), step):
                batch = rows[start : start + step]
                scores = vectors[batch] @ others.T
                best = np.argpartition(-scores, k - 1)[:, :k]
                placed[batch] = _weighted_median(
                    places[best], np.take_along_axis(scores, best, axis=1).astype(float)
                )
                advance(len(batch))
    return placed


def compared(
    vectors: np.ndarray, fitted: np.ndarray, groups: int = GROUPS_COMPARED
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of rows of `vectors`, each with the rows of `fitted` to look for neighbours among.

    Of many these are the ones in the `groups` nearest groups: each vector belongs to the group of
    the nearest of some random ones (an inverted file; Jégou, Douze and Schmid 2011, Product
    quantization for nearest neighbor search).
    """
    if len(fitted) <= LIMITS.compared_with_all:
        yield np.arange(len(vectors)), np.arange(len(fitted))
        return
    random = np.random.default_rng(0)
    heads = fitted[random.permutation(len(fitted))[: len(fitted) // VECTORS_A_GROUP]]
    members = by_group(fitted, heads)
    heads = heads[[len(rows) > 0 for rows in members]]  # all but copies of others
    members = [rows for rows in members if len(rows)]
    near = np.argsort(-(heads @ heads.T), axis=1)[:, :groups]
    for group, rows in enumerate(by_group(vectors, heads)):
        if len(rows):
            yield rows, np.concatenate([members[each] for each in near[group]])


def by_group(vectors: np.ndarray, heads: np.ndarray) -> list[np.ndarray]:
    """The rows of the vectors to which each head is the nearest."""
    step = max(1, BYTES_AT_ONCE // (4 * len(heads)))
    groups = np.empty(len(vectors), int)
    for start in range(0, len(vectors), step):
        batch = slice(start, start + step)
        groups[batch] = (vectors[batch] @ heads.T).argmax(axis=1)
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, len(heads))))


def _weighted_median(places: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The medians (m, 2) of neighbours' positions (m, k, 2), weighted by their scores (m, k)."""
    best = scores.max(axis=1, keepdims=True)
    weights = np.exp((scores - best) / TEMPERATURE)
    weights = np.where(best > 1 - ROUNDING, scores == best, weights)

    def mean(weights):
        return np.vecdot(places.mT, (weights / weights.sum(axis=1, keepdims=True))[:, None])

    median = mean(weights)
    for _ in range(STEPS):
        distances = np.linalg.norm(places - median[:, None], axis=2)
        median = mean(weights / np.hypot(distances, SOFTENING))
    return median
