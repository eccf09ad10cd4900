"""Drawn pictures with details, as photos have them, and ways in which copies of them differ."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from .commands import TOY, imgsim

SIZE = (240, 180)
TIME = 0x9003


def scene(seed, size=SIZE):
    """A picture with details of all sizes; other seeds give entirely other ones."""
    rng = np.random.default_rng(seed)
    width, height = size
    total = np.zeros((height, width, 3))
    for side in (3, 6, 12, 24, 48):
        part = rng.uniform(-1, 1, (side, side, 3))
        part = Image.fromarray(np.uint8(127 * part + 128)).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(part) - 128.0) * 9 / (3 + side**0.8)
    return Image.fromarray(np.uint8(np.clip(128 + total, 0, 255)))


def written_on(image):
    image = image.copy()
    font = ImageFont.load_default(image.height / 9)
    ImageDraw.Draw(image).text((10, image.height * 0.8), "SOME WORDS", "white", font)
    return image


CHANGES = {
    "50 % of its size": lambda image: image.resize((120, 90)),
    "33 % of its size": lambda image: image.resize((80, 60)),
    "turned by 90°": lambda image: image.rotate(90, expand=True),
    "turned by 180°": lambda image: image.rotate(180),
    "mirrored": ImageOps.mirror,
    "mirrored and turned by 90°": lambda image: ImageOps.mirror(image.rotate(90, expand=True)),
    "grey": ImageOps.grayscale,
    "a part of it": lambda image: image.crop((8, 14, 222, 172)),
    "mirrored, grey": lambda image: ImageOps.mirror(ImageOps.grayscale(image)),
}
"""How a copy is made, by how `duplicates` says that it differs."""


def save(image, path, taken=None, quality=92):
    """Writes a JPEG file, which may say when it was taken, such as 2024:05:01 10:00:00."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[TIME] = taken
    image.save(path, "JPEG", quality=quality, exif=exif)
    return path


def embed(folder):
    """Embeds folder/images into folder/photos.db, which is given."""
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet", *TOY)
    return folder / "photos.db"
