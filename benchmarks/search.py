"""How long a query takes, how good it is and what it costs, beside what one would use instead.

python benchmarks/search.py --like photos.db                     # 100,000 images, some minutes
python benchmarks/search.py --like photos.db --images 1000000 --database /tmp/million.db

The vectors are drawn from a mixture of normal distributions that is fitted to those of a database
made by `datasette imgsim embed`; without one, from groups made up. A file named by --database is
kept, and used as it is where it exists. --writing adds images meanwhile, as `embed` does.

The other ways take part where their package is installed: pip install faiss-cpu sqlite-vec
"""

from __future__ import annotations

import importlib.util
import json
import math
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import numpy as np

from datasette_imgsim.db.connect import Writer, open_reader, open_writer
from datasette_imgsim.db.images import known_images, remove_images, save_vectors
from datasette_imgsim.db.spaces import (
    Space,
    choose_space,
    count_vectors,
    create_space,
    raise_generation,
    renew_centre,
)
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import calibration, index, indexes, ranking

K = 20
# Those of the default model.
LEVELS = {"pool2": 128, "pool5": 512}
LEVEL_WEIGHTS = {"pool2": 0.08, "pool5": 1}
PREPROCESS = {"normalise": "oxford", "resize": "squash", "size": 208}
DIMENSIONS = sum(LEVELS.values())
GROUPS = 300
ROUNDS = 10
AT_ONCE = 5_000
RECALL_QUERIES = 50
ORDERED = 100_000
SECONDS_A_WAY = 30
"""Slow ways are asked fewer queries."""
WRITTEN_AT_ONCE, SECONDS_BETWEEN_WRITES = 32, 0.3
ENDS = np.cumsum([0, *LEVELS.values()])
BETWEEN = [slice(*ends) for ends in zip(ENDS, ENDS[1:])]


def made_up() -> Iterator[np.ndarray]:
    """Endless (AT_ONCE, DIMENSIONS) float32 in groups, none negative, as after a ReLU."""
    random = np.random.default_rng(0)
    centres = np.abs(random.standard_normal((GROUPS, DIMENSIONS), np.float32))
    while True:
        some = np.abs(random.standard_normal((AT_ONCE, DIMENSIONS), np.float32))
        yield unit_levels(some + centres[random.integers(0, GROUPS, AT_ONCE)])


def like(path: Path) -> Iterator[np.ndarray]:
    """The same, from a mixture fitted to the vectors of another database.

    The groups are those of k-means. The covariance of each is half its own, half the mean one,
    since a group has fewer vectors than these have numbers (Friedman 1989, Regularized
    Discriminant Analysis). What comes out below 0 is made 0.
    """
    random = np.random.default_rng(0)
    vectors = stored(path)
    groups = k_means(vectors, min(GROUPS, len(vectors) // 10), random)
    means = np.stack([vectors[rows].mean(axis=0) for rows in groups])
    within = [vectors[rows] - mean for rows, mean in zip(groups, means)]
    whole = np.concatenate(within)
    spread = np.linalg.cholesky(whole.T @ whole / len(whole) + 1e-6 * np.eye(DIMENSIONS))
    spread = spread.T.astype(np.float32)
    shares = np.array([len(rows) for rows in groups]) / len(vectors)
    while True:
        chosen = np.sort(random.choice(len(groups), AT_ONCE, p=shares))
        found = random.standard_normal((AT_ONCE, DIMENSIONS), np.float32) @ spread
        for group, count in zip(*np.unique(chosen, return_counts=True)):
            own = within[group]
            mix = random.standard_normal((count, len(own)), np.float32) / math.sqrt(len(own))
            found[chosen == group] += mix @ own
        found = means[chosen] + math.sqrt(0.5) * found
        yield unit_levels(random.permutation(np.maximum(found, 0)))


def stored(path: Path) -> np.ndarray:
    """(n, DIMENSIONS) float32: the vectors of a database's default space, as they are stored."""
    with closing(open_reader(path)) as conn:
        space = choose_space(conn)
        if space.levels != LEVELS:
            raise click.ClickException(f"{path}: its levels are not the default model's")
        sql = "select vector from imgsim_vectors where space_id = ?"
        return np.stack([space.decode(blob) for (blob,) in conn.execute(sql, [space.id])])


def k_means(vectors: np.ndarray, count: int, random) -> list[np.ndarray]:
    """The rows of each group of more than one; Lloyd's algorithm, begun at random vectors."""
    centres = vectors[random.choice(len(vectors), count, replace=False)]
    for _ in range(ROUNDS):
        distances = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
        nearest = distances.argmin(axis=1)
        groups = [np.flatnonzero(nearest == group) for group in range(len(centres))]
        groups = [rows for rows in groups if len(rows) > 1]
        centres = np.stack([vectors[rows].mean(axis=0) for rows in groups])
    return groups


def unit_levels(vectors: np.ndarray) -> np.ndarray:
    for part in BETWEEN:
        norms = np.linalg.norm(vectors[:, part], axis=1, keepdims=True)
        vectors[:, part] /= np.maximum(norms, 1e-12)
    return vectors


def make_database(path: Path, count: int, drawn: Iterator[np.ndarray]) -> None:
    """A database as `embed` leaves it, but for thumbnails."""
    with closing(open_writer(path, create=True)) as conn:
        with conn.transaction():
            space = create_space(
                conn,
                name="drawn",
                source_table="images",
                model="vgg16-oxford",
                weights_sha256="",
                levels=LEVELS,
                pooling="gem",
                preprocess=PREPROCESS,
                dtype="float16",
                precision="float32",
                dimensions=DIMENSIONS,
                level_weights=LEVEL_WEIGHTS,
                versions={},
            )
        for start in range(0, count, AT_ONCE):
            add(conn, space, start + 1, next(drawn)[: count - start])
        renew_centre(conn, space)
        calibration.renew(conn, choose_space(conn))


def add(conn: Writer, space: Space, first: int, vectors: np.ndarray) -> list[int]:
    """One batch, as `embed` writes it, with paths and hashes as long as real ones."""
    ids = list(range(first, first + len(vectors)))
    norms = np.ones(len(LEVELS), np.float32)
    with conn.transaction():
        conn.executemany(
            "insert into images (id, path, sha256, bytes, mtime_ns, width, height, format) "
            "values (?, ?, ?, 2000000, 1700000000000000000, 4000, 3000, 'JPEG')",
            [(id, f"images/2024/holiday/IMG_{id:07}.jpg", f"{id:064x}") for id in ids],
        )
        save_vectors(conn, space, [(id, row, norms) for id, row in zip(ids, vectors)])
        raise_generation(conn, space)
    return ids


@contextmanager
def writing(path: Path, drawn: Iterator[np.ndarray]) -> Iterator[None]:
    """Adds images from another thread meanwhile, and takes them away at the end."""
    done, added = threading.Event(), []

    def write():
        with closing(open_writer(path)) as conn:
            space = choose_space(conn)
            (first,) = conn.execute("select max(id) + 1 from images").fetchone()
            while not done.wait(SECONDS_BETWEEN_WRITES):
                some = next(drawn)[:WRITTEN_AT_ONCE]
                added.extend(add(conn, space, first + len(added), some))
            new = [image for image in known_images(conn, space) if image.id >= first]
            remove_images(conn, new, lambda image: True)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    click.echo(f"    ({len(added):,} images were added meanwhile)")


class Server:
    """A real `datasette serve`, whose JSON API is asked."""

    def __init__(self, path: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = time.perf_counter()
        command = ["serve", str(path), "-p", str(port), "--setting", "sql_time_limit_ms", "60000"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "datasette", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{port}/{path.stem}.json?_shape=arrays&"
        while not self._is_ready():
            time.sleep(0.05)
        self.seconds_to_ready = time.perf_counter() - started

    def _is_ready(self) -> bool:
        try:
            return "is loaded" in self.ask("select imgsim_status()")
        except OSError:
            if self.process.poll() is not None:
                raise click.ClickException("The server did not start") from None
            return False

    def ask(self, sql: str, **parameters) -> str:
        url = self.url + urllib.parse.urlencode({"sql": sql, **parameters})
        with urllib.request.urlopen(url) as answer:
            return answer.read().decode()

    def similar(self, id: int) -> list[int]:
        answer = json.loads(self.ask("select similar_to(:id, 20)", id=id))
        return [row["id"] for row in json.loads(answer["rows"][0][0])]

    def ordering(self, function: str) -> Callable[[int], str]:
        sql = f"select id from images where id <= {ORDERED} order by {function}(id, :id) limit 20"
        return lambda id: self.ask(sql, id=id)

    def megabytes(self, which: str) -> float:
        """Resident now ('VmRSS') or at most so far ('VmHWM')."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition(f"{which}:")[2].split()[0]) * 1024 / 1e6

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def milliseconds(query: Callable[[int], object], ids: list[int]) -> list[float]:
    """Of each query, asked one after the other for at most SECONDS_A_WAY."""
    found, end = [], time.perf_counter() + SECONDS_A_WAY
    for id in ids:
        started = time.perf_counter()
        query(id)
        found.append(1000 * (time.perf_counter() - started))
        if time.perf_counter() > end:
            break
    return found


def from_clients(query: Callable[[int], object], ids: list[int], clients: int) -> list[float]:
    """Milliseconds of all queries, asked by several clients at a time."""
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda part: found.extend(milliseconds(query, part)), args=[part])
        for part in (ids[start::clients] for start in range(clients))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


Query = Callable[[int], list[int]]
"""From an id to those of the K images most like it."""


def in_numpy(path: Path, matrix: np.ndarray) -> Query:
    def query(id: int) -> list[int]:
        scores = matrix @ matrix[id - 1]
        best = np.argpartition(scores, -K - 1)[-K - 1 :]
        return [int(row) + 1 for row in best[np.argsort(-scores[best])]]

    return query


def in_python(path: Path, matrix: np.ndarray) -> Query:
    """A function of two BLOBs, called for each row, as `llm similar` has it."""
    conn = sqlite3.connect(path, check_same_thread=False)

    def cosine(a: bytes, b: bytes) -> float:
        x, y = (struct.unpack(f"<{len(v) // 2}e", v) for v in (a, b))
        return sum(p * q for p, q in zip(x, y))

    conn.create_function("cosine", 2, cosine)
    sql = """
        select image_key from imgsim_vectors order by
        cosine(vector, (select vector from imgsim_vectors where image_key = ?)) desc limit 21
    """
    return lambda id: [other for (other,) in conn.execute(sql, [id])]


def in_faiss(path: Path, matrix: np.ndarray, kind: str) -> Query:
    import faiss

    found = faiss.index_factory(matrix.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    found.train(matrix[:100_000])
    found.add(matrix)
    return lambda id: (found.search(matrix[id - 1 : id], K + 1)[1][0] + 1).tolist()


def in_sqlite_vec(path: Path, matrix: np.ndarray) -> Query:
    import sqlite_vec

    conn = sqlite3.connect(":memory:", check_same_thread=False)
    conn.enable_load_extension(True)
    sqlite_vec.load(conn)
    conn.execute(f"create virtual table v using vec0(e float[{matrix.shape[1]}])")
    with conn:
        conn.executemany("insert into v (e) values (?)", ((row.tobytes(),) for row in matrix))
    sql = "select rowid from v where e match ? and k = 21"
    return lambda id: [other for (other,) in conn.execute(sql, [matrix[id - 1].tobytes()])]


def others() -> Iterator[tuple[str, Callable[[Path, np.ndarray], Query]]]:
    """(name, what makes it)"""
    yield "numpy, float32", in_numpy
    yield "a function in Python", in_python
    if importlib.util.find_spec("faiss"):
        for kind in ("Flat", "SQfp16", "SQ8"):
            yield f"faiss, {kind}", lambda *given, kind=kind: in_faiss(*given, kind)
    if importlib.util.find_spec("sqlite_vec") and hasattr(
        sqlite3.Connection, "enable_load_extension"
    ):
        yield "sqlite-vec, float32", in_sqlite_vec


def loaded(path: Path) -> index.Index:
    with closing(open_reader(path)) as conn:
        return indexes.load(conn, choose_space(conn))


def compared(path: Path) -> np.ndarray:
    """(images, numbers) float32 whose inner products are the scores, whatever their size."""
    LIMITS.bytes_scanned = LIMITS.bytes_in_memory = math.inf
    vectors = loaded(path)
    scale = np.sqrt(ranking.per_number(vectors.space, ranking.weights(vectors.space)))
    used = np.flatnonzero(scale)
    matrix = vectors.matrix[:, used[0] : used[-1] + 1]  # levels of no weight lie before or behind
    matrix *= scale[used[0] : used[-1] + 1]
    return matrix


def best(matrix: np.ndarray, ids: list[int]) -> list[set[int]]:
    """The K best of each query, in float64."""
    queries = matrix[np.array(ids) - 1].astype(np.float64)
    scores = np.concatenate(
        [
            matrix[start : start + AT_ONCE].astype(np.float64) @ queries.T
            for start in range(0, len(matrix), AT_ONCE)
        ]
    )
    scores[np.array(ids) - 1, np.arange(len(ids))] = -2
    return [set((np.argpartition(column, -K)[-K:] + 1).tolist()) for column in scores.T]


def recall(query: Query, ids: list[int], wanted: list[set[int]]) -> float:
    """The share of `wanted` that a query finds, the image itself aside."""
    hits = (len(set(query(id)) & best) for id, best in zip(ids, wanted))
    return sum(hits) / K / len(wanted)


def say(what: str, times: list[float], more: str = "") -> None:
    p50, p99 = statistics.median(times), float(np.quantile(times, 0.99))
    click.echo(f"  {what:40} p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   ({len(times)} queries){more}")


@click.command()
@click.option("--images", default=100_000, show_default=True)
@click.option("--like", "model", type=click.Path(exists=True, path_type=Path))
@click.option("--database", type=click.Path(path_type=Path), help="Is kept, and used again.")
@click.option("--queries", default=200, show_default=True)
@click.option("--writing", "with_writer", is_flag=True, help="Also with a writer beside.")
@click.option("--alone", is_flag=True, help="Without the other ways.")
def main(images, model, database, queries, with_writer, alone):
    """Time `similar_to(id)` through Datasette's JSON API, and other ways to the same answer."""
    drawn = like(model) if model else made_up()
    with tempfile.TemporaryDirectory() as folder:
        path = database or Path(folder, "photos.db")
        if not path.exists():
            make_database(path, images, drawn)
        with closing(open_reader(path)) as conn:
            (images,) = count_vectors(conn).values()
        ids = np.random.default_rng(1).integers(1, images + 1, queries).tolist()
        share = path.stat().st_size / (2 * DIMENSIONS * images)
        click.echo(
            f"{images:,} images of {DIMENSIONS} numbers: the database is {share:.2f} times the "
            "bytes of its vectors"
        )
        served(path, ids, drawn if with_writer else None, alone)


def served(path: Path, ids: list[int], drawn: Iterator[np.ndarray] | None, alone: bool) -> None:
    server = Server(path)
    try:
        milliseconds(server.similar, ids[:5])
        click.echo(f"similar_to(id) through Datasette, ready after {server.seconds_to_ready:.1f} s")
        say("1 client", milliseconds(server.similar, ids))
        say("3 clients", from_clients(server.similar, ids, 3))
        click.echo(
            f"  {server.megabytes('VmRSS'):,.0f} MB resident, {server.megabytes('VmHWM'):,.0f} MB "
            f"at most; the vectors in memory are {megabytes_in_memory(path):,.0f} MB"
        )
        if drawn is not None:
            with writing(path, drawn):
                say("1 client, beside a writer", milliseconds(server.similar, ids))
                say("3 clients, beside a writer", from_clients(server.similar, ids, 3))
                click.echo(f"  {server.megabytes('VmHWM'):,.0f} MB at most")
        for function in ("imgsim_score", "imgsim_distance"):
            say(
                f"order by {function}, {ORDERED:,} rows",
                milliseconds(server.ordering(function), ids[:5]),
            )
        matrix, some = compared(path), ids[:RECALL_QUERIES]
        wanted = best(matrix, some)
        found = recall(server.similar, some, wanted)
        click.echo(f"  recall@{K} against exact float64: {found:.4f}")
    finally:
        server.stop()
    if alone:
        return
    click.echo("The same in this process, without a server:")
    for name, make in others():
        query = make(path, matrix)
        times = milliseconds(query, ids)
        found = recall(query, some[: len(times)], wanted[: len(times)])
        say(name, times, f"   recall {found:.4f}")
        del query


def megabytes_in_memory(path: Path) -> float:
    found = loaded(path)
    parts = (getattr(found, "matrix", None), getattr(found, "reduced", None), np.array(found.ids))
    return sum(part.nbytes for part in parts if part is not None) / 1e6


if __name__ == "__main__":
    main()
