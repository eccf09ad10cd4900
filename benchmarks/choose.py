"""Which levels, level weights, pooling and input size serve a network best, and at what cost.

python benchmarks/choose.py FOLDER… --model vgg16-oxford --levels pool2,pool5 --sizes 192,208,224

Each folder is a labelled set: its own folders say what a picture shows. Only every second class,
sorted by name (the 1st, 3rd, …), is looked at, so that the others stay for reports; --other-half
looks at those. Folders that are small enough to be looked at as a whole go behind --whole.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from datasette_imgsim.evaluate import Task, measure
from datasette_imgsim.ingest import decode, settings
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network, keep_memory

BATCH = 32
MOST_OF_A_CLASS = 20


def files_of(folder: Path, classes: slice) -> list[tuple[Path, str]]:
    """(file, label) of some classes of a folder, evenly spread where a class is large."""
    found = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir())[classes]:
        files = sorted(path for path in each.iterdir() if path.is_file())
        step = max(1, len(files) / MOST_OF_A_CLASS)
        chosen = [files[int(n * step)] for n in range(min(len(files), MOST_OF_A_CLASS))]
        found += [(file, each.name) for file in chosen]
    return found


def pictures(files: list[tuple[Path, str]], size: int) -> np.ndarray:
    def read(file: tuple[Path, str]) -> np.ndarray:
        with file[0].open("rb") as opened:
            return decode.decode(opened, size).pixels

    with ThreadPoolExecutor() as threads:
        return np.stack(list(threads.map(read, files)))


def centred(network: Network, pixels: np.ndarray) -> tuple[list[np.ndarray], float]:
    """The matrix of each level as it is ranked by, and images/s of the network."""
    network.vectors(pixels[:BATCH])
    started = time.perf_counter()
    parts = [network.vectors(pixels[at : at + BATCH])[0] for at in range(0, len(pixels), BATCH)]
    rate = len(pixels) / (time.perf_counter() - started)
    units = np.concatenate(parts).astype(np.float16).astype(np.float32)
    matrices = np.split(units, np.cumsum([*network.dimensions.values()])[:-1], axis=1)
    found = []
    for matrix in matrices:
        matrix = matrix - matrix.mean(axis=0)
        found.append(matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12))
    return found, rate


def numbers(context, option, text: str | None) -> list[float]:
    return [float(number) for number in text.split(",")] if text else []


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--whole", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--other-half", is_flag=True, help="Look at the 2nd, 4th, … class instead")
@click.option("--model", default=registry.DEFAULT, show_default=True)
@click.option("--levels", help="The last one counts 1; the model's default where left out")
@click.option("--weights", callback=numbers, help="To try for each level before the last")
@click.option("--sizes", callback=numbers)
@click.option("--poolings", default="gem,avg", show_default=True)
def main(folders, whole, other_half, model, levels, weights, sizes, poolings):
    """Print the mAP of each choice on each set, the numbers an image costs, and images/s."""
    keep_memory()
    half = slice(1 if other_half else 0, None, 2)
    sets = {folder.name: files_of(folder, half) for folder in folders}
    sets |= {folder.name: files_of(folder, slice(None)) for folder in whole}
    chosen = settings.from_options(model=model, levels=levels)
    about = registry.get(model).description
    click.echo(
        f"{'px':>4} {'pooling':8}{'level weights':32}{'numbers':>8}{'images/s':>9}  ", nl=False
    )
    click.echo("".join(f"{name[:14]:>15}" for name in sets) + f"{'mean':>8}")
    for size in [int(size) for size in sizes] or [about.size]:
        pixels = {name: pictures(files, size) for name, files in sets.items()}
        for pooling in poolings.split(","):
            network = settings.from_options(
                model=model, levels=levels, pooling=pooling, size=size
            ).network()
            found = {name: centred(network, some) for name, some in pixels.items()}
            rate = np.median([rate for _, rate in found.values()])
            usual = [about.level_weights.get(level, 1) for level in network.levels]
            tried = itertools.product(weights, repeat=len(chosen.levels) - 1)
            for each in [[*each, 1] for each in tried] if weights else [usual]:
                maps = [
                    mean_ap(matrices, each, sets[name]) for name, (matrices, _) in found.items()
                ]
                used = {n: w for n, w in zip(network.dimensions, each) if w}
                names = ",".join(f"{name}={weight:g}" for name, weight in used.items())
                count = sum(network.dimensions[name] for name in used)
                row = f"{size:4} {pooling:8}{names:32}{count:8}{rate:9.1f}  "
                row += "".join(f"{value:15.3f}" for value in maps)
                click.echo(f"{row}{np.mean(maps):8.3f}")


def mean_ap(matrices: list[np.ndarray], weights: list, files: list[tuple[Path, str]]) -> float:
    task = Task.of([label for _, label in files])
    return measure(matrices, np.array([weights]) / sum(weights), task)[0, :, 0].mean()


if __name__ == "__main__":
    main()
