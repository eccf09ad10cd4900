"""The neighbours of each image: how long they take, and how right they are.

python benchmarks/neighbours.py photos.db            # search.py --database keeps a drawn one
python benchmarks/neighbours.py photos.db --new 224  # and so many images that come later
python benchmarks/neighbours.py photos.db --in-groups  # and as for more than 100,000 images
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import numpy as np
from beside_reader import run_beside_reader

from datasette_imgsim.db.connect import open_reader, open_writer
from datasette_imgsim.db.neighbours import read_neighbours, read_stamp
from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.explore import nearest
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking

SAMPLE = 300


@click.command()
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--new", default=0, help="Also time so many images that come later")
@click.option("--in-groups", is_flag=True, help="Also find them as those of very many images")
def main(database, new, in_groups):
    """Find the neighbours in a copy of a database, while somebody reads from it all the time."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        copy = Path(shutil.copy(database, folder))
        with closing(open_writer(copy)) as conn:
            space = choose_space(conn)
            conn.execute("update imgsim_spaces set neighbours = null")
            conn.execute("delete from imgsim_neighbours")
            later = take_away(conn, space.id, new)
        size = copy.stat().st_size
        run(copy, "all")
        click.echo(f"  the file has grown by {(copy.stat().st_size - size) / 1e6:,.0f} MB")
        if new:
            with closing(sqlite3.connect(copy)) as conn, conn:
                conn.executemany(
                    "insert into imgsim_vectors (space_id, image_key, vector, norms) "
                    "values (?, ?, ?, ?)",
                    later,
                )
                conn.execute("update imgsim_spaces set generation = generation + 1")
            run(copy, f"{new:,} new")
        run(copy, "none new")
        tell_how_right(copy, in_groups)


def take_away(conn: sqlite3.Connection, space: int, count: int) -> list[tuple]:
    """Removes the vectors of some images from all parts of a space, and gives their rows."""
    (images,) = conn.execute("select count(*) from imgsim_vectors").fetchone()
    rows = conn.execute(
        "select space_id, image_key, vector, norms from (select *, row_number() over () as n "
        "from imgsim_vectors where space_id = ?) where n % ? = 0 limit ?",
        [space, max(1, images // max(1, count)), count],
    ).fetchall()
    conn.executemany(
        "delete from imgsim_vectors where space_id = ? and image_key = ?", [row[:2] for row in rows]
    )
    return rows


def run(database: Path, what: str) -> None:
    """Runs the command and says what it took, and how long a reader had to wait."""
    command = ["datasette", "imgsim", "neighbours", str(database)]
    sql = "select * from imgsim_neighbours where image_id = '9'"
    click.echo(f"  {what:12} {run_beside_reader(command, database, sql)}")


def tell_how_right(database: Path, in_groups: bool) -> None:
    """Which share of the nearest of some images, by exact scores of all, was found."""
    with closing(open_reader(database)) as conn:
        space = choose_space(conn)
        stamp = read_stamp(conn, space)
        index = indexes.load(conn, space)
        found = read_neighbours(conn, space, stamp.k, index.ids)
        weights = ranking.weights(space)
        some = np.random.default_rng(0).permutation(len(index))[:SAMPLE]
        queries = np.stack(
            [ranking.query_of_image(conn, index, row, weights).vector for row in some.tolist()]
        )
        scores = np.empty((len(some), len(index)), np.float32)
        for start in range(0, len(index), 20_000):
            rows = range(start, min(start + 20_000, len(index)))
            scores[:, start : rows[-1] + 1] = queries @ index.vectors(conn, rows).T
        scores[np.arange(len(some)), some] = -np.inf
        best = np.argpartition(-scores, stamp.k - 1)[:, : stamp.k]
        tell_share("stored", best, found.rows[some])
        if in_groups:
            LIMITS.compared_exactly = 0
            started = time.process_time()
            rows, _ = nearest.nearest(conn, index, stamp.k)
            used = time.process_time() - started
            tell_share(f"in groups, {used:.1f} s of processors", best, rows[some])


def tell_share(name: str, best: np.ndarray, found: np.ndarray) -> None:
    """Both are rows (images, k)."""
    share = np.mean([np.isin(a, b).mean() for a, b in zip(best, found)])
    click.echo(f"  {name}: of {len(best)} images, {share:.2%} of the {best.shape[1]} nearest")


if __name__ == "__main__":
    main()
