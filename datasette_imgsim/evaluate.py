"""Measures how good a space is: retrieval among its own images, judged by labels."""

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
"""With more levels, only single ones and pairs are tried: a grid grows with the fourth power."""


@dataclass(frozen=True)
class Task:
    """Which images are queries, and which are relevant to each: the others of its class."""

    classes: np.ndarray
    """(n,) the number of each image's class."""
    queries: np.ndarray
    """(queries,) the rows of all images that are not alone in their class."""

    @classmethod
    def of(cls, labels: list) -> Task:
        """The task for labels, one an image; equal labels, as text, are one class.

        Raises ImgsimError if there is only one class, or no class with two images.
        """
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
        """The task with at most `count` of the queries, chosen at random with a fixed seed."""
        if len(self.queries) <= count:
            return self
        chosen = np.random.default_rng(0).choice(self.queries, count, replace=False)
        return Task(self.classes, np.sort(chosen))

    @property
    def relevant(self) -> np.ndarray:
        """The number of images that are relevant to each query, (queries,)."""
        return np.bincount(self.classes)[self.classes[self.queries]] - 1


def rank_metrics(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The METRICS (5,) of one query, from the scores (n,) of the other images.

    `relevant` (n,) bool says which of them are relevant. The images are ranked by falling score;
    among equal scores the irrelevant ones come first, so that a space that cannot tell images
    apart gains nothing. With R relevant images at the ranks r_1 < … < r_R (from 1):

    - mAP, here the average precision: (1/R) sum of i / r_i (Manning, Raghavan & Schütze 2008,
      Introduction to Information Retrieval, section 8.4)
    - P@k, precision: how many of the first k are relevant, divided by k
    - R@k, recall: how many of the relevant are among the first k, divided by R
    - nDCG@k: the sum of 1 / log2(1 + r_i) over r_i <= k, divided by the most it could be
      (Järvelin & Kekäläinen 2002, doi 10.1145/582415.582418, with gains of 0 and 1)
    """
    # Negated, so that sorting puts the best first and counting "at least as good" is one search.
    all_scores, relevant_scores = np.sort(-scores), np.sort(-scores[relevant])
    better = np.searchsorted(all_scores, relevant_scores, side="right")
    relevant_better = np.searchsorted(relevant_scores, relevant_scores, side="right")
    number = np.arange(1, len(relevant_scores) + 1)
    # The irrelevant ones that are at least as good, and the relevant ones up to this one.
    ranks = better - relevant_better + number
    first = ranks[ranks <= 10]
    ideal = np.arange(1, min(len(relevant_scores), 10) + 1)
    return np.array(
        [
            np.mean(number / ranks),
            np.sum(ranks <= 1),
            np.sum(ranks <= 5) / 5,
            len(first) / len(relevant_scores),
            np.sum(1 / np.log2(1 + first)) / np.sum(1 / np.log2(1 + ideal)),
        ]
    )


def by_chance(task: Task) -> np.ndarray:
    """The expected METRICS of a random order, exactly, (queries, 5).

    For R relevant of n images: precision at any k is R/n, recall k/n, and the average precision
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
    """The METRICS of each query against all other images, (weightings, queries, 5).

    `matrices` are (n, dimensions) float32, one for each level; their inner products are the
    level's cosines. `weightings` (weightings, levels) are the level weights to measure. `advance`
    counts rankings: one for each weighting and query.
    """
    all_metrics = np.empty((len(weightings), len(task.queries), len(METRICS)))
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
                all_metrics[:, number] = metrics
                advance(len(weightings))
    return all_metrics


def _leave_one_out(
    cosines: np.ndarray, query: int, weightings: np.ndarray, classes: np.ndarray
) -> list[np.ndarray]:
    """The METRICS of one query for each weighting; `cosines` is (levels, n)."""
    others = np.delete(cosines, query, axis=1)
    relevant = np.delete(classes == classes[query], query)
    # Rounded like the scores of a search, so that equal vectors have equal scores.
    rankings = (np.rint(ranking.SCALE * (weights @ others)) for weights in weightings)
    return [rank_metrics(scores, relevant) for scores in rankings]


def histograms(thumbnails: Iterator[bytes | None], count: int) -> np.ndarray:
    """Colour histograms (count, 512) float32: the square roots of the shares of 8 x 8 x 8 colours.

    Their inner product is the Bhattacharyya coefficient, 0..1 (Swain & Ballard 1991,
    doi 10.1007/BF00130487, compare such histograms by their intersection). The row of a missing or
    damaged thumbnail is 0.
    """
    rows = np.zeros((count, BINS**3), np.float32)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, count, THUMBNAILS_AT_ONCE):
            batch = list(islice(thumbnails, THUMBNAILS_AT_ONCE))
            rows[start : start + len(batch)] = list(threads.map(_histogram, batch))
    return rows


def _histogram(jpeg: bytes | None) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg or b"")) as image:
            image.draft("RGB", (HISTOGRAM_SIDE, HISTOGRAM_SIDE))
            counts = colours(np.asarray(image.convert("RGB")))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return np.zeros(BINS**3)  # missing or damaged
    return np.sqrt(counts / counts.sum())


def colours(pixels: np.ndarray) -> np.ndarray:
    """The number of pixels of each of 8 x 8 x 8 RGB colours, (512,), from (H, W, 3) uint8."""
    bins = pixels // (256 // BINS)
    codes = bins.reshape(-1, 3) @ np.array([BINS * BINS, BINS, 1])
    return np.bincount(codes, minlength=BINS**3)


@dataclass(frozen=True)
class Result:
    """The METRICS, 0..1, of one way to rank: as means over queries, and over classes."""

    name: str
    over_queries: dict[str, float]
    over_classes: dict[str, float]
    level_weights: dict[str, float] | None = None
    centred: bool | None = None

    @classmethod
    def of(cls, name: str, metrics: np.ndarray, task: Task, **more) -> Result:
        """The means of `metrics` (queries, 5)."""
        classes, query_class = np.unique(task.classes[task.queries], return_inverse=True)
        sums = np.zeros((len(classes), len(METRICS)))
        np.add.at(sums, query_class, metrics)
        per_class = sums / np.bincount(query_class)[:, None]
        return cls(name, _named(metrics.mean(0)), _named(per_class.mean(0)), **more)


def _named(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(METRICS, values)}


def read_labels(conn: sqlite3.Connection, space: Space, column: str | None) -> dict:
    """The label of each image, by id: a column of the source table, or the folder of its path.

    Images whose label is null, or whose path is not text, are left out. Raises ImgsimError.
    """
    table = space.source_table
    name = "path" if column is None else column
    hint = ". Name the column of the labels with --label" if column is None else ""
    check_column(conn, table, name, hint)
    values = SourceTable.read(conn, table).values(conn, name)
    if column is None:
        return {id: posixpath.dirname(path) for id, path in values if isinstance(path, str)}
    return dict(values)


class Evaluation:
    """Measures a space: each labelled image is a query for the others with its label."""

    def __init__(self, conn: sqlite3.Connection, space: Space, labels: dict):
        """Loads the vectors. `labels` maps ids to labels; other images are left out.

        Raises ImgsimError if there is nothing to measure.
        """
        self.conn, self.space = conn, space
        index = indexes.load(conn, space)
        self.ids = [id for id in index.ids if id in labels]
        self.without_label, self.damaged = len(index) - len(self.ids), len(index.damaged)
        self.is_centred = index.centre is not None
        if not self.ids:
            raise ImgsimError("No image has a label: there is nothing to measure")
        self.task = Task.of([labels[id] for id in self.ids])
        self.matrices = self._levels(index)

    def _levels(self, index: Index) -> list[np.ndarray]:
        """The vectors of labelled images, one matrix (images, dimensions) for each level."""
        rows = [row for id in self.ids if (row := index.row(self.conn, id)) is not None]
        if len(rows) < len(self.ids):
            raise ImgsimError("Images were removed while this ran: run it again")
        matrices = [np.empty((len(rows), size), np.float32) for size in self.space.levels.values()]
        for start in range(0, len(rows), LIMITS.vectors_at_once):
            batch = slice(start, start + LIMITS.vectors_at_once)
            vectors = index.vectors(self.conn, rows[batch])
            for matrix, part in zip(matrices, self.space.slices.values()):
                matrix[batch] = vectors[:, part]
        return matrices

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images, classes and queries, and of images that were left out."""
        return {
            "images": len(self.ids),
            "classes": len(np.unique(self.task.classes)),
            "queries": len(self.task.queries),
            "without_label": self.without_label,
            "damaged": self.damaged,
        }

    @property
    def swept(self) -> Task:
        """The task of a sweep, with at most LIMITS.sweep_queries queries."""
        return self.task.sample(LIMITS.sweep_queries)

    def work(self, sweep: bool) -> int:
        """The number of rankings that `results` counts, and `sweep` if it is called too."""
        count = (len(self._ways()) + 1) * len(self.task.queries)
        if sweep:
            grid = weight_grid(len(self.space.levels))
            count += (1 + self.is_centred) * len(grid) * len(self.swept.queries)
        return count

    def _ways(self) -> list[np.ndarray]:
        """The level weights to measure: each level alone, and the default ones last."""
        default = ranking.weights(self.space)
        ways = [weights for weights in np.eye(len(default)) if not np.array_equal(weights, default)]
        return [*ways, default]

    def results(self, advance: Advance = ignore) -> list[Result]:
        """The results of each level, the default level weights, a colour histogram and chance."""
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
        """The results of a grid of level weights, with centring and without; best mAP first.

        The grid includes each level alone. A space without a centre has none with centring.
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
    """All level weights (levels,) in steps of a quarter that sum to 1.

    With more than MOST_LEVELS_IN_A_GRID levels: each level alone, and each pair in equal parts.
    """
    if levels > MOST_LEVELS_IN_A_GRID:
        alone = np.eye(levels)
        return [*alone, *((first + second) / 2 for first, second in combinations(alone, 2))]
    quarters = combinations_with_replacement(range(levels), GRID_STEPS)
    return [np.bincount(chosen, minlength=levels) / GRID_STEPS for chosen in quarters]
