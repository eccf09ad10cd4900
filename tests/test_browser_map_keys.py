"""The map by keyboard: focus that can be seen and is not lost, and what Enter and Escape do."""

import pytest
from helpers.map_browser import (
    FIRST,
    centred_on,
    focused,
    name_of,
    open_map,
    place_of,
    settle,
    spot,
    wait_for_text,
)

pytestmark = pytest.mark.datasette

RING = "getComputedStyle(document.querySelector('.imgsim-map'), '::after').borderTopWidth"


def tab_to_map(page):
    """Goes to the map as somebody without a mouse does."""
    page.locator(".imgsim-select").focus()
    page.keyboard.press("Tab")
    assert "imgsim-map" in focused(page)


def test_the_focus_is_seen_on_the_map_after_a_click_too(page, map_url):
    open_map(page, map_url)
    tab_to_map(page)
    assert page.evaluate(RING) == "4px"
    box = page.locator(".imgsim-map").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] - 5)
    tab_to_map(page)
    assert page.evaluate(RING) == "4px"


def test_the_picture_that_enter_opens_is_marked_and_said(page, map_url, map_folder):
    x, y = place_of(map_folder, FIRST)
    open_map(page, centred_on(map_url, x + 5, y + 3))
    assert page.locator("path.aimed").count() == 0
    tab_to_map(page)
    page.wait_for_selector("path.aimed")
    name = f"circles/{name_of(map_folder, FIRST)}"
    assert page.inner_text(".imgsim-aimed") == f"{name}: press Enter to open"
    assert page.inner_text(".imgsim-hover") == name
    mark = page.locator("path.aimed").last.bounding_box()
    at = spot(page, x, y)
    assert mark["x"] <= at[0] <= mark["x"] + mark["width"]
    assert mark["y"] <= at[1] <= mark["y"] + mark["height"]
    page.keyboard.press("Enter")
    wait_for_text(page, ".imgsim-panel h2", name_of(map_folder, FIRST))
    assert f"id={FIRST}" in page.url
    assert page.locator("path.aimed").count() == 0  # the focus is in the panel


def test_the_mark_follows_the_map(page, map_url, map_folder):
    open_map(page, centred_on(map_url, 100, 100, 2))
    tab_to_map(page)
    page.wait_for_selector("path.aimed")
    before = page.inner_text(".imgsim-aimed")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(400)
    page.wait_for_function(
        "(b) => ![b, ''].includes(document.querySelector('.imgsim-aimed').textContent)", arg=before
    )


def test_the_panel_takes_the_focus_and_escape_gives_it_back(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 2))
    tab_to_map(page)
    page.wait_for_selector("path.aimed")
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert focused(page) == "imgsim-panel"
    assert page.get_attribute(".imgsim-panel", "aria-labelledby") == "imgsim-panel-heading"
    # What is clicked there makes room for something else: the focus stays in the panel.
    page.locator(".imgsim-panel .imgsim-thumbs a").first.focus()
    before = page.inner_text(".imgsim-panel h2")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "(b) => document.querySelector('.imgsim-panel h2').textContent !== b", arg=before
    )
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    assert focused(page) == "imgsim-panel"
    page.keyboard.press("Escape")
    assert page.is_hidden(".imgsim-panel") and "imgsim-map" in focused(page)
    assert page.evaluate(RING) == "4px"


def test_escape_closes_the_panel_that_a_click_opened(page, map_url):
    open_map(page, centred_on(map_url, 70, 70, 2))
    page.mouse.click(*spot(page, 70, 70))
    page.wait_for_selector(".imgsim-panel h2")
    page.keyboard.press("Escape")
    assert page.is_hidden(".imgsim-panel") and "imgsim-map" in focused(page)


def test_the_close_button_says_what_it_does(page, map_url):
    open_map(page, f"{map_url}?id={FIRST}")
    page.wait_for_selector(".imgsim-panel h2")
    page.get_by_role("button", name="Close", exact=True).click()
    assert page.is_hidden(".imgsim-panel")


def test_who_wants_less_motion_gets_none(browser, map_url, map_folder):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    open_map(page, centred_on(map_url, 100, 100, 1))
    page.evaluate(
        """() => {
          window.moves = new Set();
          const pane = document.querySelector(".leaflet-map-pane");
          new MutationObserver(() => moves.add(pane.style.transform)).observe(pane, {
            attributes: true, attributeFilter: ["style", "class"], subtree: true });
          window.animated = 0;
          new MutationObserver(() => {
            if (document.querySelector(".leaflet-zoom-anim, .leaflet-pan-anim")) animated += 1;
          }).observe(document.querySelector(".imgsim-map"), { attributes: true, subtree: true });
        }"""
    )
    page.locator(".imgsim-map").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("moves.size") <= 1
    page.keyboard.press("+")
    page.fill("#imgsim-find", "squares/3")
    page.wait_for_selector(".imgsim-hits li")
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    settle(page)
    assert page.evaluate("animated") == 0
    context.close()
