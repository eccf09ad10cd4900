"""How long one query takes, beside what one would use instead.

python benchmarks/search.py --images 100000     # two minutes on two cores; --help for more

The other ways take part where their package is installed: pip install faiss-cpu sqlite-vec
"""

from __future__ import annotations

import importlib.util
import json
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
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import numpy as np

from datasette_imgsim import store
from datasette_imgsim.search import calibration, index

K = 20
GROUPS = 300
AT_ONCE = 5_000


def drawn(count: int, dimensions: int) -> np.ndarray:
    """(count, dimensions) float32 unit vectors in groups, none negative, as after a ReLU."""
    random = np.random.default_rng(0)
    centres = np.abs(random.standard_normal((GROUPS, dimensions), np.float32))
    found = np.empty((count, dimensions), np.float32)
    for start in range(0, count, AT_ONCE):
        some = found[start : start + AT_ONCE]
        some[:] = np.abs(random.standard_normal(some.shape, np.float32))
        some += centres[random.integers(0, GROUPS, len(some))]
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    return found


def make_database(path: Path, vectors: np.ndarray) -> None:
    """A database as `embed` leaves it, but for thumbnails."""
    count, dimensions = vectors.shape
    with closing(store.open_writer(path, create=True)) as conn:
        with conn.transaction():
            space = store.create_space(
                conn,
                name="drawn",
                source_table="images",
                model="vgg-mini",
                weights_sha256="",
                levels={"conv5_2": dimensions},
                pooling="gem",
                preprocess={},
                dtype="float16",
                precision="float32",
                dimensions=dimensions,
                level_weights={"conv5_2": 1},
                versions={},
            )
        norms = np.ones(1, np.float32)
        for start in range(0, count, AT_ONCE):
            ids = range(start + 1, min(start + AT_ONCE, count) + 1)
            with conn.transaction():
                conn.executemany(
                    "insert into images (id, path) values (?, ?)",
                    [(id, f"{id}.jpg") for id in ids],
                )
                rows = [(id, vectors[id - 1], norms) for id in ids]
                store.save_vectors(conn, space, rows)
        store.centre_if_due(conn, space)
        calibration.renew(conn, store.choose_space(conn))


class Server:
    """A real `datasette serve`, whose JSON API is asked."""

    def __init__(self, path: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "datasette", "serve", str(path), "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{port}/{path.stem}.json?_shape=arrays&"
        while not self._is_ready():
            time.sleep(0.02)
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

    @property
    def megabytes(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) / 1000

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def milliseconds(query: Callable[[int], object], ids: list[int]) -> list[float]:
    found = []
    for id in ids:
        started = time.perf_counter()
        query(id)
        found.append(1000 * (time.perf_counter() - started))
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


def in_numpy(matrix: np.ndarray) -> Callable[[int], list[int]]:
    def query(id: int) -> list[int]:
        scores = matrix @ matrix[id - 1]
        best = np.argpartition(scores, -K - 1)[-K - 1 :]
        return [int(row) + 1 for row in best[np.argsort(-scores[best])] if row != id - 1]

    return query


def in_python(path: Path) -> Callable[[int], object]:
    """A function of two BLOBs, called for each row, as `llm similar` has it."""
    conn = sqlite3.connect(path, check_same_thread=False)

    def cosine(a: bytes, b: bytes) -> float:
        x, y = (struct.unpack(f"<{len(v) // 2}e", v) for v in (a, b))
        return sum(p * q for p, q in zip(x, y))

    conn.create_function("cosine", 2, cosine)
    sql = """
        select image_id from imgsim_vectors order by
        cosine(vector, (select vector from imgsim_vectors where image_id = ?)) desc limit 20
    """
    return lambda id: conn.execute(sql, [id]).fetchall()


def in_faiss(matrix: np.ndarray) -> Callable[[int], object]:
    import faiss

    found = faiss.IndexFlatIP(matrix.shape[1])
    found.add(matrix)
    return lambda id: found.search(matrix[id - 1 : id], K + 1)


def in_sqlite_vec(matrix: np.ndarray) -> Callable[[int], object]:
    import sqlite_vec

    conn = sqlite3.connect(":memory:", check_same_thread=False)
    conn.enable_load_extension(True)
    sqlite_vec.load(conn)
    conn.execute(f"create virtual table v using vec0(e float[{matrix.shape[1]}])")
    conn.executemany("insert into v (e) values (?)", [(row.tobytes(),) for row in matrix])
    sql = "select rowid, distance from v where e match ? and k = 21"
    return lambda id: conn.execute(sql, [matrix[id - 1].tobytes()]).fetchall()


def others(path: Path, matrix: np.ndarray) -> dict[str, Callable[[int], object]]:
    found = {"numpy, float32": in_numpy(matrix), "a function in Python": in_python(path)}
    if importlib.util.find_spec("faiss"):
        found["faiss, IndexFlatIP"] = in_faiss(matrix)
    if importlib.util.find_spec("sqlite_vec") and hasattr(
        sqlite3.Connection, "enable_load_extension"
    ):
        found["sqlite-vec"] = in_sqlite_vec(matrix)
    return found


def say(what: str, times: list[float]) -> None:
    p50, p99 = statistics.median(times), float(np.quantile(times, 0.99))
    click.echo(f"  {what:44} p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   ({len(times)} queries)")


@click.command()
@click.option("--images", default=100_000, show_default=True)
@click.option("--dimensions", default=512, show_default=True)
@click.option("--queries", default=200, show_default=True)
def main(images, dimensions, queries):
    """Time `similar_to(id)` through Datasette's JSON API, and other ways to the same answer."""
    ids = np.random.default_rng(1).integers(1, images + 1, queries).tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photos.db")
        vectors = drawn(images, dimensions)
        make_database(path, vectors)
        raw = images * dimensions * 2
        click.echo(
            f"{images:,} images, {dimensions} dimensions: the database is "
            f"{path.stat().st_size / raw:.2f} times the bytes of its vectors"
        )
        server = Server(path)
        try:
            milliseconds(server.similar, ids[:5])
            say("similar_to through Datasette, 1 client", milliseconds(server.similar, ids))
            say("similar_to through Datasette, 3 clients", from_clients(server.similar, ids, 3))
            click.echo(
                f"  ready {server.seconds_to_ready:.1f} s after the start, "
                f"{server.megabytes:,.0f} MB resident"
            )
            with closing(store.open_reader(path)) as conn:
                matrix = index.load(conn, store.choose_space(conn)).matrix
            exact = matrix.astype(np.float64)
            sample = ids[:20]
            hits = 0
            for id in sample:
                scores = exact @ exact[id - 1]
                scores[id - 1] = -2
                best = set((np.argpartition(scores, -K)[-K:] + 1).tolist())
                hits += len(best & set(server.similar(id)))
            click.echo(f"  recall@{K} against exact float64: {hits / K / len(sample):.4f}")
        finally:
            server.stop()
        click.echo("The same in this process, without a server:")
        for name, query in others(path, matrix).items():
            slow = name == "a function in Python"
            say(name, milliseconds(query, ids[: 3 if slow else queries]))


if __name__ == "__main__":
    main()
