"""Damaged files of each format, through `embed` and as uploads to a server."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click
import numpy as np
from common import (
    MODEL,
    Stopwatch,
    ask,
    command,
    conclude,
    copy_photos,
    count_stored,
    memory,
    photo_folder,
    photos_of,
    run,
    served,
    value,
)
from PIL import Image

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from helpers.files import HEIC  # noqa: E402
from helpers.pictures import as_jpeg  # noqa: E402

SIDE = 320
HANGS = 5
"""Seconds that no file may take, beside what other programs take of the processor."""


GOOD = as_jpeg(Image.new("RGB", (64, 64), "red"))


def _deep(image: Image.Image) -> Image.Image:
    """The same in grey with 16 bits."""
    return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)


def _frames(image: Image.Image) -> dict:
    """Options that save three frames."""
    turned = [image.rotate(angle) for angle in (5, 10)]
    return {"save_all": True, "append_images": turned}


FORMATS = {
    "JPEG": ("JPEG", None, {}),
    "JPEG, progressive": ("JPEG", None, {"progressive": True}),
    "PNG": ("PNG", None, {}),
    "PNG, 16 bits": ("PNG", _deep, {}),
    "WebP": ("WEBP", None, {}),
    "WebP, animated": ("WEBP", None, _frames),
    "GIF": ("GIF", None, {}),
    "GIF, animated": ("GIF", None, _frames),
    "TIFF": ("TIFF", None, {}),
    "TIFF, compressed": ("TIFF", None, {"compression": "tiff_lzw"}),
    "TIFF, 16 bits": ("TIFF", _deep, {}),
    "BMP": ("BMP", None, {}),
    "AVIF": ("AVIF", None, {}),
    "HEIC": (None, None, {}),
}
"""Pillow's format, what is done to a photo first, and options for saving it."""


def encoded(photo: Path, name: str) -> bytes:
    """A small version of a photo in one of FORMATS; Pillow cannot write HEIC, so one is ready."""
    format, change, options = FORMATS[name]
    if format is None:
        return HEIC
    with Image.open(photo) as image:
        image.thumbnail((SIDE, SIDE))
        image = image.convert("RGB")
    image = change(image) if change else image
    buffer = io.BytesIO()
    image.save(buffer, format, **(options(image) if callable(options) else options))
    return buffer.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, cut off, doubled or left out."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        place = chance.randrange(len(data))
        length = min(chance.choice([1, 2, 4, 64, 1024]), len(data) - place)
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            data[place : place + length] = bytes([chance.choice([0, 255])]) * length
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        else:
            del data[place : place + length]
        if not data:
            return b""
    return bytes(data)


@click.command(help=__doc__)
@photo_folder
@click.option("--files", default=1000, show_default=True, help="Of each format, embedded")
@click.option("--uploads", default=300, show_default=True, help="Of each format")
@click.option("--only", multiple=True, type=click.Choice(list(FORMATS)), help="Some formats")
def mutate(folder, files, uploads, only):
    photos, wrong = photos_of(folder, 40), Counter()
    with tempfile.TemporaryDirectory() as temporary:
        served_photos, database = Path(temporary, "photos"), Path(temporary, "photos.db")
        copy_photos(photos, served_photos)
        run(command("embed", database, served_photos, *MODEL, "--quiet"))
        for name in only or FORMATS:
            # For each format its own seed, so that one can be tried alone.
            chance = random.Random(f"2 {name}")
            made = [mutated(encoded(chance.choice(photos), name), chance) for _ in range(files)]
            _embed(name, made, wrong)
            _upload(name, made[:uploads], database, wrong)
    conclude(wrong)


def _embed(name: str, made: list[bytes], wrong: Counter) -> None:
    suffix = "." + name.split(",")[0].lower()
    with tempfile.TemporaryDirectory() as temporary:
        pictures, database = Path(temporary, "images"), Path(temporary, "photos.db")
        pictures.mkdir()
        for number, data in enumerate(made):
            (pictures / f"{number}{suffix}").write_bytes(data)
        pauses = Pauses(database)
        embed = command("embed", database, pictures, *MODEL, "--batch-size", 8, "--quiet")
        ended = run(embed, beside=pauses.look)
        good = value(database, "select count(*) from imgsim_vectors")
        bad = value(database, "select count(*) from imgsim_failures")
    crashed = ended.exit_code != 0 or "Traceback" in ended.printed
    print(
        f"{name}: {good} embedded, {bad} failures of {len(made)}, exit code {ended.exit_code}, "
        f"{ended.seconds:.0f} s, never more than {pauses.longest:.1f} s without a row, "
        f"{ended.megabytes:,.0f} MB",
        flush=True,
    )
    wrong["crashes"] += crashed
    wrong["files without a row"] += len(made) - good - bad
    wrong[f"pauses of more than {HANGS} s"] += pauses.longest > HANGS


class Pauses:
    """The longest time between two batches of a run."""

    def __init__(self, database: Path):
        self.database, self.longest, self.stored = database, 0.0, 0
        self.stopwatch: Stopwatch | None = None

    def look(self, process: subprocess.Popen) -> None:
        stored = count_stored(self.database)
        if self.stopwatch:
            self.longest = max(self.longest, self.stopwatch.seconds())
        if stored != self.stored:
            self.stored, self.stopwatch = stored, Stopwatch(process)


def _upload(name: str, made: list[bytes], database: Path, wrong: Counter) -> None:
    answers, longest = Counter(), 0.0
    with served(database) as (base, process):
        ask(f"{base}/images/-/imgsim/search", GOOD, timeout=600)  # loads the network
        stopwatch = Stopwatch(process)
        for data in made:
            stopwatch.restart()
            status, body, _seconds = ask(f"{base}/images/-/imgsim/search", data)
            answers[status] += 1
            longest = max(longest, stopwatch.seconds())
            wrong["tracebacks"] += b"Traceback" in body
        megabytes = memory(process, "VmHWM")
        wrong["servers that ended"] += process.poll() is not None
    print(
        f"  as uploads: {dict(answers.most_common())}, the longest took {longest:.1f} s, "
        f"{megabytes:,.0f} MB",
        flush=True,
    )
    # 400: nothing is left of it; 413: it says that it is too large; 415: it cannot be read.
    wrong["wrong answers"] += sum(
        count for status, count in answers.items() if status not in (200, 400, 413, 415)
    )
    wrong[f"uploads of more than {HANGS} s"] += longest > HANGS
