"""What int8 gains and costs on processors with VNNI but no bfloat16: images/s and mAP, both ways.

ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI python benchmarks/int8.py FOLDER…    # --help for more

The variable, which holds for both, keeps oneDNN from newer instructions than old processors have:
AVX2 (2013), AVX512_CORE (2017), AVX512_CORE_VNNI (2019), AVX2_VNNI (2021, without AVX-512). Clocks
and execution units remain those of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
from embed import BATCH, rates

from datasette_imgsim.evaluate import Task, measure
from datasette_imgsim.ingest.decode import decode
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network, keep_memory

MODEL = registry.get("vgg16-oxford")
ABOUT = MODEL.description
PHOTOS = 100


class Candidate:
    """The bundled network at its defaults, in one precision."""

    def __init__(self, precision: str, levels=ABOUT.default_levels, pooling=ABOUT.default_pooling):
        self.network = Network(
            MODEL, levels, pooling, ABOUT.normalise, ABOUT.size, None, "cpu", precision
        )

    def __call__(self, batches: list[np.ndarray]) -> float:
        started = time.perf_counter()
        for pictures in batches:
            self.network.vectors(pictures)
        # `rates` divides the number of batches by this: pictures a second come out.
        return (time.perf_counter() - started) / BATCH


def in_batches(files: list[Path]) -> Iterator[np.ndarray]:
    """The pixels of the files, a batch at a time."""
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(files), BATCH):
            yield np.stack(list(threads.map(pixels, files[start : start + BATCH])))


def pixels(file: Path) -> np.ndarray:
    return decode(file.open("rb"), ABOUT.size).pixels


def mean_ap(network: Network, folder: Path, step: int) -> float:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())[::step]
    files = [file for each in classes for file in sorted(each.iterdir())]
    units = np.concatenate([network.vectors(batch)[0] for batch in in_batches(files)])
    # As stored in float16 and then centred, which is how search compares them.
    units = units.astype(np.float16).astype(np.float32)
    ends = np.cumsum([*network.dimensions.values()])[:-1]
    levels = [level - level.mean(0) for level in np.split(units, ends, axis=1)]
    levels = [level / np.linalg.norm(level, axis=1, keepdims=True) for level in levels]
    weights = np.array([[ABOUT.level_weights[level] for level in network.levels]])
    task = Task.of([file.parent for file in files])
    return measure(levels, weights / weights.sum(), task)[0, :, 0].mean()


def print_maxima(folder: Path) -> None:
    """The largest value behind each ReLU for PHOTOS photos: OXFORD_MAXIMA of models/vgg.py."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = np.random.default_rng(0).permutation(len(files))[:PHOTOS]
    levels = [level for level in ABOUT.channels if level.startswith("conv")]
    runner = Candidate("float32", levels, "max").network.runner
    batches = in_batches([files[place] for place in chosen])
    found = [[level.max() for level in runner.pooled(batch, "max")] for batch in batches]
    for level, value in zip(levels, np.max(found, axis=0)):
        click.echo(f'"{level}": {value:.0f},')


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, type=FOLDER)
@click.option("--calibrate", type=FOLDER, help="Print the maxima of photos, not in FOLDERS, first")
@click.option("--step", default=1, show_default=True, help="2: only the 1st, 3rd, … class")
@click.option("--rounds", default=5, show_default=True)
@click.option("--batches", default=2, show_default=True, help=f"Of {BATCH} pictures, a round")
def main(folders, calibrate, step, rounds, batches):
    """Compare float32 and int8 on FOLDERS, whose own folders say what a picture shows."""
    keep_memory()
    if calibrate:
        print_maxima(calibrate)
    candidates = {precision: Candidate(precision) for precision in ("float32", "int8")}
    # How long a picture takes does not depend on what it shows.
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, ABOUT.size, ABOUT.size, 3), np.uint8)
    for name, rate in rates(candidates, [noise] * batches, rounds).items():
        click.echo(f"{name:8}{rate:7.1f} images/s")
    for folder in folders:
        for name, candidate in candidates.items():
            click.echo(f"{name:8}{mean_ap(candidate.network, folder, step):7.4f} mAP {folder.name}")


if __name__ == "__main__":
    main()
