"""What int8 gains and costs on processors with VNNI but no bfloat16: images/s and mAP, both ways.

ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI python benchmarks/int8.py FOLDER…    # --help for more

The variable, which holds for both, keeps oneDNN from newer instructions than old processors have:
AVX2 (2013), AVX512_CORE (2017), AVX512_CORE_VNNI (2019), AVX2_VNNI (2021, without AVX-512). Clocks
and execution units remain those of this machine.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from choose import centred, files_of, mean_ap, pictures
from embed import BATCH, rates
from models import Forward

from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network

ABOUT = registry.get(registry.DEFAULT).description
PHOTOS = 100


def print_maxima(folder: Path) -> None:
    """The largest value behind each ReLU for PHOTOS photos: OXFORD_MAXIMA of models/vgg.py."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = np.random.default_rng(0).permutation(len(files))[:PHOTOS]
    photos = pictures([(files[place], "") for place in chosen], ABOUT.size)
    levels = [level for level in ABOUT.channels if level.startswith("conv")]
    largest = np.zeros(len(levels))
    network = Forward("float32", levels=",".join(levels), pooling="max").network
    for start in range(0, PHOTOS, BATCH):
        found = network.runner.pooled(photos[start : start + BATCH], "max")
        largest = np.maximum(largest, [level.max() for level in found])
    for level, value in zip(levels, largest):
        click.echo(f'"{level}": {value:.0f},')


def measured(network: Network, folder: Path, step: int) -> float:
    files = files_of(folder, slice(None, None, step))
    matrices, _ = centred(network, pictures(files, network.size))
    return mean_ap(matrices, [ABOUT.level_weights[level] for level in network.levels], files)


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, type=FOLDER)
@click.option("--calibrate", type=FOLDER, help="Print the maxima of photos, not in FOLDERS, first")
@click.option("--step", default=1, show_default=True, help="2: only the 1st, 3rd, … class")
@click.option("--rounds", default=5, show_default=True)
@click.option("--batches", default=2, show_default=True, help=f"Of {BATCH} pictures, a round")
def main(folders, calibrate, step, rounds, batches):
    """Compare float32 and int8 on FOLDERS, whose own folders say what a picture shows."""
    if calibrate:
        print_maxima(calibrate)
    candidates = {precision: Forward(precision) for precision in ("float32", "int8")}
    for name, rate in rates(candidates, range(batches), rounds).items():
        click.echo(f"{name:8}{rate:7.1f} images/s")
    for folder in folders:
        for name, candidate in candidates.items():
            found = measured(candidate.network, folder, step)
            click.echo(f"{name:8}{found:7.4f} mAP {folder.name}")


if __name__ == "__main__":
    main()
