"""Frames in the colours of a column, and the legend that picks a value out."""

import pytest
from helpers.browser import fits
from helpers.map_browser import centred_on, open_map, settle, spot

pytestmark = pytest.mark.datasette

ENTRY = ".imgsim-legend button.imgsim-entry"


def unfold(page):
    """Opens the legend, which is folded on a phone."""
    if not page.evaluate("document.querySelector('.imgsim-legend').open"):
        page.click(".imgsim-legend summary")


def test_only_columns_that_say_something_are_offered(page, map_url):
    open_map(page, map_url)
    options = page.locator(".imgsim-colour option").all_inner_texts()
    assert options == ["no column", "path", "folder", "bytes"]


def test_frames_take_the_colour_of_a_column(page, map_url):
    open_map(page, map_url)
    before = page.evaluate("[...document.querySelectorAll('.leaflet-tile')].map((t) => t.src)")
    around = page.locator(".imgsim-map").bounding_box()
    page.select_option(".imgsim-colour select", "path")
    page.wait_for_selector(".imgsim-legend summary")
    assert page.locator(".imgsim-map").bounding_box() == around  # nothing is pushed away
    legend = page.locator(".imgsim-legend").bounding_box()
    assert legend["x"] >= around["x"] and legend["y"] >= around["y"]
    is_phone = page.viewport_size["width"] < 640
    assert page.evaluate("document.querySelector('.imgsim-legend').open") != is_phone
    unfold(page)
    assert page.inner_text(".imgsim-legend ul").split() == (
        "circles 6 dots 6 squares 6 stripes 6".split()
    )
    page.wait_for_function("() => [...document.images].some((i) => i.src.includes('color=path'))")
    assert not any("color=" in source for source in before) and "color=path" in page.url
    assert fits(page)
    page.select_option(".imgsim-colour select", "bytes")
    page.wait_for_function(
        "() => /under \\d+/.test(document.querySelector('.imgsim-legend ul').textContent)"
    )
    page.reload()
    page.wait_for_selector(".imgsim-legend summary")
    assert page.input_value(".imgsim-colour select") == "bytes"
    page.select_option(".imgsim-colour select", "")
    page.wait_for_selector(".imgsim-legend", state="hidden")


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_value_that_is_chosen_stands_out_until_it_is_chosen_again(page, map_url, how):
    open_map(page, centred_on(map_url, 128, 128, 0) + "&color=path")
    page.wait_for_selector(".imgsim-legend summary")

    def choose():
        unfold(page)
        entry = page.locator(ENTRY).nth(1)
        if how == "click":
            return entry.click()
        entry.focus()
        page.keyboard.press("Enter")

    choose()
    page.wait_for_function("() => [...document.images].some((i) => i.src.includes('value='))")
    assert page.locator(ENTRY).nth(1).get_attribute("aria-pressed") == "true"
    said = page.inner_text(".imgsim-chosen-value")
    assert "value=" in page.url and said == "path: dots stands out, the others are dimmed"
    assert page.inner_text(".imgsim-legend summary") == "path: dots"
    settle(page)
    page.reload()
    page.wait_for_selector(f"{ENTRY}[aria-pressed=true]", state="attached")
    choose()
    page.wait_for_function("() => !location.search.includes('value=')")
    assert page.locator(f"{ENTRY}[aria-pressed=true]").count() == 0
    choose()
    unfold(page)
    page.click("text=Show all")
    page.wait_for_function("() => !location.search.includes('value=')")
    assert page.is_hidden(".imgsim-legend p button")
    assert page.inner_text(".imgsim-chosen-value") == ""


def test_a_finger_chooses_a_value(finger, map_url):
    open_map(finger, map_url + "?color=path")
    finger.wait_for_selector(".imgsim-legend summary")
    if not finger.evaluate("document.querySelector('.imgsim-legend').open"):
        finger.locator(".imgsim-legend summary").tap()
    assert finger.locator(ENTRY).first.bounding_box()["height"] >= 24
    finger.locator(ENTRY).first.tap()
    finger.wait_for_selector(f"{ENTRY}[aria-pressed=true]", state="attached")
    is_phone = finger.viewport_size["width"] < 640
    assert finger.evaluate("document.querySelector('.imgsim-legend').open") != is_phone


def test_a_picture_that_stands_for_others_says_for_how_many(page, map_url):
    open_map(page, centred_on(map_url, 10, 10, 2))
    page.mouse.move(*spot(page, 10, 10))
    page.wait_for_selector(".imgsim-hover img")
    assert page.inner_text(".imgsim-hover").endswith("and 2 more here")
    page.mouse.click(*spot(page, 10, 10))
    page.wait_for_selector(".imgsim-others")
    assert "stands for 2 more" in page.inner_text(".imgsim-others")
    page.click("text=See all 3")
    page.wait_for_selector(".imgsim-links a")
    assert page.inner_text(".imgsim-panel h2") == "3 images in this area"


def test_the_map_moves_to_where_a_chosen_value_is_frequent(page, map_url):
    open_map(page, centred_on(map_url, 250, 250, 3) + "&color=path")
    page.wait_for_selector(".imgsim-legend summary")
    unfold(page)
    page.locator(ENTRY).first.click()  # circles, in the first line of the grid
    page.wait_for_function(
        "() => Number(new URL(location.href).searchParams.get('at').split('/')[2]) < 120"
    )
    page.wait_for_selector(".imgsim-nothing p", state="hidden")
