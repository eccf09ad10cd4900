"""Takes the README's pictures of the demo: make demo in one terminal, this in another."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).with_name("screenshots")
GALLERY = "/demo/images/-/imgsim"
PAGES = {
    "gallery": GALLERY,
    "similar": f"{GALLERY}/similar/1?_size=12",
    "why": f"{GALLERY}/why/1/2",
    "map": f"{GALLERY}/map?id=1",
    "wall": f"{GALLERY}/map?view=wall",
}


@click.command()
@click.option("--url", default="http://127.0.0.1:8001", show_default=True)
def screenshots(url):
    """Write demo/screenshots/*.jpg from a demo that is running at URL."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        for name, path in PAGES.items():
            page.goto(url + path)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1000)  # the map flies
            page.screenshot(path=FOLDER / f"{name}.jpg", type="jpeg", quality=80)
        browser.close()


if __name__ == "__main__":
    screenshots()
