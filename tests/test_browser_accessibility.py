"""What axe-core finds on our pages, and on our parts of Datasette's: nothing, of any impact."""

import importlib.util
import shutil

import pytest
from helpers.browser import running
from helpers.commands import imgsim
from helpers.databases import change, lay_out, rows
from helpers.grouped import by_folder, fill_groups
from helpers.maps import MAP, places_of
from helpers.needs import needed
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

TABLE = "/photos/images"
# Of our own pages, all but Datasette's own frame; axe judges the page as a whole, too.
WHOLE = {"exclude": [["header"], ["footer"]]}
PAGES = {
    "gallery": (GALLERY, WHOLE),
    "gallery, filtered": (f"{GALLERY}?_similar_to=3&_facet=format&format=PNG", WHOLE),
    "similar": (f"{GALLERY}/similar/3?plus=5&minus=9&_weaker=1&_scores=1&walk_to=20", WHOLE),
    "similar, of a part": (f"{GALLERY}/similar/3?crop=0,0,.5,.5", WHOLE),
    "why": (f"{GALLERY}/why/3/4", WHOLE),
    "map": (f"{MAP}?id=3&color=path", WHOLE),
    "wall": (f"{MAP}?view=wall&format=PNG", WHOLE),
    "duplicates": (f"{GALLERY}/duplicates", WHOLE),
    "groups": (f"{GALLERY}/groups", WHOLE),
    "error": (f"{GALLERY}?_similar_to=99", WHOLE),
    "home": ("/", {"include": [[".imgsim-strip"]]}),
    "database": ("/photos", {"include": [[".imgsim-strip"]]}),
    "table": (f"{TABLE}?_similar_to=3", {"include": [[".imgsim-top"], [".imgsim-cell"]]}),
    "row": (f"{TABLE}/3", {"include": [[".imgsim-picture"]]}),
}
RULES = {
    "target-size": {"enabled": True},  # axe asks for it only on demand
    "html-has-lang": {"enabled": False},  # Datasette 0.65 has none
}


@pytest.fixture(scope="module")
def url(photos, plugins, tmp_path_factory):
    """The address of a server of a copy of `photos` with a map, large pictures and a failure."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("accessibility") / "photos")
    database = folder / "photos.db"
    change(database, "update images set format = 'PNG' where id % 2")
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    change(
        database,
        "insert into imgsim_failures (source_table, source, error, tried_at) "
        "values ('images', 'images/broken.jpg', 'it cannot be read', '2026-01-01')",
    )
    change(database, "update images set sha256 = 'of the same bytes' where id < 4")
    imgsim("duplicates", database)
    fill_groups(database, by_folder(database))
    with running(folder, plugins, {"images_root": "images"}) as url:
        yield url


@pytest.fixture(scope="module")
def axe():
    """axe-core."""
    needed(importlib.util.find_spec("axe_playwright_python"), "axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


def check(axe, page, context):
    """axe finds nothing, at either width, in light and in dark."""
    # Of Datasette 1.0; it is an element whose `matches` is no function, at which axe stumbles.
    page.evaluate("document.querySelector('navigation-search')?.remove()")
    for width, height in ((1280, 900), (390, 800)):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            options = {"resultTypes": ["violations"], "rules": RULES}
            if scheme == "dark":
                options = {"runOnly": ["color-contrast", "link-in-text-block"]}
            found = axe.run(page, context, options)
            assert not found.violations_count, f"{width} px, {scheme}: {found.generate_report()}"


@pytest.fixture
def opened(browser):
    """A page whose width the test sets."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path, context", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(axe, opened, url, path, context):
    opened.goto(url + path)
    opened.wait_for_load_state("networkidle")
    for details in opened.locator("main details").all():
        details.evaluate("(details) => (details.open = true)")
    check(axe, opened, context)


def test_axe_finds_nothing_in_the_viewer(axe, opened, url):
    opened.goto(url + GALLERY)
    opened.locator(".imgsim-open").first.focus()
    opened.keyboard.press("Enter")
    opened.wait_for_selector(".imgsim-view dt:text-is('sha256')")
    check(axe, opened, {"include": [[".imgsim-view"]]})


def test_axe_finds_nothing_in_the_dialog_of_uploads(axe, opened, url):
    opened.goto(url + GALLERY)
    empty = {"name": "empty.jpg", "mimeType": "image/jpeg", "buffer": b""}
    opened.set_input_files("#imgsim-file", empty)
    opened.wait_for_selector("dialog[open]:has-text('empty.jpg is empty')")
    check(axe, opened, {"include": [["dialog"]]})
