"""How good and how fast each network is: mAP on labelled folders, images/s, bytes an image.

python benchmarks/models.py FOLDER…      # about five minutes on two cores; --help for more
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from embed import BATCH, Apart, Silent, random_vgg16, rates

from datasette_imgsim import evaluate, store
from datasette_imgsim.ingest import pipeline, settings
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import choose_precision, keep_memory

VGG16 = "vgg16"


@dataclass(frozen=True)
class Candidate:
    """A network as `embed` would be asked for it; without `measured`, only its speed counts."""

    name: str
    options: dict
    measured: bool = True


class Forward:
    """The network alone, on pictures that are decoded already."""

    def __init__(self, **options):
        keep_memory()
        self.network = settings.from_options(**options).network()

    def __call__(self, batches: range) -> float:
        shape = (BATCH, self.network.size, self.network.size, 3)
        pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        started = time.perf_counter()
        for _ in batches:
            self.network.vectors(pictures)
        # `rates` divides the number of batches by this: pictures a second come out.
        return (time.perf_counter() - started) / BATCH


class Labelled:
    """Embeds a folder and measures what came out."""

    def __init__(self, **options):
        self.settings = settings.from_options(**options)

    def __call__(self, folder: Path) -> list[evaluate.Result]:
        with tempfile.TemporaryDirectory() as temporary:
            database = Path(temporary, "photos.db")
            pipeline.embed_folder(
                database, [folder], self.settings, None, pipeline.Choices(), Silent()
            )
            with closing(store.open_reader(database)) as conn:
                space = store.choose_space(conn)
                labels = evaluate.labels_of(conn, space, None)
                return evaluate.Evaluation(conn, space, labels).results()


def default_result(results: list[evaluate.Result]) -> evaluate.Result:
    (found,) = [result for result in results if result.name.endswith("(default)")]
    return found


def bytes_an_image(options: dict) -> int:
    chosen = settings.from_options(**options)
    channels = registry.get(chosen.model).description.channels
    return (
        sum(channels[level] for level in chosen.levels) * np.dtype(store.DTYPES["float16"]).itemsize
    )


def row(cells: list) -> str:
    return f"| {' | '.join(map(str, cells))} |"


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--vgg19",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Oxford's VGG19, if need be cut off after conv3_4",
)
@click.option("--rounds", default=3, show_default=True)
@click.option("--batches", default=8, show_default=True, help=f"Of {BATCH} pictures, a round")
def main(folders, vgg19, rounds, batches):
    """Compare the networks on FOLDERS, whose own folders say what a picture shows."""
    with tempfile.TemporaryDirectory() as temporary:
        weights = random_vgg16(Path(temporary, "vgg16.pth"))
        candidates = [
            Candidate("vgg-mini", {}),
            Candidate(VGG16, {"model": VGG16, "weights": weights}, measured=False),
        ]
        if vgg19:
            options = {"model": "vgg19", "weights": vgg19, "preprocess": "oxford"}
            candidates += [
                Candidate(f"vgg19, {levels}", options | {"levels": levels})
                for levels in ("pool3", "pool1,pool2,pool3")
            ]
        found = rates(
            {c.name: Apart(Forward, **c.options) for c in candidates}, range(batches), rounds
        )
        click.echo(f"{choose_precision('auto', 'cpu')}, batches of {BATCH}, decoding apart\n")
        names = [folder.name for folder in folders]
        click.echo(row(["model", "images/s", "", "bytes an image", *(f"mAP {n}" for n in names)]))
        click.echo(row(["---"] * (4 + len(names))))
        others = {}
        for candidate in candidates:
            maps = []
            for folder in folders:
                if not candidate.measured:
                    maps.append("not measured")
                    continue
                results = Apart(Labelled, **candidate.options)(folder)
                others.update({(r.name, folder): r for r in results})
                maps.append(f"{default_result(results).over_queries['mAP']:.3f}")
            rate = found[candidate.name]
            size = bytes_an_image(candidate.options)
            faster = f"{rate / found[VGG16]:.1f} x"
            click.echo(row([candidate.name, f"{rate:.1f}", faster, f"{size:,}", *maps]))
        for name in ("colour histogram", "random order"):
            maps = [f"{others[name, folder].over_queries['mAP']:.3f}" for folder in folders]
            click.echo(row([name, "", "", "", *maps]))


if __name__ == "__main__":
    main()
