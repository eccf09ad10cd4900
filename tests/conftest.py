"""Fixtures: drawn pictures and what is made of them, networks, spaces made by hand, a browser."""

import importlib.util
import os
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from datasette.plugins import pm
from helpers import toy as toy_plugin
from helpers.browser import PLUGIN, chromium, close, running
from helpers.commands import imgsim
from helpers.databases import lay_out, make_space, random_vectors, rows
from helpers.loading import reload_at_once, stand_at
from helpers.map_browser import on_a_grid
from helpers.maps import MAP, places_of
from helpers.needs import needed
from helpers.networks import random_weights
from helpers.pictures import draw, draw_groups
from helpers.waiting import LONG
from hypothesis import settings

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.progress import silent
from datasette_imgsim.search import graph, indexes
from datasette_imgsim.web import results

# How many examples hypothesis tries; its own limit of time for each would fail on a busy machine

settings.register_profile("quick", max_examples=100, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=2_000, deadline=None, database=None)
settings.load_profile("quick")


# Drawn pictures and databases made of them


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder with images/ (24 drawn pictures in 4 groups) and photos.db, made by `embed`."""
    folder = tmp_path_factory.mktemp("photos")
    draw_groups(folder / "images")
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet")
    return folder


@pytest.fixture
def copy_photos(photos, tmp_path):
    """A copy of `photos` that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


@pytest.fixture
def mapped(copy_photos):
    """A copy of `photos` whose 24 images lie on a map, each of four groups around its corner."""
    database = copy_photos / "photos.db"
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    return copy_photos


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with three pictures in images/, for the toy model."""
    for number, shape in enumerate(("circle", "square", "stripes")):
        draw(tmp_path / f"images/{number}.jpg", shape)
    return tmp_path


# Networks


@pytest.fixture
def toy():
    """Registers the model `toy`; it is found as another package's would be."""
    pm.register(toy_plugin, name="toy")
    yield toy_plugin.Toy
    pm.unregister(toy_plugin)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of weights of a VGG-11, up to pool4."""
    return random_weights("vgg11", ["pool4"], tmp_path_factory.mktemp("weights") / "vgg11.pth")


# Spaces made by hand


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """photos.db with one space of 30 images; not to be changed."""
    return make_space(tmp_path_factory.mktemp("toys") / "photos.db", random_vectors(30))


@pytest.fixture
def path(tmp_path):
    """photos.db with one space of 30 images, for one test."""
    return make_space(tmp_path / "photos.db", random_vectors(30))


@pytest.fixture
def conn(path):
    """A connection to `path`."""
    with closing(sqlite3.connect(path)) as conn:
        yield conn


@pytest.fixture
def cache(path):
    """The spaces of `path` in memory."""
    return indexes.Indexes(lambda: sqlite3.connect(path, check_same_thread=False))


# How spaces are loaded


@pytest.fixture
def quick(monkeypatch):
    """Reloads at once, and takes no two statements for one."""
    reload_at_once(monkeypatch)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", -1)


@pytest.fixture(autouse=True)
def patience(request, monkeypatch):
    """Who asks for a space waits for its load, however slow the machine, except beside `gate`."""
    if "gate" not in request.fixturenames:
        for function in (indexes.Indexes.get, results.get_index, graph.Graphs.get):
            monkeypatch.setattr(function, "__defaults__", (LONG,))


@pytest.fixture
def gate(monkeypatch):
    """Lets loads go on only while the event is set; while it is not, they stand at 40 %.

    gate.begun lists the spaces whose load has begun.
    """
    go, load = threading.Event(), indexes.load
    go.begun = []

    def gated(conn, space, progress=silent):
        go.begun.append(space)
        stand_at(progress, 0.4)
        assert go.wait(LONG)
        return load(conn, space, progress)

    monkeypatch.setattr(indexes, "load", gated)
    yield go
    go.set()


# A browser


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """The folder of the plugin that real servers run beside ours."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    needed(importlib.util.find_spec("playwright"), "Playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = chromium(playwright)
        needed(os.path.exists(path), "Chromium")
        found = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


WIDTHS = {"params": [(1280, 900), (390, 800)], "ids": ["desktop", "phone"]}


@contextmanager
def opened_page(browser, size, **options):
    """A page of the browser; it keeps what a Content-Security-Policy has blocked.

    It is never idle.
    """
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    found = context.new_page()
    found.set_default_timeout(1000 * LONG)
    found.mistakes = []
    found.on("pageerror", lambda error: found.mistakes.append(str(error)))
    found.add_init_script(
        "window.violations = [];"
        "document.addEventListener('securitypolicyviolation', (event) =>"
        " violations.push([event.effectiveDirective, event.blockedURI, event.sourceFile]));"
        # The servers of tests need not load a network for each page that is opened.
        "window.requestIdleCallback = () => {};"
    )
    yield found
    close(context)
    assert found.mistakes == []


@pytest.fixture(**WIDTHS)
def page(request, browser):
    """A page of the browser, with a mouse."""
    with opened_page(browser, request.param) as found:
        yield found


@pytest.fixture(**WIDTHS)
def finger(request, browser):
    """A page of the browser on a screen that is touched."""
    with opened_page(browser, request.param, has_touch=True, is_mobile=True) as found:
        yield found


@pytest.fixture(scope="module")
def map_folder(photos, tmp_path_factory):
    """A copy of `photos` whose map is a grid; not to be changed."""
    return on_a_grid(photos, tmp_path_factory.mktemp("mapped") / "photos")


@pytest.fixture(scope="module")
def map_url(map_folder, plugins):
    """The address of the map page of a server of `map_folder`."""
    with running(map_folder, plugins) as url:
        yield url + MAP
