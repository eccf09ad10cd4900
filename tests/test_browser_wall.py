"""The switch between map and wall, and the wall in a real browser."""

import re
import shutil

import pytest
from helpers.browser import fits, loaded, running
from helpers.databases import lay_out, rows
from helpers.maps import MAP, places_of

pytestmark = pytest.mark.datasette

TILES = ".leaflet-tile-loaded"
# The middle of the cell in the first column and line of 5 x 5.
FIRST = (16, 16)


@pytest.fixture(scope="module")
def url(photos, tmp_path_factory, plugins):
    """The address of the map page of a server."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("wall") / "photos")
    ids = rows(folder / "photos.db", "select id from images order by path")
    lay_out(folder / "photos.db", places_of(ids))
    with running(folder, plugins) as url:
        yield url + MAP


def settle(page):
    """Waits until tiles are loaded and what is in view is known."""
    page.wait_for_selector(TILES)
    page.wait_for_function("() => document.querySelector('.imgsim-map').dataset.loaded")


def image_at(page, url, x, y):
    """The image in the cell at a place of the wall."""
    answer = page.request.get(f"{url}.json?view=wall&bbox={x},{y},{x + 1},{y + 1}")
    return answer.json()["rows"][0]


def click(page, x, y):
    """Clicks a place of the wall; the address says what is in the middle of the window."""
    zoom, *middle = map(float, re.search(r"at=([\d./-]+)", page.url)[1].split("/"))
    box = page.locator(".imgsim-map").bounding_box()
    page.mouse.click(
        box["x"] + box["width"] / 2 + (x - middle[0]) * 2**zoom,
        box["y"] + box["height"] / 2 + (y - middle[1]) * 2**zoom,
    )


def shown_view(page):
    return page.inner_text(".imgsim-layouts [aria-current]")


def test_one_switches_from_the_map_to_the_wall_and_back(page, url):
    page.goto(url)
    settle(page)
    assert shown_view(page) == "Map"
    page.get_by_role("navigation", name="How the images are laid out").get_by_role(
        "link", name="Wall"
    ).click()
    page.wait_for_url("**view=wall*")
    settle(page)
    assert shown_view(page) == "Wall" and page.inner_text("h1") == "Wall of images"
    assert loaded(page, TILES) and fits(page)
    assert page.evaluate("[...document.querySelectorAll('.leaflet-tile')].map((t) => t.src)[0]")
    # A tall window has no empty ground below or beside the wall.
    page.set_viewport_size({"width": 390, "height": 1200})
    page.goto(f"{url}?view=wall")
    settle(page)
    side = 160 * 2 ** float(re.search(r"at=(\d+)/", page.url)[1])  # five cells of 32
    box = page.locator(".imgsim-stage").bounding_box()
    assert max(box["width"], box["height"]) <= side
    page.go_back()
    page.go_back()
    settle(page)
    assert shown_view(page) == "Map"


def test_the_switch_keeps_the_image_and_the_colours_with_the_keyboard(page, url):
    page.goto(f"{url}?id=7&color=path")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    name = page.inner_text(".imgsim-panel h2")
    page.get_by_role("link", name="Wall", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**view=wall*")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    page.wait_for_selector(".imgsim-swatch", state="attached")
    assert page.inner_text(".imgsim-panel h2") == name
    assert "id=7" in page.url and "color=path" in page.url
    page.wait_for_function(
        "() => [...document.images].some((i) => /tiles.*view=wall.*color=path/.test(i.src))"
    )


@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_a_click_opens_the_picture_of_the_cell(page, url, zoom):
    row = image_at(page, url, *FIRST)
    page.goto(f"{url}?view=wall&at={zoom}/20/20")
    settle(page)
    click(page, *FIRST)
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel h2") == row["name"]
    assert f"id={row['key']}" in page.url and "view=wall" in page.url
    mark = page.locator("path.chosen").bounding_box()
    assert abs(mark["width"] - 32 * 2**zoom) < 8  # its frame is around the whole cell


def test_an_image_is_found_on_the_wall(page, url):
    page.goto(f"{url}?view=wall")
    settle(page)
    page.fill("#imgsim-find", "squares/3")
    page.wait_for_selector(".imgsim-hits [role=option]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    id = page.evaluate("new URL(location.href).searchParams.get('id')")
    (row,) = page.request.get(f"{url}.json?view=wall&id={id}").json()["rows"]
    assert row["columns"]["path"].endswith("squares/3.jpg")
    page.wait_for_function(f"() => location.search.includes('/{row['x']:.2f}/{row['y']:.2f}')")


def test_everything_in_view_is_selected(page, url):
    page.goto(f"{url}?view=wall&at=0/80/80")
    settle(page)
    page.locator(".imgsim-select").focus()
    page.keyboard.press("Enter")
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-links a")
    assert page.inner_text(".imgsim-panel h2") == "24 images in this area"
    links = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.imgsim-links a')]"
        ".map((a) => [a.textContent, a.href]))"
    )
    assert set(links) == {"Gallery", "JSON", "Rows", "CSV"}
    assert page.request.get(links["JSON"]).json()["count"] == 24
    page.goto(links["Gallery"])
    assert page.locator(".imgsim-tile").count() == 24
    assert "on the wall between" in page.inner_text(".imgsim-filter")
