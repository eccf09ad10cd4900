"""Where images lie on the map: t-SNE of their vectors, and places for those that come later."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..db.atlas import read_atlas, save_atlas
from ..db.connect import Writer
from ..db.images import forget_orphans
from ..db.spaces import Space
from ..errors import ImgsimError
from ..progress import Progress, silent
from ..search import indexes, ranking
from ..search.index import Index

SIDE, MARGIN = 256, 4
# Where one, two and three images lie, of which t-SNE makes nothing.
FEW = {
    1: [(128, 128)],
    2: [(80, 128), (176, 128)],
    3: [(80, 156), (176, 156), (128, 73)],
}
COMPONENTS, SPARE_COMPONENTS, POWER_ITERATIONS = 50, 10, 5
PERPLEXITY = 30
EXAGGERATED, ITERATIONS, ITERATIONS_A_REPORT = 250, 500, 10
# With fewer points a step is so short that threads mostly wait for each other.
THREADED = 5_000
ROWS_AT_ONCE, BYTES_AT_ONCE = 2_000, 64_000_000
SPREAD = 0.5
# Placing: how many neighbours, how fast their weight falls with their score, and nearer than what
# (in units of the map) they do not draw stronger.
NEIGHBOURS, TEMPERATURE, SOFTENING, STEPS = 10, 0.05, 0.5, 20
# float32 gives the score of a vector with itself so exactly.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Summary:
    """What became of a map; all are numbers of images."""

    laid_out: int
    placed: int
    interpolated: int
    total: int
    damaged: int
    """Left out, since their vector cannot be used."""


def update(conn: Writer, space: Space, refit: bool, progress: Progress = silent) -> Summary:
    """Lays the space out where it has no map or with `refit`; else only places what is new.

    Points of images that are gone are removed. Raises ImgsimError.
    """
    forget_orphans(conn, space.source_table)
    index = indexes.load(conn, space)
    if not index.ids:
        raise ImgsimError(f"The space {space.name!r} holds no vectors: embed pictures first")
    ids, positions, fitted = read_atlas(conn, space)
    rows = np.array([-1 if (row := index.row(id)) is None else row for id in ids], int)
    usable = rows >= 0
    vectors = ranked(index)
    damaged = len(index.damaged)
    if refit or not (fitted & usable).any():
        before = np.full((len(vectors), 2), np.nan)
        before[rows[usable]] = positions[usable]
        laid = lay_out(vectors, before, progress)
        points = [(id, x, y, "fitted") for id, (x, y) in zip(index.ids, laid.tolist())]
        save_atlas(conn, space, points, replace=True)
        return Summary(len(points), 0, 0, len(points), damaged)
    new = np.setdiff1d(np.arange(len(vectors)), rows)
    if len(new):
        known = fitted & usable
        placed = place(vectors[new], vectors[rows[known]], positions[known], progress)
        points = [
            (index.ids[row], x, y, "interpolated") for row, (x, y) in zip(new, placed.tolist())
        ]
        save_atlas(conn, space, points, replace=False)
    interpolated = int((~fitted).sum()) + len(new)
    return Summary(0, len(new), interpolated, len(ids) + len(new), damaged)


def ranked(index: Index) -> np.ndarray:
    """(n, dimensions) float32 of a space: the inner product of two rows is their score.

    Of a space that is too large for the memory, what its reduction keeps.
    """
    return index.scaled(np.sqrt(ranking.weights(index.space)))


# Laying out


def lay_out(
    vectors: np.ndarray, before: np.ndarray | None = None, progress: Progress = silent
) -> np.ndarray:
    """Positions (n, 2) float64, 0 <= x, y < 256, of ranked vectors (n, dimensions).

    The same vectors give the same positions; equal ones share theirs. `before` (n, 2) is an older
    map, NaN where an image had no place: t-SNE starts from it, and the new map is turned to it.
    """
    firsts, copies = distinct(vectors)
    if len(firsts) in FEW:
        return np.array(FEW[len(firsts)], float)[copies]
    vectors = vectors[firsts]
    points = principal(vectors)
    start, exaggerated = points[:, :2].astype(float), EXAGGERATED
    before = np.full((len(points), 2), np.nan) if before is None else before[firsts]
    known = np.isfinite(before).all(axis=1)
    if known.any() and np.ptp(before[known], axis=0).all():
        start = before.copy()
        start[~known] = place(vectors[~known], vectors[known], before[known], progress)
        exaggerated = 0  # these steps find how clusters lie to each other, and that is to stay
    laid = tsne(points, start, exaggerated, progress)
    if known.any():
        laid = laid @ turn(laid[known], before[known])
    return in_square(laid)[copies]


def distinct(vectors: np.ndarray) -> tuple[list[int], list[int]]:
    """Rows of the first of each kind of equal vectors, and the place of each row's kind there."""
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
    """The first 50 principal components (n, at most 50) float32 of (n, dimensions) float32.

    By subspace iteration from a seeded random start (Halko, Martinsson and Tropp 2011, Finding
    structure with randomness), since a vector may have very many dimensions.
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
    """Each point's k nearest others, exactly: rows (n, k) and Euclidean distances (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    tree = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(points)
    rows, distances = np.empty((len(points), k), int), np.empty((len(points), k))
    with progress(len(points), " images", "Finding neighbours") as advance:
        for start in range(0, len(points), ROWS_AT_ONCE):
            some = slice(start, min(start + ROWS_AT_ONCE, len(points)))
            lengths, nearest = tree.kneighbors(points[some])
            other = nearest != np.arange(some.start, some.stop)[:, None]
            # Among many that are nearly the same, a point need not find itself.
            other[other.all(axis=1), -1] = False
            rows[some], distances[some] = (
                part[other].reshape(-1, k) for part in (nearest, lengths)
            )
            advance(len(nearest))
    return rows, distances


def tsne(points: np.ndarray, start: np.ndarray, exaggerated: int, progress: Progress) -> np.ndarray:
    """(n, 2) float64 of (n, components), n >= 4 (van der Maaten and Hinton 2008).

    `start` (n, 2) is where points are at first; only its shape counts, not its scale. So many of
    the steps are `exaggerated` ones, in addition to the others.
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
    # Points on one spot would never part.
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
    """The rotation, with a reflection if need be, (2, 2) that brings points (n, 2) nearest to
    their targets (n, 2) but for scale and shift (Schönemann 1966, orthogonal Procrustes)."""
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(points - points.mean(axis=0), target - target.mean(axis=0))[0]


def in_square(points: np.ndarray) -> np.ndarray:
    """Scales and shifts points (n, 2) into the middle of the map, both axes alike.

    Along each axis the coordinate becomes the mean of itself and of its rank, stretched over the
    same range (a histogram equalisation of half strength): gaps shrink, crowds get room, the order
    stays, and a few far outliers cannot take more than half of its range.
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
    """Positions (m, 2) float64 of ranked vectors (m, dimensions) on a map that is there.

    `fitted` (n, dimensions) are the vectors of those on the map and `positions` (n, 2) their
    places. An image comes to the weighted geometric median of its 10 best neighbours' places, each
    weighing exp((score - best score) / 0.05): unlike the weighted mean it stays with most of them
    where they lie in different parts of the map. Found as Weiszfeld (1937) does, with distances
    softened by half a unit. A copy of an image comes to the image's place.
    """
    placed = np.empty((len(vectors), 2))
    k = min(NEIGHBOURS, len(fitted))
    step = max(1, BYTES_AT_ONCE // (4 * len(fitted)))
    with progress(len(vectors), " images", "Placing") as advance:
        for start in range(0, len(vectors), step):
            some = slice(start, start + step)
            scores = vectors[some] @ fitted.T
            best = np.argpartition(-scores, k - 1)[:, :k]
            placed[some] = _weighted_median(
                positions[best], np.take_along_axis(scores, best, axis=1).astype(float)
            )
            advance(len(best))
    return placed


def _weighted_median(places: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(m, 2) of the places (m, k, 2) and scores (m, k) of neighbours."""
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
