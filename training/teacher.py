"""What the teachers see in every crop, computed once and kept on disk.

python -m training.teacher PHOTOS WORK V2.tflite V1.tflite      # 14 minutes on two cores

The teachers are MobileNet v2 (Sandler et al. 2018, arXiv 1801.04381), which knows subjects better,
and v1 (Howard et al. 2017, arXiv 1704.04861), which tells similar things apart, both trained on
ImageNet.
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
CELLS, COMPONENTS = 7, 256
INT8_STEPS, INT8_LARGEST = 32, 127
CROPS_AT_ONCE = 1024
REQUESTS = 4


class Teacher:
    """The convolutional part of a network: (N, 224, 224, 3) uint8 -> maps (N, 49, channels)."""

    def __init__(self, path: Path):
        try:
            import openvino
        except ImportError as ex:
            raise click.ClickException("This needs openvino: pip install -e '.[train]'") from ex

        core = openvino.Core()
        model = core.read_model(path)
        pooling = [op for op in model.get_ordered_ops() if op.get_type_name() == "AvgPool"][-1]
        last_map = pooling.input(0).get_source_output()
        self.channels = last_map.get_shape()[1]
        model = openvino.Model([last_map], model.get_parameters())
        compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
        # The file fixes the batch at one picture: several requests at once keep all cores busy.
        self.queue = openvino.AsyncInferQueue(compiled, REQUESTS)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        found = np.empty((len(pictures), self.channels, CELLS * CELLS), np.float32)

        def keep(request, number):
            found[number] = request.get_output_tensor(0).data.reshape(self.channels, -1)

        self.queue.set_callback(keep)
        for number, picture in enumerate(pictures):
            self.queue.start_async([picture[None]], number)
        self.queue.wait_all()
        return found.transpose(0, 2, 1)


class Projection:
    """The principal components of a teacher's cells, as int8: its channels are redundant."""

    def __init__(self, maps: np.ndarray):
        """Fitted on maps (N, 49, channels)."""
        cells = maps.reshape(-1, maps.shape[-1])
        self.mean = cells.mean(0)
        variances, vectors = np.linalg.eigh(np.cov(cells - self.mean, rowvar=False))
        best = np.argsort(-variances)[:COMPONENTS]
        self.components = vectors[:, best].astype(np.float32)
        self.deviation = np.sqrt(variances[best])

    def __call__(self, maps: np.ndarray) -> np.ndarray:
        """(N, 49, channels) -> (N, 7, 7, 256) int8, in 1/32 of each component's deviation."""
        values = (maps.reshape(-1, maps.shape[-1]) - self.mean) @ self.components / self.deviation
        whole = np.rint(values * INT8_STEPS).clip(-INT8_LARGEST, INT8_LARGEST)
        return whole.astype(np.int8).reshape(-1, CELLS, CELLS, COMPONENTS)


class Prepared:
    """The crops of a work folder and what the teachers say of them, on disk.

    Of `photos` shuffled photos: crop number v * photos + p is view v of photo p.
    pixels (N, 128, 128, 3) uint8 · embeddings (N, sum of channels) float16, the square roots of
    the mean of each teacher's map, side by side · maps (N, 7, 7, 256) int8, of the first teacher ·
    labels, a text a photo · deviation (256,) of the maps' components.
    """

    def __init__(self, folder: Path, mode: str, photos: int, channels: list[int]):
        self.folder, self.photos, count = folder, photos, photos * VIEWS
        self.channels = channels
        self.pixels, self.embeddings, self.maps = (
            np.lib.format.open_memmap(folder / f"{name}.npy", mode, dtype, (count, *shape))
            for name, dtype, shape in (
                ("pixels", np.uint8, (SIDE, SIDE, 3)),
                ("embeddings", np.float16, (sum(channels),)),
                ("maps", np.int8, (CELLS, CELLS, COMPONENTS)),
            )
        )

    @classmethod
    def create(cls, folder: Path, photos: int, channels: list[int]) -> Prepared:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "about.json").unlink(missing_ok=True)
        return cls(folder, "w+", photos, channels)

    def finish(self, labels: list[str], deviation: np.ndarray) -> None:
        about = {
            "labels": labels,
            "deviation": deviation.tolist(),
            "channels": self.channels,
        }
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
        found = cls(folder, "r", len(about["labels"]), about["channels"])
        found.labels, found.deviation = about["labels"], np.array(about["deviation"], np.float32)
        return found

    def mean(self) -> np.ndarray:
        """Of the embeddings of whole pictures, each teacher's made unit (sum of channels,)."""
        wholes = self.embeddings[: self.photos].astype(np.float32)
        parts = np.split(wholes, np.cumsum(self.channels)[:-1], axis=1)
        units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
        return np.concatenate(units, axis=1).mean(0)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.argument(
    "networks",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def prepare(folder, work, networks):
    """Cut the photos of FOLDER's tar files into crops and show them to the teachers NETWORKS.

    Writes four crops a photo, 65 KB each, into the folder WORK. Of the first teacher the last map
    is kept beside the embedding.
    """
    found, teachers = photos.read(folder), [Teacher(network) for network in networks]
    found = [found[place] for place in np.random.default_rng(0).permutation(len(found))]
    prepared = Prepared.create(work, len(found), [teacher.channels for teacher in teachers])
    projection = None

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
            crops = np.stack(list(threads.map(crop, some)))
            first, *others = (teacher(crops) for teacher in teachers)
            projection = projection or Projection(first)
            prepared.maps[some.start : some.stop] = projection(first)
            means = [maps.mean(1) for maps in (first, *others)]
            prepared.embeddings[some.start : some.stop] = np.sqrt(np.concatenate(means, axis=1))
            progress.update(len(some))
    prepared.finish([photo.label for photo in found], projection.deviation)


if __name__ == "__main__":
    prepare()
