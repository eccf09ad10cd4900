"""How many copies of pictures `duplicates` finds, and how many of what it finds are none.

python benchmarks/duplicates.py FOLDER… --part choose    # for choosing thresholds
python benchmarks/duplicates.py FOLDER… --part report    # the other pictures, for the report

Of some pictures of the folders there are copies, each changed in one way, and of some another shot
of the same moment; all others are there to be mistaken for them. A pair is right if both pictures
were made of one. Beside `duplicates`: the perceptual hash with which people look for copies
(`imagehash.phash`, at most 10 bits different), and the cosine of 0.9 with which imagededup does.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from datasette_imgsim.collection import Collection

COPIES_OF_EACH = 6
EXIF_TIME = 0x9003
QUALITY = 92


def resized(image: Image.Image, share: float) -> Image.Image:
    size = (max(1, round(share * side)) for side in image.size)
    return image.resize(tuple(size), Image.Resampling.LANCZOS)


def cropped(image: Image.Image, rng, share: float) -> Image.Image:
    """Without this share of the width and of the height, taken off anywhere."""
    width, height = image.size
    new = round(width * (1 - share)), round(height * (1 - share))
    left, top = int(rng.integers(width - new[0] + 1)), int(rng.integers(height - new[1] + 1))
    return image.crop((left, top, left + new[0], top + new[1]))


def written_on(image: Image.Image, rng) -> Image.Image:
    """With two lines of text, as memes and watermarks have them."""
    image = image.copy()
    pen, width, height = ImageDraw.Draw(image), *image.size
    font = ImageFont.load_default(height / 9)
    for place in (0.06, 0.82):
        text = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVW  "), 14))
        edge = max(1, height // 90)
        at = width * 0.04, height * place
        pen.text(at, text, "white", font, stroke_width=edge, stroke_fill="black")
    return image


def framed(image: Image.Image, rng) -> Image.Image:
    border = round(0.06 * min(image.size))
    return ImageOps.expand(image, border, ("white", "black")[int(rng.integers(2))])


def turned(degrees: int) -> Callable:
    return lambda image, rng: image.rotate(degrees, expand=True)


def changed_light(kind, factor: float) -> Callable:
    return lambda image, rng: kind(image).enhance(factor)


def shrunk_and_cropped(image: Image.Image, rng) -> Image.Image:
    return resized(cropped(image, rng, 0.05), 0.5)


def another_shot(image: Image.Image, rng) -> Image.Image:
    """A little moved and zoomed, with noise and other light, as the next frame of a burst."""
    size = image.size
    image = cropped(image, rng, rng.uniform(0.02, 0.08)).resize(size, Image.Resampling.BICUBIC)
    noise = rng.normal(0, 5, (*reversed(size), 1)) + rng.uniform(-6, 6)
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def same(image: Image.Image, rng) -> Image.Image:
    return image


BURST = "another shot"
WIDE = "cropped 25 %"
CHANGES: dict[str, tuple[Callable, dict]] = {
    "resized to 75 %": (lambda image, rng: resized(image, 0.75), {}),
    "resized to 50 %": (lambda image, rng: resized(image, 0.5), {}),
    "resized to 25 %": (lambda image, rng: resized(image, 0.25), {}),
    "resized to 200 %": (lambda image, rng: resized(image, 2), {}),
    "JPEG, quality 90": (same, {"quality": 90}),
    "JPEG, quality 60": (same, {"quality": 60}),
    "JPEG, quality 30": (same, {"quality": 30}),
    "WebP, quality 50": (same, {"format": "WEBP", "quality": 50}),
    "cropped 5 %": (lambda image, rng: cropped(image, rng, 0.05), {}),
    "cropped 10 %": (lambda image, rng: cropped(image, rng, 0.1), {}),
    "cropped 15 %": (lambda image, rng: cropped(image, rng, 0.15), {}),
    WIDE: (lambda image, rng: cropped(image, rng, 0.25), {}),
    "turned by 90°": (turned(90), {}),
    "turned by 180°": (turned(180), {}),
    "turned by 270°": (turned(270), {}),
    "mirrored": (lambda image, rng: ImageOps.mirror(image), {}),
    "grey": (lambda image, rng: ImageOps.grayscale(image), {}),
    "brighter": (changed_light(ImageEnhance.Brightness, 1.3), {}),
    "darker": (changed_light(ImageEnhance.Brightness, 0.7), {}),
    "more contrast": (changed_light(ImageEnhance.Contrast, 1.4), {}),
    "less contrast": (changed_light(ImageEnhance.Contrast, 0.6), {}),
    "text over it": (written_on, {}),
    "border": (framed, {}),
    "50 %, cropped 5 %, quality 40": (shrunk_and_cropped, {"quality": 40}),
    BURST: (another_shot, {}),
}


@dataclass(frozen=True)
class Labelled:
    """A picture of the set: what it was made of, and how."""

    origin: int
    change: str | None


def pictures(folders: tuple[Path, ...], part: str) -> list[Path]:
    """The pictures of every second subfolder, so that both parts show other things."""
    found = []
    for folder in folders:
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        for each in classes[part == "report" :: 2]:
            found += sorted(path for path in each.rglob("*") if path.is_file())
    return found


def make_set(
    paths: list[Path], folder: Path, originals: int, distractors: int
) -> dict[str, Labelled]:
    """Writes the set into a folder: {the name of each file: what it is}."""
    rng = np.random.default_rng(16)
    chosen = [paths[n] for n in rng.permutation(len(paths))[: originals + distractors]]
    labels = {}
    names = list(CHANGES)
    # All were taken seconds apart, whatever they show: time alone says nothing.
    times = rng.permutation(len(chosen))
    for number, path in enumerate(chosen):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        moment = datetime.datetime(2024, 5, 1) + datetime.timedelta(seconds=3 * int(times[number]))
        labels[_save(image, folder, f"{number}", moment)] = Labelled(number, None)
        if number >= originals:
            continue
        first = number * COPIES_OF_EACH
        for change in {names[n % len(names)] for n in range(first, first + COPIES_OF_EACH)}:
            alter, options = CHANGES[change]
            # Programs keep the time that a picture was taken, or lose it.
            taken = moment if rng.random() < 0.5 else None
            if change == BURST:
                taken = moment + datetime.timedelta(seconds=2)
            name = f"{number} {change}"
            labels[_save(alter(image, rng), folder, name, taken, **options)] = Labelled(
                number, change
            )
    return labels


def _save(image, folder: Path, name: str, taken=None, format="JPEG", **options) -> str:
    exif = Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[EXIF_TIME] = taken.strftime("%Y:%m:%d %H:%M:%S")
    file = folder / f"{name}.{'webp' if format == 'WEBP' else 'jpg'}"
    image.save(file, format, exif=exif, **{"quality": QUALITY, **options})
    return file.name


Pairs = set  # of two names in order


def ordered(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def hashed(folder: Path, names: list[str]) -> tuple[Pairs, float]:
    """The pairs that imagehash finds, and the seconds it took."""
    import imagehash

    started = time.perf_counter()
    bits = []
    for name in names:
        with Image.open(folder / name) as image:
            bits.append(imagehash.phash(image).hash.ravel())
    signs = np.where(bits, 1, -1).astype(np.float32)
    return close(names, signs @ signs.T, 64 - 2 * 10), time.perf_counter() - started


def by_cosine(database: Path) -> Pairs:
    """The pairs whose vectors as stored have a cosine of 0.9 or more, as imagededup has it."""
    with closing(sqlite3.connect(database)) as conn:
        names, blobs = zip(
            *conn.execute(
                "select path, vector from images join imgsim_vectors on image_key = id order by id"
            )
        )
    vectors = np.stack([np.frombuffer(blob, "<f2") for blob in blobs]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return close([Path(name).name for name in names], vectors @ vectors.T, 0.9)


def close(names: list[str], likeness: np.ndarray, least: float) -> Pairs:
    first, second = np.nonzero(np.triu(likeness >= least, 1))
    return {ordered(names[a], names[b]) for a, b in zip(first, second)}


def found_pairs(database: Path) -> tuple[Pairs, dict, float]:
    """The pairs within groups, the kind of each, and the seconds it took."""
    started = time.perf_counter()
    groups = Collection(database).duplicates().groups
    seconds = time.perf_counter() - started
    kinds = {}
    stands_for: dict[str, list[str]] = {}
    for group in groups:
        names = [Path(member.facts.path).name for member in group.members]
        # In a burst, one image stands for its copies.
        members = [stands_for.get(name, [name]) for name in names]
        for one, other in combinations(members, 2):
            kinds |= {ordered(*pair): group.kind for pair in product(one, other)}
        stands_for[names[0]] = sum(members, [])
    return set(kinds), kinds, seconds


def judged(found: Pairs, labels: dict[str, Labelled]) -> dict[str, tuple[float, float, int]]:
    """By change: (precision of the pairs with such a copy, recall, how many copies there are).

    A copy is found if it stands in a pair with what it was made of.
    """
    right: Counter = Counter()
    wrong: Counter = Counter()
    for pair in found:
        side = right if is_right(pair, labels) else wrong
        side.update(labels[name].change for name in pair)
    reached, copies = copies_of(found, labels)
    results = {}
    for change in CHANGES:
        of_change = [name for name in copies if labels[name].change == change]
        precision = right[change] / max(1, right[change] + wrong[change])
        recall = sum(name in reached for name in of_change) / len(of_change)
        results[change] = precision, recall, len(of_change)
    return results


def is_right(pair: tuple[str, str], labels: dict[str, Labelled]) -> bool:
    return labels[pair[0]].origin == labels[pair[1]].origin


def copies_of(found: Pairs, labels: dict[str, Labelled]) -> tuple[set[str], list[str]]:
    """(the copies that stand in a pair with what they were made of, all copies)"""
    originals = {label.origin: name for name, label in labels.items() if label.change is None}
    copies = [name for name, label in labels.items() if label.change]
    made_of = {name: originals[labels[name].origin] for name in copies}
    return {name for name in copies if ordered(name, made_of[name]) in found}, copies


def overall(found: Pairs, labels: dict[str, Labelled]) -> tuple[float, float]:
    """(precision over all pairs, recall over all copies but those of wide crops)"""
    reached, copies = copies_of(found, labels)
    counted = [name for name in copies if labels[name].change != WIDE]
    precision = sum(is_right(pair, labels) for pair in found) / max(1, len(found))
    return precision, sum(name in reached for name in counted) / len(counted)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--part", type=click.Choice(["choose", "report"]), default="report")
@click.option("--model", "models", multiple=True, default=["efficientnet-lite", "vgg16-oxford"])
@click.option("--originals", default=420, show_default=True)
@click.option("--distractors", default=2000, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Make the set here, and leave it")
@click.option("--wrong", is_flag=True, help="Print the pairs that are wrong or missing")
def main(folders, part, models, originals, distractors, keep, wrong):
    """Makes the set, finds its copies in three ways and prints what was right."""
    with TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        (folder / "set").mkdir(parents=True, exist_ok=True)
        labels = make_set(pictures(folders, part), folder / "set", originals, distractors)
        copies = sum(label.change is not None for label in labels.values())
        click.echo(f"{len(labels):,} pictures, {copies:,} of them copies of {originals} others")
        hashes, seconds = hashed(folder / "set", list(labels))
        columns = {"imagehash.phash, 10 bits": hashes}
        click.echo(f"imagehash: {seconds:.0f} s")
        for model in models:
            database = folder / f"{model}.db"
            Collection(database).embed(folder / "set", model=model)
            columns[f"{model}, cosine 0.9"] = by_cosine(database)
            columns[f"duplicates, {model}"], kinds, seconds = found_pairs(database)
            bursts = [kind for pair, kind in kinds.items() if BURST in pair[0] + pair[1]]
            click.echo(
                f"{model}: {seconds:.0f} s; pairs with another shot: "
                + ", ".join(f"{bursts.count(kind)} {kind}" for kind in sorted(set(bursts)))
            )
            if wrong:
                _print_wrong(columns[f"duplicates, {model}"], labels)
        tables = {name: judged(pairs, labels) for name, pairs in columns.items()}
        click.echo("\n| precision, recall | copies | " + " | ".join(columns) + " |")
        click.echo("|---|---|" + "---|" * len(columns))
        for change in CHANGES:
            cells = [
                f"{table[change][0]:.3f}, {table[change][1]:.3f}" if table[change][1] else "none"
                for table in tables.values()
            ]
            count = next(iter(tables.values()))[change][2]
            click.echo(f"| {change} | {count} | " + " | ".join(cells) + " |")
        cells = ["{:.3f}, {:.3f}".format(*overall(pairs, labels)) for pairs in columns.values()]
        click.echo(f"| all but crops of 25 % | {copies} | " + " | ".join(cells) + " |")


def _print_wrong(found: Pairs, labels: dict[str, Labelled]) -> None:
    for pair in sorted(found):
        if not is_right(pair, labels):
            click.echo(f"wrong: {' | '.join(pair)}")
    reached, copies = copies_of(found, labels)
    for name in copies:
        if name not in reached:
            click.echo(f"missing: {name}")


if __name__ == "__main__":
    main()
