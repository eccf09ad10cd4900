"""What the teacher sees in every crop, computed once and kept on disk.

python -m training.teacher PHOTOS TEACHER.tflite WORK      # about seven minutes on two cores

The teacher is MobileNet v2 (Sandler et al. 2018, arXiv 1801.04381), trained on ImageNet.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from . import photos

SIDE = 128
"""Crops are kept at this many pixels; training makes them smaller as it likes."""
TEACHER_SIDE = 224
VIEWS = 4
HELD_OUT = 2000
"""The last photos of the shuffled order are not trained on: settings are chosen on them."""
CHANNELS, CELLS, COMPONENTS = 1280, 7, 256
INT8_STEPS, INT8_LARGEST = 32, 127
CROPS_AT_ONCE = 1024
REQUESTS = 4


class Teacher:
    """The convolutional part of the network: (N, 224, 224, 3) uint8 -> maps (N, 49, 1280)."""

    def __init__(self, path: Path):
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        pooling = [op for op in model.get_ordered_ops() if op.get_type_name() == "AvgPool"][-1]
        last_map = pooling.input(0).get_source_output()
        model = openvino.Model([last_map], model.get_parameters())
        compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
        # The file fixes the batch at one picture: several requests at once keep all cores busy.
        self.queue = openvino.AsyncInferQueue(compiled, REQUESTS)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        found = np.empty((len(pictures), CHANNELS, CELLS * CELLS), np.float32)

        def keep(request, number):
            found[number] = request.get_output_tensor(0).data.reshape(CHANNELS, -1)

        self.queue.set_callback(keep)
        for number, picture in enumerate(pictures):
            self.queue.start_async([picture[None]], number)
        self.queue.wait_all()
        return found.transpose(0, 2, 1)


class Projection:
    """The principal components of the teacher's cells, as int8: its channels are redundant."""

    def __init__(self, maps: np.ndarray):
        """Fitted on maps (N, 49, 1280)."""
        cells = maps.reshape(-1, CHANNELS)
        self.mean = cells.mean(0)
        variances, vectors = np.linalg.eigh(np.cov(cells - self.mean, rowvar=False))
        best = np.argsort(-variances)[:COMPONENTS]
        self.components = vectors[:, best].astype(np.float32)
        self.deviation = np.sqrt(variances[best])

    def __call__(self, maps: np.ndarray) -> np.ndarray:
        """(N, 49, 1280) -> (N, 7, 7, 256) int8, in 1/32 of each component's deviation."""
        values = (maps.reshape(-1, CHANNELS) - self.mean) @ self.components / self.deviation
        whole = np.rint(values * INT8_STEPS).clip(-INT8_LARGEST, INT8_LARGEST)
        return whole.astype(np.int8).reshape(-1, CELLS, CELLS, COMPONENTS)


class Prepared:
    """The crops of a work folder and what the teacher says of them, on disk.

    Of `photos` shuffled photos: crop number v * photos + p is view v of photo p.
    pixels (N, 128, 128, 3) uint8 · embeddings (N, 1280) float16, the square roots of the map's
    mean · maps (N, 7, 7, 256) int8 · labels, a text a photo · deviation (256,) of the components.
    """

    def __init__(self, folder: Path, mode: str, photos: int):
        self.folder, self.photos, count = folder, photos, photos * VIEWS
        self.pixels, self.embeddings, self.maps = (
            np.lib.format.open_memmap(folder / f"{name}.npy", mode, dtype, (count, *shape))
            for name, dtype, shape in (
                ("pixels", np.uint8, (SIDE, SIDE, 3)),
                ("embeddings", np.float16, (CHANNELS,)),
                ("maps", np.int8, (CELLS, CELLS, COMPONENTS)),
            )
        )

    @classmethod
    def create(cls, folder: Path, photos: int) -> Prepared:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "about.json").unlink(missing_ok=True)
        return cls(folder, "w+", photos)

    def finish(self, labels: list[str], deviation: np.ndarray) -> None:
        about = {"labels": labels, "deviation": deviation.tolist()}
        (self.folder / "about.json").write_text(json.dumps(about))

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Raises ClickException where the teacher has not finished."""
        try:
            about = json.loads((folder / "about.json").read_text())
        except FileNotFoundError:
            raise click.ClickException(
                f"{folder} is not finished: run python -m training.teacher first"
            ) from None
        found = cls(folder, "r", len(about["labels"]))
        found.labels, found.deviation = about["labels"], np.array(about["deviation"], np.float32)
        return found

    def mean(self) -> np.ndarray:
        """Of the embeddings of whole pictures as unit vectors (1280,)."""
        units = self.embeddings[: self.photos].astype(np.float32)
        return (units / np.linalg.norm(units, axis=1, keepdims=True)).mean(0)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("network", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
def prepare(folder, network, work):
    """Cut the photos of FOLDER's tar files into crops and show them to the teacher NETWORK.

    Writes four crops a photo, 63 KB each, into the folder WORK.
    """
    found, teacher = photos.read(folder), Teacher(network)
    found = [found[place] for place in np.random.default_rng(0).permutation(len(found))]
    prepared, projection = Prepared.create(work, len(found)), None

    def crop(number: int) -> np.ndarray:
        """Keeps the crop and gives it in the teacher's size."""
        view, place = divmod(number, len(found))
        image = found[place].image
        box = photos.crop_box(image.size, view, np.random.default_rng(number))
        prepared.pixels[number] = photos.squashed(image, SIDE, box)
        return np.asarray(photos.squashed(image, TEACHER_SIDE, box))

    numbers = range(len(found) * VIEWS)
    with ThreadPoolExecutor() as threads, click.progressbar(length=len(numbers)) as progress:
        for start in range(0, len(numbers), CROPS_AT_ONCE):
            some = numbers[start : start + CROPS_AT_ONCE]
            maps = teacher(np.stack(list(threads.map(crop, some))))
            projection = projection or Projection(maps)
            prepared.maps[some.start : some.stop] = projection(maps)
            prepared.embeddings[some.start : some.stop] = np.sqrt(maps.mean(1))
            progress.update(len(some))
    prepared.finish([photo.label for photo in found], projection.deviation)


if __name__ == "__main__":
    prepare()
