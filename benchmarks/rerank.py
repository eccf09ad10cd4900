"""What re-ranking by mutual neighbours gains, by labels, and what it costs.

python benchmarks/rerank.py gain DATABASE… --classes odd    # to choose settings
python benchmarks/rerank.py gain DATABASE… --classes even   # to report: nothing was chosen on them
python benchmarks/rerank.py cost photos.db                  # search.py --database keeps a drawn one

The databases are made by `embed`; the folder of a picture is its label. Folders of labels that lie
in different folders, such as sets/pets/cat and sets/food/soup, are collections of their own.
`cost` takes a database that has neighbours.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath

import click
import numpy as np

from datasette_imgsim.db.connect import Writer, open_reader, open_writer
from datasette_imgsim.db.spaces import choose_space, renew_centre, reread
from datasette_imgsim.explore import neighbours
from datasette_imgsim.search import indexes, ranking, reranking, results

ROUNDS = 5
QUERIES = 100


@click.group()
def main():
    pass


@main.command()
@click.argument("databases", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--classes", type=click.Choice(["all", "odd", "even"]), default="all")
@click.option("--queries", default=10_000, help="Of each collection at most, chosen at random")
@click.option("--first", default=reranking.FIRST, help="How many of the best are re-ranked")
@click.option("--nearest", default=reranking.NEAREST, help="How many neighbours: k1 of the paper")
@click.option("--averaged", default=reranking.AVERAGED, help="Over how many is averaged: k2")
@click.option("--of-scores", default=reranking.OF_SCORES, help="How much the scores count: λ")
def gain(databases, classes, queries, **values):
    """Mean average precision and P@5 of each collection, with re-ranking and without."""
    for name, value in values.items():
        setattr(reranking, name.upper(), value)
    gains = []
    for database in databases:
        for name, rows in collections(database, classes):
            with part_of(database, rows) as conn:
                before, after = measured(conn, queries)
            gains.append(after - before)
            figures = "  ".join(
                f"{metric} {100 * a:5.1f} -> {100 * b:5.1f} ({100 * (b - a):+5.1f})"
                for metric, a, b in zip(("mAP", "P@5"), before, after)
            )
            click.echo(f"{database.parent.name:18} {name:16} {len(rows):5} images  {figures}")
    mean, least = 100 * np.mean(gains, axis=0), 100 * np.min(gains, axis=0)
    click.echo(f"gain: mAP {mean[0]:+.2f} on average, {least[0]:+.2f} at least; "
               f"P@5 {mean[1]:+.2f}, {least[1]:+.2f}")  # fmt: skip


def collections(database: Path, classes: str) -> Iterator[tuple[str, list[int]]]:
    """The name of each collection and the ids of its images, of every other class or of all."""
    with closing(open_reader(database)) as conn:
        paths = {
            id: PurePosixPath(path) for id, path in conn.execute("select id, path from images")
        }
    for folder in sorted({path.parent.parent for path in paths.values()}):
        names = sorted(
            {path.parent.name for path in paths.values() if path.parent.parent == folder}
        )
        chosen = {"all": names, "odd": names[0::2], "even": names[1::2]}[classes]
        yield (
            folder.name,
            [
                id
                for id, path in paths.items()
                if path.parent.parent == folder and path.parent.name in chosen
            ],
        )


@contextmanager
def part_of(database: Path, ids: list[int]) -> Iterator[Writer]:
    """A copy of a database that has only these images, with neighbours."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        with closing(open_writer(Path(shutil.copy(database, folder)))) as conn:
            space = choose_space(conn)
            conn.execute("create temp table kept (id integer primary key)")
            conn.executemany("insert into kept values (?)", [(id,) for id in ids])
            conn.execute("delete from images where id not in (select id from kept)")
            conn.execute("update imgsim_spaces set centred_on = 0, neighbours = null")
            neighbours.forget_orphans(conn, space.source_table)
            renew_centre(conn, reread(conn, space.name))
            neighbours.update(conn, reread(conn, space.name), reranking.NEAREST)
            yield conn


def measured(conn: Writer, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(mAP, P@5) without re-ranking and with it, over images that are not alone in their class."""
    space = choose_space(conn)
    index = indexes.load(conn, space)
    labels = {id: str(PurePosixPath(path).parent) for id, path in
              conn.execute("select id, path from images")}  # fmt: skip
    counts = Counter(labels.values())
    asked = [id for id, label in labels.items() if counts[label] > 1]
    asked = np.random.default_rng(0).permutation(asked)[:count].tolist()
    found = []
    for id in asked:
        query = ranking.query_of_image(conn, index, index.row(conn, id), ranking.weights(space))
        for rerank in (False, True):
            hits = results.best(conn, index, query, len(index), rerank)
            found.append(metrics(np.array([labels[hit.id] == labels[id] for hit in hits])))
    means = np.reshape(found, (-1, 2, 2)).mean(axis=0)
    return means[0], means[1]


def metrics(relevant: np.ndarray) -> tuple[float, float]:
    """(average precision, P@5) of a ranking, of which (n,) bool says what is relevant."""
    ranks = np.flatnonzero(relevant) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks)), float(relevant[:5].mean())


@main.command()
@click.argument("database", type=click.Path(exists=True, path_type=Path))
@click.option("--first", default=reranking.FIRST)
def cost(database, first):
    """The processor time of re-ranking, beside the search: the first round, and the least."""
    reranking.FIRST = first
    with closing(open_reader(database)) as conn:
        space = choose_space(conn)
        index = indexes.load(conn, space)
        seconds = []
        for row in np.random.default_rng(0).permutation(len(index))[:QUERIES].tolist():
            query = ranking.query_of_image(conn, index, row, ranking.weights(space))
            hits = results.best(conn, index, query, first)
            scored = [(hit.id, hit.score) for hit in hits]
            rounds = []
            for _ in range(ROUNDS):
                started = time.thread_time()
                reranking.distances(conn, space, query, scored, reranking.NEAREST)
                rounds.append(time.thread_time() - started)
            seconds.append((rounds[0], min(rounds)))
        cold, warm = 1000 * np.array(seconds).T
        click.echo(
            f"re-ranking {first} of {len(index):,}: median {np.median(warm):.1f} ms, at most "
            f"{warm.max():.1f} ms; the first time {np.median(cold):.1f} ms, {cold.max():.1f} ms"
        )


if __name__ == "__main__":
    main()
