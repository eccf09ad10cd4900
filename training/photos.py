"""The training photos: tar files of small pictures, read into memory and cut into crops.

python -m training.photos FOLDER packed.tar     # all of them, smaller: one file to carry
"""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click
import numpy as np
from PIL import Image

PACKED = "packed"
SMALLEST_SHARE = 0.35
WIDEST = 4 / 3


@dataclass(frozen=True)
class Photo:
    """`label` is its tar file and the folder within it; pictures right at the top have none."""

    label: str
    image: Image.Image


def read(folder: Path) -> list[Photo]:
    """Every .webp picture of every .tar file in `folder`, as RGB, in order of their names.

    Raises ClickException where there is none, or one is damaged.
    """
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        raise click.ClickException(f"There are no .tar files in {folder}: name their folder")
    with ThreadPoolExecutor() as threads:
        found = [photo for tar in tars for photo in threads.map(_photo, _members(tar))]
    if not found:
        raise click.ClickException(f"The .tar files in {folder} hold no .webp pictures")
    return found


def _members(tar: Path) -> Iterator[tuple[str, str, bytes]]:
    """(label, name, data)"""
    with tarfile.open(tar) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if member.name.endswith(".webp"):
                data = archive.extractfile(member).read()
                yield _label(tar.stem, member.name), f"{tar.name}: {member.name}", data


def _label(tar: str, name: str) -> str:
    path = PurePosixPath(name)
    if path.parts[0] == PACKED:  # packed/000123/LABEL/….webp
        return str(PurePosixPath(*path.parts[2:-1]))
    return str(PurePosixPath(tar) / path.parent)


def _photo(member: tuple[str, str, bytes]) -> Photo:
    label, name, data = member
    try:
        return Photo(label, Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError as ex:
        raise click.ClickException(f"{name} is damaged ({ex})") from ex


def crop_box(size: tuple[int, int], view: int, random: np.random.Generator) -> tuple:
    """Which part of a picture a view shows, as (left, top, right, bottom) in pixels.

    View 0 is the whole picture, squashed as it is when searching. The others cover 35 to 100 % of
    its area with sides of 3:4 to 4:3 ("Inception crops", Szegedy et al. 2015, arXiv 1409.4842).
    """
    width, height = size
    if view == 0:
        return (0, 0, width, height)
    area = width * height * random.uniform(SMALLEST_SHARE, 1)
    ratio = math.exp(random.uniform(-math.log(WIDEST), math.log(WIDEST)))
    across, down = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = random.uniform(0, width - across), random.uniform(0, height - down)
    return (left, top, left + across, top + down)


def squashed(image: Image.Image, side: int, box: tuple | None = None) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--side", default=100, show_default=True, help="Pixels of the shorter side")
@click.option("--quality", default=50, show_default=True, help="Of WebP, 1 to 100")
def pack(folder, output, side, quality):
    """Write the photos of all tar files in FOLDER, made smaller, into one tar file."""
    found = read(folder)
    # Compressed for the sake of its headers, which are a third of a plain tar of small pictures.
    with tarfile.open(output, "w:gz") as archive:
        for number, photo in enumerate(found):
            image = photo.image
            image.thumbnail([side * max(image.size) / min(image.size)] * 2)
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality, method=4)
            # The number keeps the order, and with it which photos are held out.
            entry = tarfile.TarInfo(f"{PACKED}/{number:06}/{photo.label}/photo.webp")
            entry.size = buffer.tell()
            archive.addfile(entry, io.BytesIO(buffer.getvalue()))
    click.echo(f"{output} is {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    pack()
