"""The map page in a browser: opening it, and where on the screen things are."""

import re
import shutil

from .databases import change, lay_out, rows

TILES = ".leaflet-tile-loaded"
STACK = (10, 10)
CLOSE = ((201, 201), (203, 201))
FIRST = 2**62 + 1


def on_a_grid(photos, folder):
    """A copy of `photos` on a grid, with three images on one spot in the first corner.

    Two others lie so close together that only the deepest zoom, 5, tells them apart.
    Its ids are larger than JavaScript's numbers can tell apart.
    """
    shutil.copytree(photos, folder)
    for table, key in (
        ("images", "id"),
        ("imgsim_vectors", "image_key"),
        ("imgsim_thumbnails", "image_key"),
    ):
        change(folder / "photos.db", f"update {table} set {key} = {key} + {FIRST - 1}")
    ids = rows(folder / "photos.db", "select id from images order by path")
    places = {id: (40 + 30 * (n % 5), 40 + 30 * (n // 5)) for n, id in enumerate(ids)}
    lay_out(
        folder / "photos.db", places | dict.fromkeys(ids[-3:], STACK) | dict(zip(ids[-5:-3], CLOSE))
    )
    return folder


def open_map(page, url):
    """Opens a map and waits until its tiles and the places of its images have come."""
    page.goto(url)
    settle(page)


def settle(page):
    """Waits until tiles are loaded and what is in view is known."""
    page.wait_for_selector(TILES)
    page.wait_for_function(
        "() => document.querySelectorAll('.leaflet-tile').length > 0 && "
        "[...document.querySelectorAll('.leaflet-tile')].every((t) => t.complete)"
    )
    page.wait_for_function(
        "() => document.querySelector('.imgsim-map').dataset.loaded === "
        "new URL(location.href).searchParams.get('at').split('/')[0]"
    )


def view(page):
    """(zoom, x, y) of the middle of the map, as the address has it."""
    place = re.search(r"at=([\d./-]+)", page.evaluate("location.search"))[1]
    return tuple(map(float, place.split("/")))


def spot(page, x, y):
    """Where on the screen a place of the map is."""
    zoom, middle_x, middle_y = view(page)
    box = page.locator(".imgsim-map").bounding_box()
    return (
        box["x"] + box["width"] / 2 + (x - middle_x) * 2**zoom,
        box["y"] + box["height"] / 2 + (y - middle_y) * 2**zoom,
    )


def centred_on(url, x, y, zoom=2):
    return f"{url}?at={zoom}/{x}/{y}"


def place_of(mapped, id):
    ((x, y),) = rows(mapped / "photos.db", "select x, y from imgsim_atlas where image_key = ?", id)
    return x, y


def name_of(mapped, id):
    return rows(mapped / "photos.db", "select path from images where id = ?", id)[0].split("/")[-1]


def focused(page):
    """The class of the element that has the focus."""
    return page.evaluate("document.activeElement.className")


def wait_for_text(page, selector, text):
    """Waits until an element says something."""
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.textContent.includes(t)", arg=[selector, text]
    )


def deepest(page, map_url):
    """The deepest zoom of the map."""
    return next(z for z in range(20) if page.request.get(f"{map_url}.json?z={z + 1}").status == 404)


def drag_finger(page, start, end, steps=8):
    """Moves one finger over the screen."""
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    touch("touchStart", start)
    for step in range(1, steps + 1):
        touch("touchMove", [a + (b - a) * step / steps for a, b in zip(start, end)])
    touch("touchEnd")
