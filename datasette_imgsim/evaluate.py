"""How good a space is: retrieval over its own images, against labels that the user has."""

from __future__ import annotations

import io
import os
import posixpath
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement, islice, repeat

import numpy as np

from .db.images import read_thumbnail
from .db.spaces import Space
from .db.tables import SourceTable, check_column
from .errors import ImgsimError
from .limits import LIMITS
from .progress import Advance, ignore
from .search import indexes, ranking
from .search.index import Index

METRICS = ("mAP", "P@1", "P@5", "R@10", "nDCG@10")
SCORES_AT_ONCE = 4_000_000
BINS = 8
HISTOGRAM_SIDE = 64
THUMBNAILS_AT_ONCE = 1_000
GRID_STEPS = 4
MOST_LEVELS_IN_A_GRID = 5
"""Of more, only each level and each pair is tried, since a grid grows with their fourth power."""


@dataclass(frozen=True)
class Task:
    """Which images are queries, and what is relevant to each: the others of its class.

    `classes` (n,) numbers the class of each image. An image that is alone in its class is no
    query, but others can find it. `queries` are rows.
    """

    classes: np.ndarray
    queries: np.ndarray

    @classmethod
    def of(cls, labels: list) -> Task:
        """`labels` holds one value an image. Raises ImgsimError where nothing can be asked."""
        numbers: dict[str, int] = {}
        classes = np.array([numbers.setdefault(str(label), len(numbers)) for label in labels])
        queries = np.flatnonzero(np.bincount(classes)[classes] > 1)
        if len(numbers) < 2:
            raise ImgsimError(
                "All images have the same label: there must be at least two to tell apart"
            )
        if len(queries) == 0:
            raise ImgsimError("No label stands at two images, so there is nothing to find")
        return cls(classes, queries)

    def sample(self, count: int) -> Task:
        """The same with at most `count` queries, chosen at random with a fixed seed."""
        if len(self.queries) <= count:
            return self
        chosen = np.random.default_rng(0).choice(self.queries, count, replace=False)
        return Task(self.classes, np.sort(chosen))

    @property
    def relevant(self) -> np.ndarray:
        """How many images are relevant to each query (queries,)."""
        return np.bincount(self.classes)[self.classes[self.queries]] - 1


def rank_metrics(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The METRICS of one query: `scores` (n,) of the others, `relevant` (n,) says which count.

    The images are ranked by falling score; of equal scores the irrelevant come first, so that a
    space that cannot tell images apart gains nothing. With R relevant images at the ranks
    r_1 < … < r_R (from 1):

    - mAP, here the average precision: (1/R) sum of i / r_i (Manning, Raghavan & Schütze 2008,
      Introduction to Information Retrieval, section 8.4)
    - P@k, precision: how many of the first k are relevant, divided by k
    - R@k, recall: how many of the relevant are among the first k, divided by R
    - nDCG@k: the sum of 1 / log2(1 + r_i) over r_i <= k, divided by the most it could be
      (Järvelin & Kekäläinen 2002, doi 10.1145/582415.582418, with gains of 0 and 1)
    """
    # Negated, so that sorting puts the best first and counting "at least as good" is one search.
    others, wanted = np.sort(-scores), np.sort(-scores[relevant])
    better = np.searchsorted(others, wanted, side="right")
    ties = np.searchsorted(wanted, wanted, side="right")
    number = np.arange(1, len(wanted) + 1)
    # Irrelevant ones that are at least as good, then the relevant ones so far.
    ranks = better - ties + number
    first = ranks[ranks <= 10]
    ideal = np.arange(1, min(len(wanted), 10) + 1)
    return np.array(
        [
            np.mean(number / ranks),
            np.sum(ranks <= 1),
            np.sum(ranks <= 5) / 5,
            len(first) / len(wanted),
            np.sum(1 / np.log2(1 + first)) / np.sum(1 / np.log2(1 + ideal)),
        ]
    )


def by_chance(task: Task) -> np.ndarray:
    """What a random order would give on average, exactly: (queries, METRICS).

    For R relevant of n: precision at any k is R/n, recall k/n, and the average precision
    (H_n + (R-1)(n-H_n)/(n-1)) / n with H_n = 1 + 1/2 + … + 1/n, since the i-th image is relevant
    with probability R/n and then each one before it with (R-1)/(n-1).
    """
    n, relevant = len(task.classes) - 1, task.relevant.astype(float)
    harmonic = np.sum(1 / np.arange(1, n + 1))
    share = relevant / n
    discounts = np.cumsum(1 / np.log2(1 + np.arange(1, 11)))
    ideal = discounts[np.minimum(task.relevant, 10) - 1]
    return np.stack(
        [
            (harmonic + (relevant - 1) * (n - harmonic) / (n - 1)) / n,
            share,
            share * min(n, 5) / 5,
            np.full_like(share, min(n, 10) / n),
            share * discounts[min(n, 10) - 1] / ideal,
        ],
        axis=1,
    )


def measure(
    matrices: list[np.ndarray],
    weightings: np.ndarray,
    task: Task,
    advance: Advance = ignore,
) -> np.ndarray:
    """(weightings, queries, METRICS): each query against all other images.

    `matrices` are (n, dimensions) float32, one a level, whose inner products are its cosines;
    `weightings` (weightings, levels) says how to mix these. `advance` is told of the rankings
    done, of which there is one for each weighting and query.
    """
    metrics_of = np.empty((len(weightings), len(task.queries), len(METRICS)))
    weightings = np.asarray(weightings, np.float32)
    step = max(1, SCORES_AT_ONCE // len(task.classes))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(task.queries), step):
            rows = task.queries[start : start + step]
            cosines = np.stack([matrix[rows] @ matrix.T for matrix in matrices], axis=1)
            ranked = threads.map(
                _leave_one_out, cosines, rows, repeat(weightings), repeat(task.classes)
            )
            for number, metrics in enumerate(ranked, start):
                metrics_of[:, number] = metrics
                advance(len(weightings))
    return metrics_of


def _leave_one_out(
    cosines: np.ndarray, query: int, weightings: np.ndarray, classes: np.ndarray
) -> list[np.ndarray]:
    """METRICS of one query for each weighting; `cosines` is (levels, n)."""
    others = np.delete(cosines, query, axis=1)
    relevant = np.delete(classes == classes[query], query)
    # Rounded as search rounds: equal vectors must have equal scores.
    scores = (np.rint(ranking.SCALE * (weights @ others)) for weights in weightings)
    return [rank_metrics(each, relevant) for each in scores]


def histograms(thumbnails: Iterator[bytes | None], count: int) -> np.ndarray:
    """(count, 512) float32: the square roots of each picture's shares of 8 x 8 x 8 RGB colours.

    Their inner product is the Bhattacharyya coefficient, 0..1 (Swain & Ballard 1991,
    doi 10.1007/BF00130487, compare such histograms by their intersection). Pictures without a
    thumbnail, or with a damaged one, stay 0.
    """
    rows = np.zeros((count, BINS**3), np.float32)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, count, THUMBNAILS_AT_ONCE):
            some = list(islice(thumbnails, THUMBNAILS_AT_ONCE))
            rows[start : start + len(some)] = list(threads.map(_histogram, some))
    return rows


def _histogram(jpeg: bytes | None) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg or b"")) as image:
            image.draft("RGB", (HISTOGRAM_SIDE, HISTOGRAM_SIDE))
            counted = colours(np.asarray(image.convert("RGB")))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return np.zeros(BINS**3)  # none, or one that was damaged since it was made
    return np.sqrt(counted / counted.sum())


def colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (512,), how many pixels have each of 8 x 8 x 8 RGB colours."""
    bins = pixels // (256 // BINS)
    codes = bins.reshape(-1, 3) @ np.array([BINS * BINS, BINS, 1])
    return np.bincount(codes, minlength=BINS**3)


@dataclass(frozen=True)
class Result:
    """One way to rank, measured: METRICS as means over queries and over classes, 0..1."""

    name: str
    over_queries: dict[str, float]
    over_classes: dict[str, float]
    level_weights: dict[str, float] | None = None
    centred: bool | None = None

    @classmethod
    def of(cls, name: str, metrics: np.ndarray, task: Task, **more) -> Result:
        """`metrics` is (queries, METRICS)."""
        classes, query_class = np.unique(task.classes[task.queries], return_inverse=True)
        sums = np.zeros((len(classes), len(METRICS)))
        np.add.at(sums, query_class, metrics)
        per_class = sums / np.bincount(query_class)[:, None]
        return cls(name, _named(metrics.mean(0)), _named(per_class.mean(0)), **more)


def _named(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(METRICS, values)}


def read_labels(conn: sqlite3.Connection, space: Space, column: str | None) -> dict:
    """The label of each image, by id: a column of the source table, or the folder of its path.

    Images with no label (null), or whose path is no text, are left out. Raises ImgsimError.
    """
    table = space.source_table
    wanted = "path" if column is None else column
    hint = ". Name the column of the labels with --label" if column is None else ""
    check_column(conn, table, wanted, hint)
    values = SourceTable.read(conn, table).values(conn, wanted)
    if column is None:
        return {id: posixpath.dirname(path) for id, path in values if isinstance(path, str)}
    return dict(values)


class Evaluation:
    """A space beside its labels. `sizes` says what was left out."""

    def __init__(self, conn: sqlite3.Connection, space: Space, labels: dict):
        """Loads the vectors. Raises ImgsimError where there is nothing to measure."""
        self.conn, self.space = conn, space
        index = indexes.load(conn, space)
        self.ids = [id for id in index.ids if id in labels]
        self.without_label, self.damaged = len(index) - len(self.ids), len(index.damaged)
        self.is_centred = index.centre is not None
        if not self.ids:
            raise ImgsimError("No image has a label: there is nothing to measure")
        self.task = Task.of([labels[id] for id in self.ids])
        self.matrices = self._levels(index)

    def _levels(self, vectors: Index) -> list[np.ndarray]:
        rows = [row for id in self.ids if (row := vectors.row(id)) is not None]
        if len(rows) < len(self.ids):
            raise ImgsimError("Images were removed while this ran: run it again")
        matrices = [np.empty((len(rows), size), np.float32) for size in self.space.levels.values()]
        for start in range(0, len(rows), LIMITS.vectors_at_once):
            some = slice(start, start + LIMITS.vectors_at_once)
            whole = vectors.vectors(self.conn, rows[some])
            for matrix, part in zip(matrices, self.space.slices.values()):
                matrix[some] = whole[:, part]
        return matrices

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "images": len(self.ids),
            "classes": len(np.unique(self.task.classes)),
            "queries": len(self.task.queries),
            "without_label": self.without_label,
            "damaged": self.damaged,
        }

    @property
    def swept(self) -> Task:
        """What a sweep asks: no more than LIMITS.sweep_queries queries."""
        return self.task.sample(LIMITS.sweep_queries)

    def work(self, sweep: bool) -> int:
        """How many rankings `advance` will be told of, in all."""
        count = (len(self._ways()) + 1) * len(self.task.queries)
        if sweep:
            grid = weight_grid(len(self.space.levels))
            count += (1 + self.is_centred) * len(grid) * len(self.swept.queries)
        return count

    def _ways(self) -> list[np.ndarray]:
        """Each level alone, and the default level weights last."""
        default = ranking.weights(self.space)
        ways = [weights for weights in np.eye(len(default)) if not np.array_equal(weights, default)]
        return [*ways, default]

    def results(self, advance: Advance = ignore) -> list[Result]:
        """Each level, the default level weights, and what colours and chance alone would give."""
        results = self._measured(self.matrices, self._ways(), self.task, self.is_centred, advance)
        results[-1] = replace(results[-1], name=f"{results[-1].name} (default)")
        thumbnails = histograms(self._thumbnails(), len(self.ids))
        if thumbnails.any():
            (metrics,) = measure([thumbnails], np.ones((1, 1)), self.task, advance)
            results.append(Result.of("colour histogram", metrics, self.task))
        else:
            advance(len(self.task.queries))
        return [*results, Result.of("random order", by_chance(self.task), self.task)]

    def sweep(self, advance: Advance = ignore) -> list[Result]:
        """A grid of level weights, each level alone among them, with centring and without.

        Best mAP first; a space without a centre has no results with centring.
        """
        task, grid = self.swept, weight_grid(len(self.space.levels))
        results = self._measured(self.matrices, grid, task, self.is_centred, advance)
        if self.is_centred:
            raw = self._levels(indexes.load(self.conn, self.space, centring=False))
            results += self._measured(raw, grid, task, False, advance)
        return sorted(results, key=lambda result: -result.over_queries["mAP"])

    def _measured(self, matrices, weightings, task, centred, advance) -> list[Result]:
        measured = measure(matrices, np.array(weightings), task, advance)
        return [
            self._result(weights, metrics, task, centred)
            for weights, metrics in zip(weightings, measured)
        ]

    def _result(self, weights, metrics, task, centred) -> Result:
        used = {
            level: round(float(weight), 4)
            for level, weight in zip(self.space.levels, weights)
            if weight
        }
        name = ",".join(f"{level}={weight:g}" for level, weight in used.items())
        if len(used) == 1:
            (name,) = used
        return Result.of(name, metrics, task, level_weights=used, centred=centred)

    def _thumbnails(self) -> Iterator[bytes | None]:
        for id in self.ids:
            yield read_thumbnail(self.conn, self.space.source_table, id)


def weight_grid(levels: int) -> list[np.ndarray]:
    """All level weights in steps of a quarter that sum to 1.

    Of more than MOST_LEVELS_IN_A_GRID, each level alone and each two by halves.
    """
    if levels > MOST_LEVELS_IN_A_GRID:
        alone = np.eye(levels)
        return [*alone, *((one + other) / 2 for one, other in combinations(alone, 2))]
    quarters = combinations_with_replacement(range(levels), GRID_STEPS)
    return [np.bincount(chosen, minlength=levels) / GRID_STEPS for chosen in quarters]
