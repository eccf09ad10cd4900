"""How fast pictures become stored vectors, beside the loop a user would write.

python benchmarks/embed.py            # about five minutes on two cores; --help for more
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np
import torch
import torchvision
from PIL import Image

from datasette_imgsim.collection import Collection
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import choose_precision

BATCH = 32


def draw_photos(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """JPEG files about as detailed as photographs: noise at four scales, each its own seed."""
    folder.mkdir(parents=True)
    files = []
    for number in range(count):
        generator = np.random.default_rng(number)
        total = np.zeros((height, width, 3), np.float32)
        for cells, strength in ((4, 90), (24, 40), (120, 15), (500, 8)):
            noise = generator.normal(128, strength, (cells, cells, 3)).clip(0, 255)
            image = Image.fromarray(noise.astype(np.uint8))
            total += np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        files.append(folder / f"{number}.jpg")
        Image.fromarray((total / 4).astype(np.uint8)).save(files[-1], quality=88)
    return files


def random_vgg16(path: Path) -> Path:
    """Weights with torchvision's own random initialisation: speed does not depend on training."""
    torch.manual_seed(0)
    features = torchvision.models.vgg16(weights=None).features
    torch.save({f"features.{k}": v for k, v in features.state_dict().items()}, path)
    return path


class UserLoop:
    """What one would write with torchvision and Pillow: float32, no threads for decoding."""

    def __init__(self, weights: Path, batch_size: int):
        model = torchvision.models.vgg16(weights=None)
        model.load_state_dict(torch.load(weights), strict=False)
        self.model, self.batch_size = model.features.eval(), batch_size
        self.transform = torchvision.transforms.Compose(
            [
                torchvision.transforms.Resize((224, 224)),
                torchvision.transforms.ToTensor(),
                torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __call__(self, files: list[Path]) -> float:
        started, vectors = time.perf_counter(), []
        with torch.inference_mode():
            for start in range(0, len(files), self.batch_size):
                batch = files[start : start + self.batch_size]
                pixels = [self.transform(Image.open(file).convert("RGB")) for file in batch]
                vectors.append(self.model(torch.stack(pixels)).mean((2, 3)))
        torch.cat(vectors)
        return time.perf_counter() - started


class Embed:
    """`datasette imgsim embed`, files to committed rows, once Python and the network are loaded."""

    def __init__(self, **options):
        self.options = options

    def __call__(self, files: list[Path]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            collection = Collection(Path(folder, "photos.db"))
            summary = collection.embed(*files, batch_size=BATCH, **self.options)
        assert summary.embedded == len(files)
        return summary.seconds


class Apart:
    """A candidate in a process of its own, so that none changes how another's memory behaves."""

    def __init__(self, make, *args, **options):
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, spawn, _make, (make, args, options))

    def __call__(self, files: list[Path]) -> float:
        return self.pool.submit(_measure, files).result()


def _make(make, args, options) -> None:
    global candidate
    candidate = make(*args, **options)


def _measure(files: list[Path]) -> float:
    return candidate(files)


def rates(candidates: dict, files: list[Path], rounds: int) -> dict[str, float]:
    """Median images/s of each, all in turn in each round, after a short warm-up."""
    for measured in candidates.values():
        measured(files[:BATCH])
    seen = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, measured in candidates.items():
            seen[name].append(len(files) / measured(files))
    return {name: statistics.median(values) for name, values in seen.items()}


@click.command()
@click.option("--images", default=96, show_default=True, help="How many for VGG16")
@click.option("--small-images", default=480, show_default=True, help="How many for the small one")
@click.option("--rounds", default=3, show_default=True)
def main(images, small_images, rounds):
    """Compare VGG16 at 224 px with a loop in torchvision; time both bundled networks."""
    precision = choose_precision("auto", "cpu")
    click.echo(f"torch {torch.__version__}, {torch.get_num_threads()} threads, auto = {precision}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights = random_vgg16(folder / "vgg16.pth")
        files = draw_photos(folder / "small", small_images, 640, 480)
        large = draw_photos(folder / "large", small_images // 8, 4000, 3000)
        ours = f"embed --model vgg16, files to committed rows, {precision}"
        found = rates(
            {
                "loop with torchvision, float32, one by one": Apart(UserLoop, weights, 1),
                f"loop with torchvision, float32, batches of {BATCH}": Apart(
                    UserLoop, weights, BATCH
                ),
                ours: Apart(Embed, model="vgg16", weights=weights, pooling="avg"),
            },
            files[:images],
            rounds,
        )
        *_, batched, _ = found
        click.echo("\nVGG16 at 224 px, from JPEG files of 0.3 megapixels")
        for name, rate in found.items():
            click.echo(f"  {rate:7.1f} images/s  {rate / found[batched]:5.2f} x  {name}")
        click.echo("\nThe bundled networks, from JPEG files to committed rows")
        bundled = {name: Apart(Embed, model=name) for name in (registry.DEFAULT, registry.SMALL)}
        for megapixels, some in ((0.3, files), (12, large)):
            for name, rate in rates(bundled, some, rounds).items():
                click.echo(f"  {rate:7.1f} images/s  {name}, files of {megapixels} megapixels")


if __name__ == "__main__":
    main()
