"""The map: how long its layout takes and how true it is, how fast tiles come, what a browser holds.

python benchmarks/atlas.py layout                         # a quarter of an hour on two cores
python benchmarks/atlas.py layout --database photos.db    # with vectors of one's own
python benchmarks/atlas.py many million.db                # of which search.py --database keeps one
python benchmarks/atlas.py wall --database photos.db
python benchmarks/atlas.py tiles
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import click
import numpy as np
import search
from beside_reader import run_beside_reader
from PIL import Image

from datasette_imgsim.atlas import layout, load, wall
from datasette_imgsim.db.atlas import read_atlas, save_atlas
from datasette_imgsim.db.connect import open_reader, open_writer
from datasette_imgsim.db.images import save_thumbnails, save_vectors
from datasette_imgsim.db.spaces import choose_space, create_space
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.progress import silent
from datasette_imgsim.search import indexes

NEIGHBOURS, SAMPLE = 15, 4_000
GROUPS, AT_ONCE = 300, 5_000
DIFFERENT_THUMBNAILS, TILES_A_ZOOM = 200, 40
SHARES = 0.1, 0.5
"""How much of all images is a sample that is laid out."""
CELLS_AROUND = 1, 2, 3, 5
SLOW = 10_000
"""scikit-learn's t-SNE is only asked for so many points: it has no fast way for more."""


def get_index(database: str) -> np.ndarray:
    """The ranked vectors (n, dimensions) of the default space."""
    with closing(open_reader(database)) as conn:
        return layout.ranked(indexes.load(conn, choose_space(conn)))


def ranked_vectors(count: int, batches: Iterator[np.ndarray]) -> np.ndarray:
    """(count, dimensions) as a space with the default model's weights is ranked."""
    vectors = np.concatenate([*islice(batches, -(-count // search.AT_ONCE))])[:count]
    vectors = search.unit_levels(vectors - vectors.mean(axis=0))
    weights = np.array(list(search.LEVEL_WEIGHTS.values())) / sum(search.LEVEL_WEIGHTS.values())
    return vectors * np.repeat(np.sqrt(weights, dtype=np.float32), [*search.LEVELS.values()])


def in_sklearn(vectors: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = PCA(layout.COMPONENTS, random_state=0).fit_transform(vectors)
    return TSNE(init="pca", random_state=0, n_jobs=-1).fit_transform(points)


def trust(vectors: np.ndarray, laid: np.ndarray) -> float:
    """Trustworthiness (Venna and Kaski 2001) of a sample, 0..1."""
    from sklearn.manifold import trustworthiness

    some = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    return trustworthiness(vectors[some], laid[some], n_neighbors=NEIGHBOURS)


def measure(name: str, method, vectors: np.ndarray) -> None:
    started, used = time.perf_counter(), time.process_time()
    laid = method(vectors)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    click.echo(
        f"  {name:34} {seconds:7.1f} s ({used:7.1f} s of processors)   "
        f"trustworthiness {trust(vectors, laid):.4f}"
    )


def of_sample(share: float):
    """A method that lays out so much of the images, and places the others among them."""

    def method(vectors: np.ndarray) -> np.ndarray:
        LIMITS.laid_out_of_many, LIMITS.most_laid_out = int(share * len(vectors)), 0
        laid, _ = layout.lay_out_many(vectors, np.full((len(vectors), 2), np.nan))
        return laid

    return method


def measure_layout(vectors: np.ndarray) -> None:
    click.echo(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions")
    measure("map", layout.lay_out, vectors)
    if len(vectors) <= SLOW:
        measure("scikit-learn: PCA and TSNE", in_sklearn, vectors)
    if len(vectors) >= SLOW:
        for share in SHARES:
            measure(f"a sample of {share:.0%}, others among it", of_sample(share), vectors)


@click.group()
def main():
    """How the map does: its layout, its tiles and its page."""


@main.command("layout")
@click.option("--images", default=[1_000, 10_000, 100_000], multiple=True, show_default=True)
@click.option("--like", metavar="DB", type=click.Path(exists=True, path_type=Path))
@click.option("--database", metavar="DB", help="Lay out its default space, not drawn vectors")
def time_layout(images, like, database):
    """Time the layout and measure how many neighbours on the map are true ones.

    Vectors are drawn as by search.py, with --like from a mixture fitted to a database's.
    """
    if database:
        measure_layout(get_index(database))
        return
    for count in images:
        drawn = search.like(like) if like else search.made_up()
        measure_layout(ranked_vectors(count, drawn))


@main.command("many")
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def time_many(database):
    """Make the map of a copy of a large database, while somebody reads from it all the time."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        copy = Path(shutil.copy(database, folder))
        upgrade = ["datasette", "imgsim", "spaces", str(copy)]  # its tables may be older ones
        subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)
        for options in ([], ["--refit"]):
            command = ["datasette", "imgsim", "map", str(copy), *options]
            sql = "select count(*) from imgsim_atlas where image_id < 9"
            click.echo(f"  map {' '.join(options):8} {run_beside_reader(command, copy, sql)}")


# The wall


@main.command("wall")
@click.option("--images", default=[10_000, 100_000, 1_000_000], multiple=True, show_default=True)
@click.option("--database", metavar="DB", help="One with a map: also say what stays near")
def time_wall(images, database):
    """Time the wall, and measure how many neighbours by score are near on it."""
    random = np.random.default_rng(0)
    for count in images:
        positions = (128 + 30 * random.standard_normal((count, 2))).clip(0, 255.9)
        atlas = load.Atlas(None, np.arange(count), positions, np.ones(count, bool))
        started, used = time.perf_counter(), time.process_time()
        atlas.view(load.WALL)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        click.echo(f"  wall of {count:9,}  {seconds:6.2f} s ({used:6.2f} s of processors)")
    if database:
        measure_wall(database)


def measure_wall(database: str) -> None:
    """Which share of each image's 10 best is within some cells of it, on both views."""
    from sklearn.neighbors import NearestNeighbors

    with closing(open_reader(database)) as conn:
        space = choose_space(conn)
        atlas, vectors = load.load(conn, space), layout.ranked(indexes.load(conn, space))
    best = layout.neighbours(vectors, layout.NEIGHBOURS, silent)[0]
    cells = wall.assigned(atlas.positions)
    apart = np.abs(cells[best] - cells[:, None]).max(axis=2)
    tree = NearestNeighbors(n_neighbors=(2 * max(CELLS_AROUND) + 1) ** 2).fit(atlas.positions)
    around = tree.kneighbors(atlas.positions, return_distance=False)
    for reach in CELLS_AROUND:
        count = (2 * reach + 1) ** 2
        on_map = np.mean([np.isin(*pair).mean() for pair in zip(best, around[:, :count])])
        click.echo(
            f"  of the 10 best, within {reach} cells ({count - 1} images): "
            f"{(apart <= reach).mean():.3f}; of as many nearest on the map: {on_map:.3f}"
        )


# Tiles


def thumbnails() -> list[bytes]:
    """Different JPEG files of about the size that thumbnails of photos have."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(DIFFERENT_THUMBNAILS):
        coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
        image = Image.fromarray(coarse).resize((256, 192), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        found.append(buffer.getvalue())
    return found


def make_map(path: Path, count: int) -> None:
    """A database with a map of so many images with thumbnails, in groups of different size."""
    random = np.random.default_rng(0)
    centres, spread = random.random((GROUPS, 2)) * 200 + 28, random.random(GROUPS) * 12
    group = random.integers(0, GROUPS, count)
    places = centres[group] + random.standard_normal((count, 2)) * spread[group, None]
    places = places.clip(0, 255.99)
    files = thumbnails()
    with closing(open_writer(path, create=True)) as conn:
        with conn.transaction():
            space = create_space(
                conn, name="drawn", source_table="images", model="vgg16-oxford", weights_sha256="",
                levels={"pool5": 1}, pooling="gem", preprocess=search.PREPROCESS, dtype="float16",
                precision="float32", dimensions=1, level_weights={"pool5": 1}, versions={},
            )  # fmt: skip
        for start in range(0, count, AT_ONCE):
            ids = range(start + 1, min(start + AT_ONCE, count) + 1)
            with conn.transaction():
                conn.executemany(
                    "insert into images (id, path) values (?, ?)",
                    [(id, f"{id % 50}/{id}.jpg") for id in ids],
                )
                save_thumbnails(conn, "images", [(id, files[id % len(files)]) for id in ids])
        some = [(id, np.ones(1), np.ones(1)) for id in (1, 2, 3)]
        with conn.transaction():
            save_vectors(conn, space, some)  # without any, a space is never ready
        is_fitted = np.ones(count, bool)
        save_atlas(conn, space, range(1, count + 1), places, is_fitted, replace=True)


def measure_tiles(path: Path) -> None:
    """Asks a real server for tiles of all zooms: each new, and each once more."""
    server = search.Server(path)
    base = f"{server.url.rpartition('/')[0]}/{path.stem}/images/-/imgsim"
    try:
        started = time.perf_counter()
        first = fetch(f"{base}/tiles/0/0/0.jpg")
        seconds = time.perf_counter() - started
        text = fetch(f"{base}/map").decode()
        deepest = int(text.partition('data-deepest="')[2].partition('"')[0])
        tiles = [f"{base}/tiles/0/0/0.jpg"]
        random = np.random.default_rng(0)
        with closing(open_reader(path)) as conn:
            _, places, _ = read_atlas(conn, choose_space(conn))
        for zoom in range(1, deepest + 1):
            some = places[random.integers(0, len(places), TILES_A_ZOOM)]
            for x, y in (some / (256 / 2**zoom)).astype(int).tolist():
                tiles.append(f"{base}/tiles/{zoom}/{x}/{y}.jpg")
        tiles = list(dict.fromkeys(tiles[1:]))
        sizes: list[int] = []
        cold = search.milliseconds(lambda url: sizes.append(len(fetch(url))), tiles)
        large = [url.replace(".jpg", "@2x.jpg") for url in tiles[:: max(1, len(tiles) // 60)]]
        retina = search.milliseconds(fetch, large)
        cached = search.milliseconds(fetch, tiles[: len(cold)])
        click.echo(
            f"  first tile, map loaded {seconds:.2f} s ({len(first):,} bytes); "
            f"{len(cold)} tiles of {deepest} zooms, mean {np.mean(sizes):,.0f} bytes"
        )
        for name, found in (("new", cold), ("new, @2x", retina), ("once more", cached)):
            low, high = np.percentile(found, [50, 99])
            click.echo(f"  {name:12} p50 {low:6.1f} ms   p99 {high:6.1f} ms")
        click.echo(f"  resident {server.megabytes('VmRSS'):,.0f} MB")
        measure_page(f"{base}/map")
    finally:
        server.stop()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def measure_page(url: str) -> None:
    """What a browser fetches for the map, and what its scripts hold, at first and after a walk."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        fetched = []
        page.on("requestfinished", lambda request: fetched.append(request.sizes()))
        page.goto(url)
        page.wait_for_load_state("networkidle")
        tell_page(page, fetched, "opened")
        for key in "++++":
            page.locator(".imgsim-map").focus()
            page.keyboard.press(key)
            page.wait_for_timeout(700)
            page.wait_for_load_state("networkidle")
        tell_page(page, fetched, "4 zooms deeper")
        browser.close()


def tell_page(page, fetched: list[dict], name: str) -> None:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    held = session.send("Runtime.getHeapUsage")["usedSize"]
    total = sum(sizes["responseBodySize"] for sizes in fetched)
    click.echo(
        f"  page, {name}: {len(fetched)} requests, {total / 1e6:.2f} MB fetched, "
        f"{held / 1e6:.1f} MB held by scripts, {page.locator('img').count()} tiles and pictures"
    )


@main.command("tiles")
@click.option("--images", default=[10_000, 100_000, 1_000_000], multiple=True, show_default=True)
def time_tiles(images):
    """Time tiles that a real server draws, and weigh the page in a real browser."""
    for count in images:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "drawn.db"
            make_map(path, count)
            click.echo(f"{count:,} images, {path.stat().st_size / 1e6:,.0f} MB")
            measure_tiles(path)


if __name__ == "__main__":
    main()
