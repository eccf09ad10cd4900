"""How long a map takes and how well it keeps neighbours, beside scikit-learn's t-SNE.

python benchmarks/atlas.py                         # a quarter of an hour on two cores
python benchmarks/atlas.py --database photos.db    # with vectors of one's own
"""

from __future__ import annotations

import time
from contextlib import closing

import click
import numpy as np
from search import drawn

from datasette_imgsim import store
from datasette_imgsim.atlas import layout
from datasette_imgsim.search import index

NEIGHBOURS, SAMPLE = 15, 4_000
SLOW = 10_000
"""scikit-learn's t-SNE is only asked for so many points: it has no fast way for more."""


def vectors_of(database: str) -> np.ndarray:
    """The ranked vectors (n, dimensions) of the default space."""
    with closing(store.open_reader(database)) as conn:
        return layout.ranked(index.load(conn, store.choose_space(conn)))


def drawn_vectors(count: int, dimensions: int) -> np.ndarray:
    """(count, dimensions) drawn in groups, centred as a space is."""
    vectors = drawn(count, dimensions)
    vectors -= vectors.mean(axis=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_sklearn(vectors: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = PCA(layout.COMPONENTS, random_state=0).fit_transform(vectors)
    return TSNE(init="pca", random_state=0, n_jobs=-1).fit_transform(points)


def trust(vectors: np.ndarray, laid: np.ndarray) -> float:
    """Trustworthiness (Venna and Kaski 2001) of a sample, 0..1."""
    from sklearn.manifold import trustworthiness

    some = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    return trustworthiness(vectors[some], laid[some], n_neighbors=NEIGHBOURS)


def measure(name: str, method, vectors: np.ndarray) -> None:
    started, used = time.perf_counter(), time.process_time()
    laid = method(vectors)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    click.echo(
        f"  {name:34} {seconds:7.1f} s ({used:7.1f} s of processors)   "
        f"trustworthiness {trust(vectors, laid):.4f}"
    )


def measure_layout(vectors: np.ndarray) -> None:
    click.echo(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions")
    measure("map", layout.lay_out, vectors)
    if len(vectors) <= SLOW:
        measure("scikit-learn: PCA and TSNE", in_sklearn, vectors)


@click.command()
@click.option("--images", default=[1_000, 10_000, 100_000], multiple=True, show_default=True)
@click.option("--dimensions", default=512, show_default=True)
@click.option("--database", metavar="DB", help="Lay out its default space, not drawn vectors")
def main(images, dimensions, database):
    """Time the layout and measure how many neighbours on the map are true ones."""
    if database:
        measure_layout(vectors_of(database))
        return
    for count in images:
        measure_layout(drawn_vectors(count, dimensions))


if __name__ == "__main__":
    main()
