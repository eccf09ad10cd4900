"""How long a walk from one image to another takes, and how many images it has.

python benchmarks/walks.py photos.db           # search.py --database keeps a drawn one
python benchmarks/walks.py --made-up 1000      # on a grid of 1,000 x 1,000
"""

from __future__ import annotations

import sqlite3
import time
from array import array
from contextlib import closing
from pathlib import Path

import click
import numpy as np

from datasette_imgsim.db.connect import open_reader
from datasette_imgsim.db.neighbours import Neighbours
from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.search import graph, paths

PAIRS = 20
NEAREST = 20


@click.command()
@click.argument("database", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--made-up", metavar="SIDE", type=int, help="Rather on a square grid of images")
def main(database, made_up):
    """Walk between pairs of images that are chosen at random."""
    if made_up:
        for far in (4, 1, 0):
            with closing(sqlite3.connect(":memory:")) as conn:
                loaded = graph.Graph.of(grid(made_up, far))
                walk(conn, loaded, f"{far} of {NEAREST} neighbours anywhere")
    if database:
        with closing(open_reader(database)) as conn:
            started = time.process_time()
            loaded = graph.load(conn, choose_space(conn))
            click.echo(f"loaded in {time.process_time() - started:.1f} s of a processor")
            walk(conn, loaded, database.stem)


def grid(side: int, far: int) -> Neighbours:
    """Images on a square whose edges meet; some of each one's neighbours lie anywhere."""
    random = np.random.default_rng(0)
    count = side * side
    y, x = np.divmod(np.arange(count), side)
    near = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if (a, b) != (0, 0)][:NEAREST]
    rows = np.stack([(y + a) % side * side + (x + b) % side for a, b in near], axis=1)
    rows[:, NEAREST - far :] = random.integers(0, count, (count, far))
    scores = random.uniform(0.3, 0.7, rows.shape)
    return Neighbours(array("q", range(count)), rows.astype(np.int32), scores.astype(np.float32))


def walk(conn: sqlite3.Connection, loaded: graph.Graph, name: str) -> None:
    """Says how long the walks take, and how many images they have."""
    count = len(loaded.neighbours.keys)
    seconds, lengths = [], []
    for a, b in np.random.default_rng(1).choice(count, (PAIRS, 2)).tolist():
        started = time.process_time()
        lengths.append(len(paths.shortest(conn, loaded, a, b)))
        seconds.append(time.process_time() - started)
    click.echo(
        f"{name}, {count:,} images: median {np.median(seconds):.3f} s of a processor, at most "
        f"{max(seconds):.3f} s; {np.median(lengths):.0f} images, at most {max(lengths)}"
    )


if __name__ == "__main__":
    main()
