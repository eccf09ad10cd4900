"""How good and how fast each network is: mAP on labelled folders, images/s, bytes an image.

python benchmarks/models.py FOLDER… --vgg19 FILE --queries FOLDER    # some minutes; --help for more

The folders of FOLDER say what its pictures show. Settings were chosen on every second class, so the
mAP of the other ones (the 2nd, 4th, … by name) stands beside that of all.
"""

from __future__ import annotations

import collections
import re
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from embed import BATCH, Apart, rates

from datasette_imgsim import evaluate
from datasette_imgsim.collection import Collection
from datasette_imgsim.db.connect import open_reader
from datasette_imgsim.db.dtypes import DTYPES
from datasette_imgsim.db.spaces import Space, choose_space
from datasette_imgsim.ingest import settings
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import keep_memory
from datasette_imgsim.search import indexes, ranking

PRECISIONS = ("bfloat16", "float32")
CONFUSIONS = 8


@dataclass(frozen=True)
class Candidate:
    """A network as `embed` would be asked for it."""

    name: str
    options: dict


class Forward:
    """The network alone, on pictures that are decoded already."""

    def __init__(self, precision: str, **options):
        keep_memory()
        self.network = settings.from_options(**options).network(precision=precision)

    def __call__(self, batches: range) -> float:
        shape = (BATCH, self.network.size, self.network.size, 3)
        pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        started = time.perf_counter()
        for _ in batches:
            self.network.vectors(pictures)
        # `rates` divides the number of batches by this: pictures a second come out.
        return (time.perf_counter() - started) / BATCH


@dataclass(frozen=True)
class Measured:
    """mAP of all classes and of every other one, of each way to rank, and what is mixed up."""

    whole: dict[str, float]
    others: dict[str, float]
    confused: list[tuple[str, int]]


class Labelled:
    """Embeds a folder and measures what came out."""

    def __init__(self, **options):
        self.options = options

    def embed(self, folder: Path, database: Path) -> None:
        Collection(database).embed(folder, **self.options)

    def __call__(self, folder: Path) -> Measured:
        with tempfile.TemporaryDirectory() as temporary:
            database = Path(temporary, "photos.db")
            self.embed(folder, database)
            with closing(open_reader(database)) as conn:
                space = choose_space(conn)
                labels = evaluate.read_labels(conn, space, None)
                second = set(sorted(set(labels.values()))[1::2])
                others = {id: label for id, label in labels.items() if label in second}
                return Measured(
                    mean_ap(conn, space, labels),
                    mean_ap(conn, space, others),
                    confusions(conn, space, labels),
                )


class Queries(Labelled):
    """How many of the first six are of the query's class, which its name begins with."""

    def __call__(self, folder: Path) -> list[int]:
        with tempfile.TemporaryDirectory() as temporary:
            database = Path(temporary, "photos.db")
            self.embed(folder / "db", database)
            return [self.count(database, query) for query in sorted((folder / "queries").iterdir())]

    def count(self, database: Path, query: Path) -> int:
        matches = Collection(database).similar(query, 6)
        return sum(kind(Path(match.path)) == kind(query) for match in matches)


def kind(path: Path) -> str:
    return re.match("[a-z]+", path.name)[0]


def mean_ap(conn, space: Space, labels: dict) -> dict[str, float]:
    results = evaluate.Evaluation(conn, space, labels).results()
    named = {r.name: r.over_queries["mAP"] for r in results}
    named["default"] = next(v for name, v in named.items() if name.endswith("(default)"))
    return named


def confusions(conn, space: Space, labels: dict) -> list[tuple[str, int]]:
    """Which label the nearest picture of another label has, most often first."""
    found, weights = indexes.load(conn, space), ranking.weights(space)
    pairs = collections.Counter()
    for id, label in labels.items():
        query = ranking.query_of_image(conn, found, found.row(conn, id), weights)
        ((nearest, _),) = ranking.rank(conn, found, query, 1)
        if labels[nearest] != label:
            pair = sorted(Path(each).name for each in (label, labels[nearest]))
            pairs[" and ".join(pair)] += 1
    return pairs.most_common(CONFUSIONS)


def bytes_an_image(options: dict) -> int:
    chosen = settings.from_options(**options)
    channels = registry.get(chosen.model).description.channels
    return sum(channels[level] for level in chosen.levels) * np.dtype(DTYPES["float16"]).itemsize


def row(cells: list) -> str:
    return f"| {' | '.join(map(str, cells))} |"


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--vgg19",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Oxford's VGG19, if need be cut off after conv3_4",
)
@click.option(
    "--queries",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with db/ and queries/, whose names begin with what they show",
)
@click.option("--rounds", default=3, show_default=True)
@click.option("--batches", default=8, show_default=True, help=f"Of {BATCH} pictures, a round")
def main(folders, vgg19, queries, rounds, batches):
    """Compare the networks on FOLDERS."""
    candidates = [Candidate(name, {"model": name}) for name in (registry.DEFAULT, registry.SMALL)]
    if vgg19:
        options = {"model": "vgg19", "weights": vgg19, "preprocess": "oxford"}
        candidates += [
            Candidate(f"vgg19, {levels}", options | {"levels": levels})
            for levels in ("pool1", "pool2", "pool3", "pool1,pool2,pool3")
        ]
    found = {}
    for candidate in candidates:  # all at once would not fit into memory
        apart = {p: Apart(Forward, p, **candidate.options) for p in PRECISIONS}
        found[candidate.name] = rates(apart, range(batches), rounds)
        for each in apart.values():
            each.pool.shutdown()
    click.echo(f"Images/s of the networks alone, in batches of {BATCH}\n")
    titles = [f"images/s {precision}" for precision in PRECISIONS]
    names = [f"mAP {folder.name} (other classes)" for folder in folders]
    click.echo(row(["model", *titles, "bytes an image", *names, "queries"]))
    click.echo(row(["---"] * (5 + len(names))))
    measured = {}
    for candidate in candidates:
        for folder in folders:
            measured[candidate.name, folder] = Apart(Labelled, **candidate.options)(folder)
        speed = [f"{found[candidate.name][precision]:.1f}" for precision in PRECISIONS]
        maps = [both(measured[candidate.name, folder], "default") for folder in folders]
        counts = Apart(Queries, **candidate.options)(queries) if queries else []
        size = f"{bytes_an_image(candidate.options):,}"
        click.echo(row([candidate.name, *speed, size, *maps, ", ".join(map(str, counts))]))
    for name in ("colour histogram", "random order"):
        maps = [both(measured[registry.DEFAULT, folder], name) for folder in folders]
        click.echo(row([name, "", "", "", *maps, ""]))
    for name in (registry.DEFAULT, registry.SMALL):
        for folder in folders:
            result = measured[name, folder]
            levels = ", ".join(f"{k} {v:.3f}" for k, v in result.whole.items() if k != "default")
            click.echo(f"\n{name}, {folder.name}: {levels}")
            pairs = ", ".join(f"{pair} ({count})" for pair, count in result.confused)
            click.echo(f"  nearest picture of another label: {pairs}")


def both(measured: Measured, name: str) -> str:
    return f"{measured.whole[name]:.3f} ({measured.others[name]:.3f})"


if __name__ == "__main__":
    main()
