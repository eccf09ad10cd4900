"""The viewer of full pictures in a real browser."""

import shutil

import pytest
from helpers.browser import fits, running
from helpers.map_browser import drag_finger
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

SHOWN = ".imgsim-view[open]"
PICTURE = ".imgsim-view-stage img"


@pytest.fixture(scope="module")
def server(photos, plugins):
    """The address of a server that shows large pictures."""
    with running(photos, plugins, {"images_root": "images"}) as url:
        yield url


def openers(page):
    return page.locator(".imgsim-tile .imgsim-open")


def name_shown(page, place):
    """The name of the picture in the viewer, once it is the one at this place, and loaded."""
    page.wait_for_selector(f".imgsim-view-place:has-text('{place} of ')")
    page.wait_for_function(f"() => document.querySelector('{PICTURE}').naturalWidth")
    return page.inner_text(".imgsim-view h2")


def test_one_walks_through_the_pictures_with_the_keyboard(server, page):
    page.goto(server + GALLERY)
    names = openers(page).evaluate_all("all => all.map((b) => b.dataset.name)")
    openers(page).nth(1).focus()
    assert page.evaluate("getComputedStyle(document.activeElement).opacity") == "1"
    page.keyboard.press("Enter")
    assert name_shown(page, 2) == names[1] and fits(page)
    assert "/large/" in page.get_attribute(PICTURE, "src")
    page.wait_for_selector(".imgsim-view dt:text-is('sha256')")
    assert page.get_by_role("dialog", name=names[1]).count() == 1
    page.keyboard.press("ArrowRight")
    assert name_shown(page, 3) == names[2]
    for place in (2, 1):
        page.keyboard.press("ArrowLeft")
        assert name_shown(page, place) == names[place - 1]
    page.keyboard.press("ArrowLeft")  # there is none before the first
    assert name_shown(page, 1) == names[0] and page.is_disabled(".imgsim-view-before")
    page.keyboard.press("Escape")
    page.wait_for_selector(SHOWN, state="hidden")
    # The browser gives it to where it was before, until the page hears of the end.
    page.wait_for_function("(name) => document.activeElement.dataset.name === name", arg=names[0])


def test_a_picture_is_zoomed_and_scrolled(server, page):
    page.goto(f"{server}{GALLERY}/similar/3")
    page.click(".imgsim-query .imgsim-open")
    name_shown(page, 1)
    page.click(PICTURE)
    assert page.inner_text(".imgsim-view-zoom") == "−"
    left = "document.querySelector('.imgsim-view-stage').scrollLeft"
    middle = page.evaluate(left)
    assert middle > 0
    page.focus(".imgsim-view-stage")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => {left} > {middle}")
    assert page.inner_text(".imgsim-view-place").startswith("1 of")
    page.keyboard.press("+")
    assert page.locator(".imgsim-zoomed").count() == 0


def test_links_lead_to_the_row_and_to_similar_images(server, page):
    page.goto(f"{server}{GALLERY}/similar/3")
    page.locator(".imgsim-tile").first.hover()
    openers(page).first.click()
    links = page.locator(".imgsim-view-links")
    row = links.get_by_role("link", name="Row").get_attribute("href")
    links.get_by_role("link", name="Similar images").click()
    page.wait_for_url(f"**/similar/{row.split('/')[-1]}")


def test_results_beside_examples_can_be_viewed(server, page):
    page.goto(f"{server}{GALLERY}/similar/3?_weaker=1")
    page.locator(".imgsim-tile").nth(3).get_by_role("link", name="more like").click()
    page.wait_for_url("**plus=**")
    openers(page).nth(0).focus()
    page.keyboard.press("Enter")
    name_shown(page, 2)


def test_a_swipe_turns_to_the_next_picture(server, finger):
    finger.goto(server + GALLERY)
    assert openers(finger).first.evaluate("(b) => getComputedStyle(b).opacity") == "1"
    openers(finger).first.tap()
    first = name_shown(finger, 1)
    box = finger.locator(".imgsim-view-stage").bounding_box()
    y = box["y"] + box["height"] / 2
    drag_finger(finger, (box["x"] + 250, y), (box["x"] + 60, y + 10))
    assert name_shown(finger, 2) != first
    drag_finger(finger, (box["x"] + 60, y), (box["x"] + 250, y))
    assert name_shown(finger, 1) == first and fits(finger)


def test_without_large_pictures_thumbnails_are_shown_with_a_sentence(copy_photos, plugins, page):
    shutil.rmtree(copy_photos / "images" / "circles")
    for settings in ({}, {"images_root": "images"}):  # the file is gone, or there is no setting
        with running(copy_photos, plugins, settings) as url:
            page.goto(url + GALLERY)
            openers(page).first.focus()
            page.keyboard.press("Enter")
            page.wait_for_selector(".imgsim-view p:has-text('this is its thumbnail')")
            name_shown(page, 1)
            assert "/thumbnail/" in page.get_attribute(PICTURE, "src")


def test_without_javascript_no_button_is_shown(server, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server + GALLERY)
    assert openers(page).count() == 24 and not openers(page).first.is_visible()
    context.close()


@pytest.mark.parametrize("path", [GALLERY, f"{GALLERY}/similar/3?plus=5"])
def test_what_is_clicked_is_large_enough_and_in_main(server, page, path):
    page.goto(server + path)
    assert page.get_by_role("main").count() == 1
    boxes = page.locator("main .imgsim-foot a, main .imgsim-open, .imgsim-basket a").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect()).map((b) => [b.width, b.height])"
    )
    assert boxes and min(map(min, boxes)) >= 24
