"""Draw about 200 pictures in 12 groups, to try the plugin on without downloading any."""

import argparse
import zlib
from pathlib import Path

import numpy as np
from colour import pick
from living import butterflies, fish, flowers
from PIL import Image
from texture import smoothstep
from things import citrus, coffee, stained_glass
from views import balloons, forests, mountains, planets, sailing, skylines

# Everything is drawn at twice the size and shrunk at the end: that smooths every edge.
SCALE = 2
SIZES = [(640, 480), (480, 640), (600, 600), (640, 427)]
JPEG_QUALITY = 88
# Some pictures are there twice, so that `datasette imgsim duplicates` has something to find.
COPIES = {
    "balloons-01 small.jpg": ("balloons", 1, lambda image: image.reduce(2), JPEG_QUALITY),
    "citrus-01 turned.jpg": ("citrus", 1, lambda image: image.rotate(90, expand=True), 85),
    "fish-01 saved again.jpg": ("fish", 1, lambda image: image, 35),
}
GROUPS = {
    "balloons": balloons,
    "butterflies": butterflies,
    "citrus": citrus,
    "coffee": coffee,
    "fish": fish,
    "flowers": flowers,
    "forests": forests,
    "mountains": mountains,
    "planets": planets,
    "sailing": sailing,
    "skylines": skylines,
    "stained-glass": stained_glass,
}


def finish(rng, image):
    """Shrink to the final size, darken the corners a little and add a touch of grain."""
    image = image.reduce(SCALE)
    width, height = image.size
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    corners = (1 - 0.13 * smoothstep(x * x + y * y, 0.7, 2.0)).astype(np.float32)
    grain = rng.standard_normal((height, width), dtype=np.float32) * 1.6
    pixels = np.asarray(image, np.float32) * corners[..., None] + grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_picture(group, number, seed):
    """Draw one picture; the same group, number and seed always give the same one."""
    rng = np.random.default_rng([seed, zlib.crc32(group.encode()), number])
    width, height = pick(rng, SIZES)
    return finish(rng, GROUPS[group](rng, (width * SCALE, height * SCALE), number - 1))


def draw_all(folder, count, seed):
    """Draw every picture that the set calls for; return how many, or 0 if all were there."""
    files = {
        (group, number): folder / group / f"{group}-{number:02}.jpg"
        for group in GROUPS
        for number in range(1, count + 1)
    }
    copies = [folder / "copies" / name for name in COPIES]
    if all(file.exists() for file in (*files.values(), *copies)):
        return 0
    for (group, number), file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(group, number, seed).save(file, quality=JPEG_QUALITY)
    for file, (group, number, change, quality) in zip(copies, COPIES.values()):
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(files[group, number]) as image:
            change(image).save(file, quality=quality)
    return len(files)


def main():
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        description="Draw pictures into FOLDER/<group>/, a folder for each of "
        f"{len(GROUPS)} subjects, to try datasette-imgsim on; the same seed gives the same files."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the pictures go")
    parser.add_argument("--count", type=int, default=17, help="pictures per group (default 17)")
    parser.add_argument("--seed", type=int, default=1, help="number that chooses the set")
    options = parser.parse_args()
    drawn = draw_all(options.folder, options.count, options.seed)
    if drawn:
        print(f"Drew {drawn} pictures in {len(GROUPS)} groups in {options.folder}")
    else:
        print(f"{options.folder} has all its pictures already; nothing drawn")


if __name__ == "__main__":
    main()
