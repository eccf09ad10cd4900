"""The pages in a browser with an empty cache: what they weigh, and when they are ready.

python benchmarks/pages.py             # draws the demo, which takes a minute
python benchmarks/pages.py demo.db     # with a map, and at least 40 images

To compare two versions, run it with each of them first in PYTHONPATH, on a database of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import click
import search

DEMO = Path(__file__).parents[1] / "demo"
PICTURES = 40
GALLERY = "images/-/imgsim"
PAGES = {
    "table": f"images?_size={PICTURES}",
    "gallery": GALLERY,
    "similar": f"{GALLERY}/similar/1?_weaker=1",
    "map": f"{GALLERY}/map",
    "wall": f"{GALLERY}/map?view=wall",
}
KINDS = {
    "pictures": lambda request: request.resource_type == "image",
    "ours": lambda request: "/-/imgsim" in request.url or "/datasette-imgsim/" in request.url,
    "Datasette and Leaflet": lambda request: True,
}
"""The kinds of what is fetched; each request is of the first that it fits."""
LINES = {
    "this machine": None,
    "40 ms, 10 Mbit/s": {
        "offline": False, "latency": 40, "downloadThroughput": 1.25e6, "uploadThroughput": 1.25e6,
    },
}  # fmt: skip
# When each picture was there, in milliseconds since the page was asked for.
WATCH = """
window.shownAt = new Map();
document.addEventListener("load", ({target}) => {
  if (target.tagName === "IMG") shownAt.set(target, performance.now());
}, true);
"""
TIMES = """() => {
  const inView = (img) => {
    const box = img.getBoundingClientRect();
    return box.width && box.top < innerHeight && box.bottom > 0 && box.left < innerWidth;
  };
  const last = [...shownAt].filter(([img]) => inView(img)).map(([, time]) => time);
  const [page] = performance.getEntriesByType("navigation");
  return [page.loadEventEnd, Math.max(0, ...last)];
}"""


def draw_demo(folder: Path) -> Path:
    """The demo's database, without its server."""
    path = folder / "demo.db"
    for command in (
        [DEMO / "draw.py", folder / "pictures"],
        ["-m", "datasette", "imgsim", "embed", path, folder / "pictures", "--quiet"],
        ["-m", "datasette", "imgsim", "map", path],
    ):
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return path


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def visit(browser, url: str, line: dict | None) -> tuple[Counter, list[float]]:
    """(bytes of each kind and "requests", [ms to the load event, to the last picture in view])"""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    if line:
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", line)
    finished: list = []
    page.on("requestfinished", lambda request: finished.append(request))
    page.goto(url)
    page.wait_for_function("() => shownAt.size > 0")
    page.wait_for_load_state("networkidle")
    times = page.evaluate(TIMES)
    weight: Counter = Counter()
    for request in finished:
        kind = next(name for name, fits in KINDS.items() if fits(request))
        sizes = request.sizes()
        weight["requests"] += 1
        weight[kind] += sizes["responseBodySize"] + sizes["responseHeadersSize"]
    context.close()
    return weight, times


@click.command()
@click.argument("database", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=7, show_default=True, help="The quickest one counts")
def main(database, rounds):
    """Weigh and time the pages."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        server = search.Server(database or draw_demo(Path(folder)))
        base = f"{server.url.rpartition('.json')[0]}/"
        try:
            for name, path in PAGES.items():
                tell(browser, name, base + path, rounds)
        finally:
            server.stop()


def tell(browser, name: str, url: str, rounds: int) -> None:
    visit(browser, url, None)  # the server has drawn its tiles
    visits = {
        where: [visit(browser, url, line) for _ in range(rounds)] for where, line in LINES.items()
    }
    weight = visits["this machine"][0][0]
    kib = {kind: weight[kind] / 1024 for kind in KINDS}
    parts = ", ".join(f"{kind} {size:,.0f}" for kind, size in kib.items())
    click.echo(f"{name}: {sum(kib.values()):,.0f} KiB ({parts}), {weight['requests']} requests")
    for where, found in visits.items():
        loaded, shown = (min(times) for times in zip(*(times for _, times in found)))
        click.echo(f"  {where:18} load event {loaded:5.0f} ms   last picture {shown:5.0f} ms")


if __name__ == "__main__":
    main()
