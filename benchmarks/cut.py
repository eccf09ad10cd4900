"""Where results stop being alike, and what the words for scores are worth, by labels.

python benchmarks/cut.py choose DATABASE…    # rules for the cut, each set to the same precision
python benchmarks/cut.py report DATABASE…    # the cut and the words that are in force
python benchmarks/cut.py copies DATABASE…    # the words for copies of pictures

The databases are made by `embed`; the folder of a picture is its label. Folders of labels that lie
in different folders, such as sets/pets/cat and sets/food/soup, are collections of their own (pets
and food), beside the collection of all. Choose on other pictures than those that are reported.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click
import numpy as np
from PIL import Image

from datasette_imgsim.db.connect import folder_of
from datasette_imgsim.db.spaces import Space, choose_space
from datasette_imgsim.ingest import decode, settings
from datasette_imgsim.search import calibration, ranking
from datasette_imgsim.search.calibration import IMAGES_ON_THE_FLY, PAIRS_ON_THE_FLY, Calibration
from datasette_imgsim.search.likeness import WORDS, Steps
from datasette_imgsim.search.vectors import centred, decoded

QUERIES = 300
FAINT_LOOKED_AT = 40
"""Of faint results only so many, the best ones, are judged."""


@dataclass(frozen=True)
class Query:
    """The scores of one image with all others of its collection."""

    scores: np.ndarray
    """(n,), best first."""
    relevant: np.ndarray
    """(n,) bool, whether they have its label."""
    sample: np.ndarray
    """(m,), the scores that a server looks at to find the cut."""


@dataclass(frozen=True)
class Found:
    """What one cut gives on average over the queries of a collection."""

    precision: float
    """Of the queries with anything above the cut."""
    recall: float
    none: float
    """The share of queries with nothing above the cut."""
    rank: float
    """The median."""


def stored(database: Path) -> tuple[Space, list[PurePosixPath], np.ndarray]:
    """(the default space, the path of each image, its vectors as stored)"""
    with closing(sqlite3.connect(database)) as conn:
        space = choose_space(conn)
        paths, blobs = zip(
            *conn.execute(
                "select path, vector from images join imgsim_vectors on image_id = id "
                "where space_id = ? order by id",
                [space.id],
            )
        )
    return space, [PurePosixPath(path) for path in paths], decoded(space, blobs)[0]


def collections(
    database: Path, level_weights: str | None
) -> Iterator[tuple[str, list[Query], Calibration]]:
    """The name of each collection, its queries, and its percentiles."""
    space, paths, raw = stored(database)
    labels = np.unique([str(path.parent) for path in paths], return_inverse=True)[1]
    sets = np.array([path.parent.parent.name for path in paths])
    parts = {f"all of {database.stem}": np.arange(len(paths))}
    if len(np.unique(sets)) > 1:
        parts |= {name: np.flatnonzero(sets == name) for name in np.unique(sets)}
    chosen = ranking.parse_level_weights(level_weights) if level_weights else None
    weights = ranking.weights(space, chosen)
    for name, rows in parts.items():
        matrix = centred(space, raw[rows].mean(axis=0), raw[rows])
        cosines = calibration.cosines(space, matrix, PAIRS_ON_THE_FLY)
        pairs = Calibration.of_scores(cosines @ weights)
        scaled = matrix * ranking.per_number(space, weights)
        yield f"{space.model[:3]} {name}", list(queries(matrix, scaled, labels[rows])), pairs


def queries(matrix: np.ndarray, scaled: np.ndarray, labels: np.ndarray) -> Iterator[Query]:
    """The queries of a collection: some of the images whose label is not theirs alone."""
    random = np.random.default_rng(0)
    rows = random.permutation(np.flatnonzero(np.bincount(labels)[labels] > 1))[:QUERIES]
    sampled = random.choice(len(matrix), min(len(matrix), IMAGES_ON_THE_FLY), replace=False)
    for row in rows:
        scores = matrix @ scaled[row]
        order = np.argsort(-scores)
        order = order[order != row]
        sample = scores[sampled[sampled != row]]
        yield Query(scores[order], labels[order] == labels[row], sample)


def judged(found: list[Query], cuts: list[float]) -> Found:
    """What a cut for each query gives."""
    above = [int(np.sum(query.scores >= cut)) for query, cut in zip(found, cuts)]
    hits = [int(query.relevant[:count].sum()) for query, count in zip(found, above)]
    precisions = [hit / count for hit, count in zip(hits, above) if count]
    recalls = [hit / query.relevant.sum() for hit, query in zip(hits, found)]
    return Found(
        float(np.mean(precisions)) if precisions else 1.0,
        float(np.mean(recalls)),
        above.count(0) / len(above),
        float(np.median(above)),
    )


def lower(scores: np.ndarray) -> float:
    """The root mean square of how far the lower half of the scores lies below the median."""
    below = scores[scores < np.median(scores)] - np.median(scores)
    return float(np.sqrt(np.mean(below**2)))


def largest_gap(scores: np.ndarray) -> float:
    """The score above the largest gap among the 100 best."""
    best = scores[:100]
    return float(best[np.argmax(best[:-1] - best[1:])])


# Each gives the cut of a query; the second number is tried from low to high.
RULES: dict[str, tuple[Callable[[Query, Calibration, float], float], np.ndarray]] = {
    "a percentile of all pairs": (
        lambda query, pairs, c: pairs.score(100 - c),
        np.geomspace(20, 0.01, 60),
    ),
    "a score": (lambda query, pairs, c: c, np.linspace(0.05, 0.9, 60)),
    "mean + c deviations": (
        lambda query, pairs, c: query.sample.mean() + c * query.sample.std(),
        np.linspace(0.5, 6, 60),
    ),
    "95th percentile + c": (
        lambda query, pairs, c: np.quantile(query.sample, 0.95) + c,
        np.linspace(-0.1, 0.6, 60),
    ),
    "median + c lower deviations": (
        lambda query, pairs, c: np.median(query.sample) + c * lower(query.sample),
        np.linspace(1, 8, 60),
    ),
    "median + c roots of it": (
        lambda query, pairs, c: np.median(query.sample) + c * np.sqrt(lower(query.sample)),
        np.linspace(0.3, 2.5, 60),
    ),
    "the largest gap": (lambda query, pairs, c: largest_gap(query.scores), np.array([0])),
}


@click.group()
def cli():
    """See the first lines of this file."""


databases_argument = click.argument(
    "databases", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
weights_option = click.option("--level-weights", help="As for `similar`; else those of the space")


@cli.command()
@databases_argument
@weights_option
@click.option("--precision", default=0.75, show_default=True, help="On average over collections")
def choose(databases, level_weights, precision):
    """Sets each rule to the same precision, and prints what it finds then."""
    known = [part for database in databases for part in collections(database, level_weights)]
    click.echo(
        f"{'cut':30}{'c':>7}{'precision':>11}{'spread':>8}{'recall':>8}{'none':>7}{'rank':>7}"
    )
    for name, (rule, tried) in RULES.items():
        for c in tried:
            found = [
                judged(part, [rule(query, pairs, c) for query in part]) for _, part, pairs in known
            ]
            if np.mean([each.precision for each in found]) >= precision:
                break
        precisions = [each.precision for each in found]
        click.echo(
            f"{name:30}{c:7.2f}{np.mean(precisions):11.2f}{np.std(precisions):8.2f}"
            f"{np.mean([each.recall for each in found]):8.2f}"
            f"{np.mean([each.none for each in found]):7.2f}"
            f"{np.median([each.rank for each in found]):7.0f}"
        )


@cli.command()
@databases_argument
@weights_option
def report(databases, level_weights):
    """Prints what the cut and the words in force are worth, beside the line of before.

    That line was drawn where random pairs end: as far above their median as the first percentile
    is below it.
    """
    click.echo(f"{'':30}{'the line before':^25}   {'the cut':^32}   precision of")
    titles = f"{'rank':>6}{'precision':>11}{'recall':>8}"
    click.echo(f"{'':30}{titles}   {titles}{'none':>7}   " + "".join(f"{w:>16}" for w in WORDS))
    for database in databases:
        for name, part, pairs in collections(database, level_weights):
            line = min(1.0, 2 * pairs.score(50) - pairs.score(1))
            before = judged(part, [line] * len(part))
            steps = [Steps.of_scores(query.sample) for query in part]
            now = judged(part, [each.alike for each in steps])
            click.echo(
                f"{name:30}{before.rank:6.0f}{before.precision:11.2f}{before.recall:8.2f}   "
                f"{now.rank:6.0f}{now.precision:11.2f}{now.recall:8.2f}{now.none:7.2f}   "
                + "".join(f"{text:>16}" for text in precisions(part, steps))
            )


def precisions(part: list[Query], steps: list[Steps]) -> Iterator[str]:
    """For each word its precision, and the share of queries that have results of it."""
    above = [0] * len(part)
    for word in WORDS:
        found = []
        for number, (query, each) in enumerate(zip(part, steps)):
            if word == WORDS[-1]:
                end = above[number] + FAINT_LOOKED_AT
            else:
                end = int(np.sum(query.scores >= each.least(word)))
            found.append(query.relevant[above[number] : end])
            above[number] = end
        shares = [some.mean() for some in found if len(some)]
        yield f"{np.mean(shares):.2f} ({len(shares) / len(part):.0%})" if shares else "-"


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same size": lambda image: image,
    "three quarters": lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a twentieth cut off": lambda image: image.crop(
        (image.width // 20, image.height // 20, *(side - side // 20 for side in image.size))
    ),
}


@cli.command()
@databases_argument
@weights_option
@click.option("--images", default=100, show_default=True)
def copies(databases, level_weights, images):
    """Embeds copies of pictures as JPEG files, and prints which words they get."""
    chosen = ranking.parse_level_weights(level_weights) if level_weights else None
    for database in databases:
        space, paths, raw = stored(database)
        centre = raw.mean(axis=0)
        matrix = centred(space, centre, raw)
        scale = ranking.per_number(space, ranking.weights(space, chosen))
        rows = np.random.default_rng(0).choice(len(paths), images, replace=False)
        sampled = np.random.default_rng(0).choice(
            len(matrix), min(len(matrix), IMAGES_ON_THE_FLY), replace=False
        )
        steps = [
            Steps.of_scores(matrix[sampled[sampled != row]] @ (matrix[row] * scale)) for row in rows
        ]
        network = settings.load_network(space, folder_of(database))
        for name, change in COPIES.items():
            for quality in (85, 50):
                words = []
                for row, each in zip(rows, steps):
                    with Image.open(folder_of(database) / paths[row]) as image:
                        copy = io.BytesIO()
                        change(image.convert("RGB")).save(copy, "JPEG", quality=quality)
                    copy.seek(0)
                    pixels = decode.decode(copy, space.preprocess["size"]).pixels
                    vector = centred(space, centre, network.vectors(pixels[None])[0])[0]
                    words.append(each.word(float(matrix[row] * scale @ vector)))
                shares = ", ".join(f"{word} {words.count(word) / images:.0%}" for word in WORDS)
                click.echo(f"{space.model[:3]} {name}, quality {quality}: {shares}")


if __name__ == "__main__":
    cli()
