"""How long it takes to export a space into shards, and to import one of any number of images.

python benchmarks/shards.py export photos.db
python benchmarks/shards.py import --images 1000000 --folder /tmp   # drawn ones; 11 GB
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from beside_reader import run_beside_reader

from datasette_imgsim import Collection
from datasette_imgsim.db.exchange import Record
from datasette_imgsim.ingest import shards
from datasette_imgsim.ingest.recipe import Recipe

COMMAND = [sys.executable, "-m", "datasette", "imgsim"]
DIMENSIONS = 640
THUMBNAIL_BYTES = 4_000
ROWS_A_SHARD = 10_000
READ = "select path from images limit 20"


@click.group()
def main():
    """Shards, written and read."""


@main.command("export")
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def export(database):
    """Export a database, and import that into a new one."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        target = Path(folder) / "shards"
        click.echo(run_beside_reader([*COMMAND, "export", database, target], database, READ))
        tell_sizes(target)
        run_imports(Path(folder) / "new.db", target)


@main.command("import")
@click.option("--images", default=100_000, show_default=True, help="How many")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def import_drawn(images, folder):
    """Import shards of drawn images, twice."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        target = Path(made) / "shards"
        draw(target, images)
        tell_sizes(target)
        run_imports(Path(made) / "new.db", target)


def draw(target: Path, images: int) -> None:
    """Shards of images with random vectors, and thumbnails of random bytes."""
    recipe = Recipe(
        "drawn", "efficientnet-lite", "drawn", {"head": DIMENSIONS}, "avg",
        {"normalise": "torchvision", "resize": "squash", "size": 224}, "float16", "float32",
        {"head": 1}, {},
    )  # fmt: skip
    random = np.random.default_rng(0)
    with shards.located(str(target)) as (fs, path):
        fs.makedirs(path)
        for first in range(0, images, ROWS_A_SHARD):
            numbers = range(first, min(first + ROWS_A_SHARD, images))
            starts = range(numbers.start, numbers.stop, shards.ROWS_A_GROUP)
            groups = (
                drawn(random, range(start, min(start + shards.ROWS_A_GROUP, numbers.stop)))
                for start in starts
            )
            file = f"{path}/images-{first // ROWS_A_SHARD:05d}.parquet"
            shards.write(fs, file, recipe, groups)


def drawn(random: np.random.Generator, numbers: range) -> list[Record]:
    vectors = random.standard_normal((len(numbers), DIMENSIONS)).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = (vectors / lengths).astype(np.float16)
    return [
        Record(
            f"s3://pictures/{number // 1000:04d}/{number}.jpg",
            thumbnail=b"\xff\xd8\xff" + random.bytes(THUMBNAIL_BYTES - 3),
            sha256=f"{number:064x}",
            bytes=300_000,
            mtime_ns=1_700_000_000_000_000_000 + number,
            facts={"width": 4000, "height": 3000, "format": "JPEG"},
            vector=vectors[row],
            norms=lengths[row].astype(np.float32),
        )
        for row, number in enumerate(numbers)
    ]


def run_imports(database: Path, target: Path) -> None:
    with shards.located(str(target)) as (fs, path):
        first = shards.below(fs, path)[0]
    Collection(database).import_shards(first)  # so that there is something to read
    for _ in ("new", "unchanged"):
        click.echo(run_beside_reader([*COMMAND, "import", database, target], database, READ))
    click.echo(f"  the database has {database.stat().st_size / 1e6:,.0f} MB")


def tell_sizes(target: Path) -> None:
    sizes = [file.stat().st_size for file in target.iterdir()]
    click.echo(f"  {len(sizes):,} shards with {sum(sizes) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
