"""Zooming that does not end in emptiness, and the browser's Back."""

import pytest
from helpers.map_browser import (
    FIRST,
    centred_on,
    deepest,
    open_map,
    place_of,
    settle,
    spot,
    view,
    wait_for_text,
)
from helpers.waiting import wait_until

pytestmark = pytest.mark.datasette


def zoom_is(page, zoom):
    page.wait_for_function(f"() => location.search.includes('at={zoom}/')")
    settle(page)


@pytest.mark.parametrize("notch", [100, 120, 53])
def test_a_notch_of_the_wheel_is_one_zoom(page, map_url, notch):
    open_map(page, centred_on(map_url, 70, 70, 0))
    page.mouse.move(*spot(page, 70, 70))
    page.mouse.wheel(0, -notch)
    zoom_is(page, 1)
    page.wait_for_timeout(500)
    assert view(page)[0] == 1
    page.mouse.wheel(0, notch)
    zoom_is(page, 0)


def test_quick_notches_are_counted(page, map_url):
    open_map(page, centred_on(map_url, 10, 10, 0))
    page.mouse.move(*spot(page, 10, 10))
    for _ in range(3):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(100)
    zoom_is(page, 3)


def test_small_movements_of_a_trackpad_add_up(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 0))
    page.mouse.move(*spot(page, 70, 70))
    for _ in range(6):
        page.mouse.wheel(0, -20)
    zoom_is(page, 1)
    page.wait_for_timeout(500)
    assert view(page)[0] == 1


def test_the_picture_one_points_at_stays_there_and_zooming_ends_with_it(page, map_url, map_folder):
    x, y = place_of(map_folder, FIRST)
    open_map(page, centred_on(map_url, x, y, 1))
    at = spot(page, x, y)
    page.mouse.move(*at)
    page.wait_for_selector(".imgsim-hover img")
    for _ in range(9):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(450)
    settle(page)
    # Here all pictures can be told apart long before the deepest zoom, which a stack needs.
    assert 1 <= view(page)[0] <= 4 < deepest(page, map_url)
    assert page.locator(".leaflet-control-zoom-in.leaflet-disabled").count() == 1
    page.mouse.move(at[0] + 1, at[1])
    page.mouse.click(*at)
    wait_for_text(page, ".imgsim-panel .imgsim-table", f"{x:.3f}")


def test_zooming_goes_deeper_where_pictures_lie_closer(page, map_url):
    open_map(page, centred_on(map_url, 10, 10, 2))
    page.mouse.move(*spot(page, 10, 10))
    for _ in range(12):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(450)
    settle(page)
    assert view(page)[0] == deepest(page, map_url)
    assert page.is_hidden(".imgsim-nothing p")


def test_zooming_in_from_emptiness_leads_to_the_nearest_picture(page, map_url):
    open_map(page, centred_on(map_url, 25, 25, 1))
    for key in ("+", "+", "+"):
        page.locator(".imgsim-map").focus()
        page.keyboard.press(key)
        page.wait_for_timeout(500)
    settle(page)
    assert page.is_hidden(".imgsim-nothing p")


def test_where_nothing_is_the_map_says_so_and_leads_back(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 2))
    before = view(page)
    page.evaluate("history.replaceState(null, '', '?at=5/115/22')")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    page.wait_for_selector(".imgsim-nothing p")
    assert page.inner_text(".imgsim-nothing p").startswith("There is nothing here")
    page.click(".imgsim-nothing button")
    page.wait_for_selector(".imgsim-nothing p", state="hidden")
    zoom_is(page, 2)
    assert view(page) == pytest.approx(before, abs=0.01)


def test_back_closes_what_was_opened_and_stays_on_the_page(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 2))
    before = view(page)
    page.mouse.click(*spot(page, 70, 70))
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    first = page.inner_text(".imgsim-panel .imgsim-table")
    page.locator(".imgsim-panel .imgsim-thumbs a").first.click()
    page.wait_for_function(
        "(b) => document.querySelector('.imgsim-panel .imgsim-table').innerText !== b", arg=first
    )
    settle(page)
    page.go_back()
    page.wait_for_function(
        "(b) => document.querySelector('.imgsim-panel .imgsim-table')?.innerText === b", arg=first
    )
    page.go_back()
    page.wait_for_selector(".imgsim-panel", state="hidden")
    settle(page)
    assert page.url.startswith(map_url) and "id=" not in page.url
    assert view(page) == before
    page.go_forward()
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel .imgsim-table") == first


def test_after_closing_back_leaves_at_once(page, map_url):
    page.goto(map_url.removesuffix("/map"))
    open_map(page, centred_on(map_url, 70, 70, 2))
    page.mouse.click(*spot(page, 70, 70))
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    first = page.inner_text(".imgsim-panel .imgsim-table")
    page.locator(".imgsim-panel .imgsim-thumbs a").first.click()
    page.wait_for_function(
        "(b) => document.querySelector('.imgsim-panel .imgsim-table').innerText !== b", arg=first
    )
    settle(page)
    page.click(".imgsim-close")
    wait_until(lambda: "id=" not in page.url)
    settle(page)
    page.go_back()
    page.wait_for_url(map_url.removesuffix("/map"))


def test_moving_about_is_no_step_of_the_history(page, map_url):
    page.goto(map_url.removesuffix("/map"))
    open_map(page, centred_on(map_url, 70, 70, 1))
    page.locator(".imgsim-map").focus()
    for key in ("ArrowRight", "ArrowDown", "+"):
        page.keyboard.press(key)
        page.wait_for_timeout(400)
    page.go_back()
    page.wait_for_url(map_url.removesuffix("/map"))
