"""The map in a real browser: pan, zoom, point, click, find, select and recolour."""

import re

import pytest
from helpers.browser import fits, loaded
from helpers.map_browser import (
    FIRST,
    TILES,
    centred_on,
    name_of,
    open_map,
    place_of,
    settle,
    spot,
    view,
)

pytestmark = pytest.mark.datasette


def test_the_map_is_drawn_within_the_window(page, map_url):
    open_map(page, map_url)
    assert fits(page) and loaded(page, TILES)
    # The page of Datasette around it has scripts of its own that the policy stops.
    assert page.evaluate("violations.filter((v) => v[2].includes('/static-plugins/'))") == []


def test_one_can_pan_and_zoom_and_share_where_one_is(page, map_url):
    open_map(page, centred_on(map_url, 128, 128, 1))
    zoom, x, y = view(page)
    page.click(".leaflet-control-zoom-in")
    page.wait_for_function(f"() => location.search.includes('at={zoom + 1:.0f}/')")
    settle(page)
    _, x, y = view(page)
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


def test_pointing_at_a_picture_shows_it_larger_with_its_name(page, map_url, map_folder):
    x, y = place_of(map_folder, FIRST)
    open_map(page, centred_on(map_url, x, y))
    page.mouse.move(*spot(page, x, y))
    page.wait_for_selector(".imgsim-hover img")
    assert loaded(page, ".imgsim-hover img")
    # Other images in view have the same file name.
    assert page.inner_text(".imgsim-hover") == f"circles/{name_of(map_folder, FIRST)}"
    assert page.locator(".imgsim-hover img").bounding_box()["width"] > 90
    page.mouse.move(*spot(page, x + 15, y + 15))
    page.wait_for_selector(".imgsim-hover", state="hidden")


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_picture_opens_beside_the_map_and_its_neighbours_are_marked(
    page, map_url, map_folder, how
):
    x, y = place_of(map_folder, FIRST)
    open_map(page, centred_on(map_url, x, y))
    if how == "click":
        page.mouse.click(*spot(page, x, y))
    else:
        page.locator(".imgsim-map").focus()
        page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert page.inner_text(".imgsim-panel h2") == name_of(map_folder, FIRST)
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


def test_an_address_that_names_an_image_leads_to_it(page, map_url, map_folder):
    open_map(page, f"{map_url}?id={FIRST}")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    x, y = place_of(map_folder, FIRST)
    page.wait_for_function(f"() => location.search.includes('/{x:.2f}/{y:.2f}')")
    settle(page)
    assert page.inner_text(".imgsim-status") == ""
    assert page.inner_text(".imgsim-panel h2") == name_of(map_folder, FIRST)


def test_what_is_not_there_is_said(page, map_url):
    open_map(page, f"{map_url}?id=999")
    page.wait_for_function(
        "() => document.querySelector('.imgsim-status').textContent.includes(\"no image '999'\")"
    )
