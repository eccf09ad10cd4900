"""Selecting an area of the map by mouse, finger and keyboard, and what is said about it."""

import pytest
from helpers.databases import rows
from helpers.map_browser import STACK, centred_on, deepest, drag_finger, open_map, spot

pytestmark = pytest.mark.datasette


def test_a_rectangle_selects_images(page, map_url, map_folder):
    open_map(page, centred_on(map_url, 70, 70, 1))
    page.click(".imgsim-select")
    page.mouse.move(*spot(page, 32, 32))
    page.mouse.down()
    page.mouse.move(*spot(page, 60, 60), steps=4)
    page.mouse.move(*spot(page, 85, 85), steps=4)
    page.mouse.up()
    page.wait_for_selector(".imgsim-links a")
    inside = "x < 85 and y < 85 and x > 32 and y > 32"
    wanted = rows(map_folder / "photos.db", f"select image_key from imgsim_atlas where {inside}")
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


def test_an_address_that_names_a_rectangle_shows_all_of_it(page, map_url):
    open_map(page, f"{map_url}?bbox=120,120,250,190")
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


def test_everything_in_view_is_selected_with_the_keyboard(page, map_url):
    open_map(page, centred_on(map_url, 128, 128, 0))
    page.locator(".imgsim-select").focus()
    page.keyboard.press("Enter")
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-links a")
    assert page.inner_text(".imgsim-panel h2") == "24 images in this area"


def test_images_on_one_spot_open_as_a_list(page, map_url):
    open_map(page, centred_on(map_url, *STACK, deepest(page, map_url)))
    page.mouse.click(*spot(page, *(each + 1 for each in STACK)))  # within its cell
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel h2") == "3 images in this area"
    page.locator(".imgsim-panel .imgsim-thumbs a").last.click()
    page.wait_for_function("() => location.search.includes('id=')")


def test_a_finger_selects_images(finger, map_url):
    open_map(finger, centred_on(map_url, 70, 70, 1))
    finger.locator(".imgsim-select").tap()
    drag_finger(finger, spot(finger, 32, 32), spot(finger, 85, 85))
    finger.wait_for_selector(".imgsim-links a")
    assert finger.inner_text(".imgsim-panel h2") == "4 images in this area"
    assert finger.get_attribute(".imgsim-select", "aria-pressed") == "false"


def test_a_tap_selects_nothing_and_one_may_go_on_drawing(finger, map_url):
    open_map(finger, centred_on(map_url, 70, 70, 1))
    finger.locator(".imgsim-select").tap()
    finger.touchscreen.tap(*spot(finger, 40, 40))
    finger.wait_for_timeout(300)
    assert finger.is_hidden(".imgsim-panel")
    assert finger.get_attribute(".imgsim-select", "aria-pressed") == "true"
    assert finger.locator("path.leaflet-interactive").count() == 0
    finger.locator(".imgsim-select").tap()
    finger.touchscreen.tap(*spot(finger, 70, 70))
    finger.wait_for_selector(".imgsim-panel h2")


def test_escape_ends_the_selection(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 1))
    page.click(".imgsim-select")
    assert "Draw a rectangle" in page.inner_text(".imgsim-status")
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Escape")
    assert page.get_attribute(".imgsim-select", "aria-pressed") == "false"
    assert page.inner_text(".imgsim-status") == ""
