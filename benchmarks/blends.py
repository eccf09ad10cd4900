"""Makes a database of many images, to time what compares them: photos, and blends of two each.

python benchmarks/blends.py photos.db many.db --images 100000
datasette imgsim neighbours many.db
time datasette imgsim duplicates many.db
"""

from __future__ import annotations

import io
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import click
import numpy as np
from PIL import Image

from datasette_imgsim.db.spaces import choose_space

NOISE = 0.01


@click.command()
@click.argument("photos", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("database", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--images", default=100_000, show_default=True, help="How many in all")
def main(photos, database, images):
    """Copy the database PHOTOS to DATABASE and add blends, with blends of their vectors."""
    shutil.copy(photos, database)
    with closing(sqlite3.connect(database)) as conn, conn:
        space = choose_space(conn)
        keys, vectors, jpegs = read(conn, space)
        random = np.random.default_rng(0)
        count = images - len(keys)
        pairs = random.integers(0, len(keys), (count, 2))
        shares = random.uniform(0.35, 0.65, count)
        tasks = ((jpegs[a], jpegs[b], share) for (a, b), share in zip(pairs, shares))
        (norms,) = conn.execute("select norms from imgsim_vectors limit 1").fetchone()
        with ProcessPoolExecutor() as pool:
            for number, jpeg in enumerate(pool.map(blend, tasks, chunksize=200)):
                (a, b), share = pairs[number], shares[number]
                vector = (1 - share) * vectors[a] + share * vectors[b]
                vector = unit(space, vector + random.standard_normal(len(vector)) * NOISE)
                id = conn.execute(
                    "insert into images (path, width, height, bytes, sha256) "
                    "values (?, 640, 480, ?, ?)",
                    [f"blend/{number}.jpg", 8 * len(jpeg), f"{number:064x}"],
                ).lastrowid
                conn.execute(
                    "insert into imgsim_vectors (space_id, image_key, vector, norms) "
                    "values (?, ?, ?, ?)",
                    [space.id, id, space.encode(vector), norms],
                )
                conn.execute(
                    "insert into imgsim_thumbnails (source_table, image_key, jpeg) "
                    "values ('images', ?, ?)",
                    [id, jpeg],
                )
        conn.execute("delete from imgsim_neighbours")
        conn.execute(
            "update imgsim_spaces set generation = generation + 1, neighbours = null, "
            "duplicates = null, groups = null"
        )


def read(conn: sqlite3.Connection, space) -> tuple[list, np.ndarray, list[bytes]]:
    """(keys, vectors (n, dimensions), thumbnails) of all images."""
    rows = conn.execute(
        "select v.image_key, v.vector, t.jpeg from imgsim_vectors v join imgsim_thumbnails t "
        "on t.source_table = 'images' and t.image_key = v.image_key "
        "where v.space_id = ? order by 1",
        [space.id],
    ).fetchall()
    keys, blobs, jpegs = zip(*rows)
    return list(keys), np.stack([space.decode(blob) for blob in blobs]), list(jpegs)


def blend(task: tuple[bytes, bytes, float]) -> bytes:
    one, other, share = task
    first = Image.open(io.BytesIO(one)).convert("RGB")
    second = Image.open(io.BytesIO(other)).convert("RGB").resize(first.size)
    file = io.BytesIO()
    Image.blend(first, second, share).save(file, "JPEG", quality=80)
    return file.getvalue()


def unit(space, vector: np.ndarray) -> np.ndarray:
    for part in space.slices.values():
        vector[part] /= np.linalg.norm(vector[part])
    return vector


if __name__ == "__main__":
    main()
