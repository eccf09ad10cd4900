"""The groups of a collection: how well they agree with its folders, and how long they take.

python benchmarks/groups.py quality DATABASE…   # made by `embed`; a picture's folder is its label
python benchmarks/groups.py time DATABASE…      # search.py --database keeps a drawn one

Beside `groups`: what scikit-learn's HDBSCAN finds in the vectors on their principal components, and
among the places on the map, with the same size of the smallest group.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import numpy as np
from beside_reader import run_beside_reader
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_mutual_info_score

from datasette_imgsim.atlas import layout
from datasette_imgsim.db.connect import open_reader, open_writer
from datasette_imgsim.db.spaces import Space, choose_space
from datasette_imgsim.evaluate import read_labels
from datasette_imgsim.explore import communities
from datasette_imgsim.explore.nearest import nearest
from datasette_imgsim.explore.neighbours import K
from datasette_imgsim.search import indexes


@click.group()
def main():
    """Measure the groups of databases."""


@main.command()
@click.argument("databases", nargs=-1, required=True, type=click.Path(exists=True))
def quality(databases):
    """Print how well groups agree with folders."""
    click.echo("| collection | images, labels | method | groups | in a group | pure | AMI |")
    click.echo("|---|---|---|---|---|---|---|")
    for database in databases:
        with closing(open_reader(Path(database))) as conn:
            space = choose_space(conn)
            labels, methods = grouped(conn, space)
        counts = f"{len(labels):,}, {len({*labels}):,}"
        for method, of in methods:
            click.echo(f"| {Path(database).stem} | {counts} | {method} | {agreement(labels, of)} |")


def grouped(conn, space: Space) -> tuple[np.ndarray, Iterator[tuple[str, np.ndarray]]]:
    """The labels of all images, and the groups that each method finds; -1 is none."""
    index = indexes.load(conn, space)
    folders = read_labels(conn, space, None)
    labels = np.array([folders[id] for id in index.ids])
    rows, _ = nearest(conn, index, K)
    vectors = layout.ranked(index)

    def methods():
        links = communities.linked(rows)
        yield "`groups`", communities.find(links, communities.shared(links))
        least = communities.smallest_group(len(labels))
        for name, points in (
            ("HDBSCAN of vectors", layout.principal(vectors)),
            ("HDBSCAN of the map", layout.lay_out(vectors)),
        ):
            yield name, HDBSCAN(min_cluster_size=max(2, least), copy=True).fit_predict(points)

    return labels, methods()


def agreement(labels: np.ndarray, of: np.ndarray) -> str:
    """How many groups there are, and three shares.

    The share of the images that are in a group; of these, the share with the label that most of
    their group have; and the adjusted mutual information with the labels (Vinh, Epps and Bailey
    2010), for which the images in none count as one group.
    """
    grouped = of >= 0
    largest = 0
    for group in np.unique(of[grouped]):
        largest += np.unique(labels[of == group], return_counts=True)[1].max()
    pure = largest / max(1, grouped.sum())
    mutual = adjusted_mutual_info_score(labels, of)
    return f"{of.max() + 1} | {grouped.mean():.0%} | {pure:.0%} | {mutual:.2f}"


@main.command("time")
@click.argument("databases", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def time_of(databases):
    """Group the images of a copy of each database, while somebody reads from it all the time."""
    for database in databases:
        with tempfile.TemporaryDirectory(dir=database.parent) as folder:
            copy = Path(shutil.copy(database, folder))
            with closing(open_writer(copy)) as conn:
                conn.execute("update imgsim_spaces set groups = null")
                conn.execute("delete from imgsim_group_members")
                conn.execute("delete from imgsim_groups")
            command = ["datasette", "imgsim"]
            subprocess.run([*command, "neighbours", str(copy)], check=True)
            sql = "select * from imgsim_group_members where image_id = '9'"
            for what in ("all", "none new"):
                said = run_beside_reader([*command, "groups", str(copy)], copy, sql)
                click.echo(f"  {database.name}, {what:9} {said}")


if __name__ == "__main__":
    main()
