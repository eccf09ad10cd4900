"""Search in Milvus Lite against exact search: the time of a push, recall@20 and seconds.

python benchmarks/scale.py photos.db [--queries 100]
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from datasette_imgsim import Collection
from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.search import calibration, engine, indexes, ranking

K = 20


def best(conn, index, id, weights) -> list:
    query = ranking.query_of_image(conn, index, index.row(conn, id), weights)
    return [found for found, _ in ranking.rank(conn, index, query, K)]


def measure(database: str, kind: str, queries: int) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(database)) as conn:
        uri = str(Path(folder) / "vectors.milvus.db")
        begun = time.perf_counter()
        done = Collection(database).push(uri, kind)
        print(f"{kind}: {done.put:,} pushed in {time.perf_counter() - begun:.1f} s")
        space = choose_space(conn)
        exact = indexes.load(conn, space)
        opened = engine.open_engine("milvus", uri, None, 60)
        index = engine.opened(conn, space, opened, None)
        calibration.sampled(conn, index)
        random = np.random.default_rng(1)
        ids = [exact.ids[row] for row in random.choice(len(exact), queries, replace=False)]
        for setting in (None, *({level: 1} for level in space.levels)):
            weights, found, seconds = ranking.weights(space, setting), 0, []
            for id in ids:
                begun = time.perf_counter()
                answer = best(conn, index, id, weights)
                seconds.append(time.perf_counter() - begun)
                found += len({*answer} & {*best(conn, exact, id, weights)})
            print(
                f"  {setting or 'default'}: recall@{K} {found / (K * queries):.4f}, "
                f"median {1000 * statistics.median(seconds):.0f} ms"
            )
        opened.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    for kind in ("ivf_sq8", "hnsw"):
        measure(arguments.database, kind, arguments.queries)
