"""The map in a real browser: pan, zoom, point, click, find, select and recolour."""

import re
import shutil

import pytest
from helpers.browser import fits, loaded, running
from helpers.databases import change, lay_out, rows
from helpers.maps import MAP

pytestmark = pytest.mark.datasette

TILES = ".leaflet-tile-loaded"
STACK = (10, 10)
FIRST = 2**62 + 1


@pytest.fixture(scope="module")
def mapped(photos, tmp_path_factory):
    """A copy of `photos` on a grid, with three images on one spot in the first corner.

    Its ids are larger than JavaScript's numbers can tell apart.
    """
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("mapped") / "photos")
    for table, key in (
        ("images", "id"),
        ("imgsim_vectors", "image_key"),
        ("imgsim_thumbnails", "image_key"),
    ):
        change(folder / "photos.db", f"update {table} set {key} = {key} + {FIRST - 1}")
    ids = rows(folder / "photos.db", "select id from images order by path")
    places = {id: (40 + 30 * (n % 5), 40 + 30 * (n // 5)) for n, id in enumerate(ids)}
    lay_out(folder / "photos.db", places | dict.fromkeys(ids[-3:], STACK))
    return folder


@pytest.fixture(scope="module")
def url(mapped, plugins):
    """The address of the map page of a server."""
    with running(mapped, plugins) as url:
        yield url + MAP


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
    return tuple(map(float, re.search(r"at=([\d./-]+)", page.url)[1].split("/")))


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


def test_the_map_is_drawn_within_the_window(page, url):
    open_map(page, url)
    assert fits(page) and loaded(page, TILES)
    # The page of Datasette around it has scripts of its own that the policy stops.
    assert page.evaluate("violations.filter((v) => v[2].includes('/static-plugins/'))") == []


def test_one_can_pan_and_zoom_and_share_where_one_is(page, url):
    open_map(page, centred_on(url, 128, 128, 1))
    zoom, x, y = view(page)
    page.click(".leaflet-control-zoom-in")
    page.wait_for_function(f"() => location.search.includes('at={zoom + 1:.0f}/')")
    settle(page)
    page.locator(".imgsim-map").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => !location.search.includes('/{x:.2f}/')")
    settle(page)
    there = view(page)
    assert there[0] == zoom + 1 and there[1] > x
    page.reload()
    settle(page)
    assert view(page) == there
    start = spot(page, *there[1:])
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 90, start[1] + 60, steps=8)
    page.wait_for_timeout(200)  # a throw would go on by itself
    page.mouse.up()
    page.wait_for_function(f"() => !location.search.includes('/{there[1]:.2f}/')")
    assert view(page)[1] < there[1] and view(page)[2] < there[2]


def test_pointing_at_a_picture_shows_it_larger_with_its_name(page, url, mapped):
    x, y = place_of(mapped, FIRST)
    open_map(page, centred_on(url, x, y))
    page.mouse.move(*spot(page, x, y))
    page.wait_for_selector(".imgsim-hover img")
    assert loaded(page, ".imgsim-hover img")
    assert page.inner_text(".imgsim-hover") == name_of(mapped, FIRST)
    assert page.locator(".imgsim-hover img").bounding_box()["width"] > 90
    page.mouse.move(*spot(page, x + 15, y + 15))
    page.wait_for_selector(".imgsim-hover", state="hidden")


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_picture_opens_beside_the_map_and_its_neighbours_are_marked(page, url, mapped, how):
    x, y = place_of(mapped, FIRST)
    open_map(page, centred_on(url, x, y))
    if how == "click":
        page.mouse.click(*spot(page, x, y))
    else:
        page.locator(".imgsim-map").focus()
        page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel h2") == name_of(mapped, FIRST)
    facts = page.inner_text(".imgsim-panel .imgsim-table")
    assert re.search(rf"x\s+{x:.3f}", facts) and "images/circles" in facts
    assert page.locator(".imgsim-panel .imgsim-thumbs li").count() == 12
    assert page.locator("path.neighbour").count() == 12
    assert page.locator("path.chosen").count() == 1
    assert f"id={FIRST}" in page.url and fits(page)
    settle(page)
    mark, around = (page.locator(each).bounding_box() for each in ("path.chosen", ".imgsim-map"))
    assert around["y"] <= mark["y"] <= around["y"] + around["height"] - mark["height"]
    page.click(".imgsim-panel h3 a")
    page.wait_for_url(f"**/similar/{FIRST}*")
    page.click("text=on the map")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    page.locator(".imgsim-panel .imgsim-thumbs a").first.click()
    page.wait_for_function(f"() => !/[?&]id={FIRST}(&|$)/.test(location.search)")
    page.click(".imgsim-close")
    assert page.is_hidden(".imgsim-panel") and "id=" not in page.url


def test_images_on_one_spot_open_as_a_list(page, url, mapped):
    deepest = page.request.get(f"{url}.json?find=1").json()["rows"][0]["zoom"]
    for zoom in range(deepest, 20):
        if page.request.get(f"{url}.json?z={zoom + 1}").status == 404:
            break
    open_map(page, centred_on(url, *STACK, zoom))
    page.mouse.click(*spot(page, *STACK))
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel h2") == "3 images on this spot"
    page.locator(".imgsim-panel .imgsim-thumbs a").last.click()
    page.wait_for_function("() => location.search.includes('id=')")


def test_an_image_is_found_and_flown_to(page, url, mapped):
    open_map(page, url)
    page.fill("#imgsim-find", "squares/3")
    page.wait_for_selector(".imgsim-hits button")
    assert page.locator(".imgsim-hits button").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    (id,) = rows(mapped / "photos.db", "select id from images where path like '%squares/3.jpg'")
    x, y = place_of(mapped, id)
    page.wait_for_function(f"() => location.search.includes('/{x:.2f}/{y:.2f}')")
    settle(page)
    assert page.inner_text(".imgsim-status") == "" and view(page)[0] == int(view(page)[0])
    page.fill("#imgsim-find", "no such picture")
    page.wait_for_selector("text=Nothing found")


def test_an_address_that_names_an_image_leads_to_it(page, url, mapped):
    open_map(page, f"{url}?id={FIRST}")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    x, y = place_of(mapped, FIRST)
    page.wait_for_function(f"() => location.search.includes('/{x:.2f}/{y:.2f}')")
    settle(page)
    assert page.inner_text(".imgsim-status") == ""
    assert page.inner_text(".imgsim-panel h2") == name_of(mapped, FIRST)


def test_a_rectangle_selects_images(page, url, mapped):
    open_map(page, centred_on(url, 70, 70, 1))
    page.click(".imgsim-select")
    page.mouse.move(*spot(page, 32, 32))
    page.mouse.down()
    page.mouse.move(*spot(page, 60, 60), steps=4)
    page.mouse.move(*spot(page, 85, 85), steps=4)
    page.mouse.up()
    page.wait_for_selector(".imgsim-links a")
    inside = "x < 85 and y < 85 and x > 32 and y > 32"
    wanted = rows(mapped / "photos.db", f"select image_key from imgsim_atlas where {inside}")
    assert page.inner_text(".imgsim-panel h2") == f"{len(wanted)} images in this area"
    assert page.locator(".imgsim-panel .imgsim-thumbs li").count() == len(wanted) == 4
    links = page.evaluate(
        "[...document.querySelectorAll('.imgsim-links a')].map((a) => [a.textContent, a.href])"
    )
    answers = {name: page.request.get(link) for name, link in links}
    assert {answer.status for answer in answers.values()} == {200}
    assert sorted(row["id"] for row in answers["JSON"].json()["rows"]) == sorted(wanted)
    assert len(answers["CSV"].text().split()) == 5
    assert (
        "4 rows" in answers["Rows"].text() and answers["Gallery"].text().count("imgsim-link") == 4
    )
    page.reload()
    page.wait_for_selector(".imgsim-links a")
    assert page.inner_text(".imgsim-panel h2") == "4 images in this area"


def test_an_address_that_names_a_rectangle_shows_all_of_it(page, url):
    open_map(page, f"{url}?bbox=120,120,250,190")
    page.wait_for_selector(".imgsim-links a")
    page.wait_for_function(
        """() => {
          const [inner, outer] = ["path.leaflet-interactive", ".imgsim-map"].map((selector) =>
            document.querySelector(selector).getBoundingClientRect());
          return inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top
            && inner.bottom <= outer.bottom && inner.width > outer.width / 4;
        }"""
    )
    assert page.mistakes == []


def test_everything_in_view_is_selected_with_the_keyboard(page, url):
    open_map(page, centred_on(url, 128, 128, 0))
    page.locator(".imgsim-select").focus()
    page.keyboard.press("Enter")
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-links a")
    assert page.inner_text(".imgsim-panel h2") == "24 images in this area"


def test_frames_take_the_colour_of_a_column(page, url):
    open_map(page, url)
    before = page.evaluate("[...document.querySelectorAll('.leaflet-tile')].map((t) => t.src)")
    page.select_option(".imgsim-colour select", "path")
    page.wait_for_selector(".imgsim-swatch")
    assert (
        page.inner_text(".imgsim-legend").split() == "circles 6 dots 6 squares 6 stripes 6".split()
    )
    page.wait_for_function("() => [...document.images].some((i) => i.src.includes('color=path'))")
    assert not any("color=" in source for source in before) and "color=path" in page.url
    page.select_option(".imgsim-colour select", "bytes")
    page.wait_for_selector(".imgsim-scale")
    page.reload()
    page.wait_for_selector(".imgsim-scale")
    assert page.input_value(".imgsim-colour select") == "bytes"
    page.select_option(".imgsim-colour select", "")
    page.wait_for_selector(".imgsim-legend", state="hidden")


def test_what_is_not_there_is_said(page, url):
    open_map(page, f"{url}?id=999")
    page.wait_for_function(
        "() => document.querySelector('.imgsim-status').textContent.includes(\"no image '999'\")"
    )
