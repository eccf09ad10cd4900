"""What a cluster of one machine costs: `embed --ray` and `import` beside `embed`.

python benchmarks/cluster.py FOLDER…
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click

COMMAND = [sys.executable, "-m", "datasette", "imgsim"]
VECTORS = (
    "select sha256, vector from images join imgsim_vectors on image_key = images.id order by 1, 2"
)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="efficientnet-lite", show_default=True)
def main(folders, model):
    """Embed folders in both ways, each in a process of its own, and compare the vectors."""
    with tempfile.TemporaryDirectory() as made:
        plain, taken, shards = (Path(made) / name for name in ("plain.db", "ray.db", "shards"))
        run("embed", "embed", plain, *folders, "--model", model, "--quiet")
        workers = ("--workers", os.cpu_count())
        on_ray = ("embed", "--ray", *folders, "--out", shards, "--model", model, *workers)
        run("embed --ray, one worker with all processors", *on_ray, "--quiet")
        run("the same again, nothing to do", *on_ray, "--quiet")
        run("import", "import", taken, shards)
        one, other = (vectors(path) for path in (plain, taken))
        same = sum(a == b for a, b in zip(one, other))
        click.echo(f"{same:,} of {len(one):,} vectors are equal, to the bit")


def run(what: str, *arguments) -> None:
    started = time.perf_counter()
    command = [*COMMAND, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
    click.echo(f"{time.perf_counter() - started:7.1f} s  {what}")


def vectors(path: Path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(VECTORS).fetchall()


if __name__ == "__main__":
    main()
