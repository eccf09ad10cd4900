"""Finding an image on the map, by keyboard, mouse and finger."""

import pytest
from helpers.databases import rows
from helpers.map_browser import focused, open_map, place_of, settle, view

pytestmark = pytest.mark.datasette

HITS = ".imgsim-hits li"


def test_an_image_is_found_and_flown_to(page, map_url, map_folder):
    open_map(page, map_url)
    page.fill("#imgsim-find", "squares/3")
    page.wait_for_selector(HITS)
    assert page.locator(HITS).count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel .imgsim-thumbs li")
    (id,) = rows(map_folder / "photos.db", "select id from images where path like '%squares/3.jpg'")
    x, y = place_of(map_folder, id)
    page.wait_for_function(f"() => location.search.includes('/{x:.2f}/{y:.2f}')")
    settle(page)
    assert page.inner_text(".imgsim-status") == "" and view(page)[0] == int(view(page)[0])
    page.fill("#imgsim-find", "no such picture")
    page.wait_for_selector("text=Nothing found")


def test_the_list_is_operated_from_the_field(page, map_url):
    open_map(page, map_url)
    field = page.locator("#imgsim-find")
    field.fill("circles")
    page.wait_for_selector(HITS)
    assert field.get_attribute("aria-expanded") == "true"
    assert page.locator(f"{HITS}[aria-selected=true]").count() == 0
    for key, number in (("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", 5)):
        page.keyboard.press(key)
        chosen = page.locator(f"{HITS}[aria-selected=true]")
        assert chosen.count() == 1 and chosen.get_attribute("id") == f"imgsim-hit-{number}"
        assert field.get_attribute("aria-activedescendant") == f"imgsim-hit-{number}"
    name = page.inner_text(f"{HITS}[aria-selected=true] span").split("\n")[0]
    page.keyboard.press("Escape")
    assert page.is_hidden(".imgsim-hits") and field.get_attribute("aria-expanded") == "false"
    assert field.input_value() == "circles"
    assert page.evaluate("document.activeElement.id") == "imgsim-find"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel h2")
    assert page.inner_text(".imgsim-panel h2") == name
    assert focused(page) == "imgsim-panel" and page.is_hidden(".imgsim-hits")


def test_escape_empties_the_field_the_second_time(page, map_url):
    open_map(page, map_url)
    page.fill("#imgsim-find", "circles")
    page.wait_for_selector(HITS)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.input_value("#imgsim-find") == ""


def test_equal_names_are_told_apart_in_the_list(page, map_url):
    open_map(page, map_url)
    page.fill("#imgsim-find", "3.jpg")
    page.wait_for_selector(HITS)
    found = [text.split("\n") for text in page.locator(HITS).all_inner_texts()]
    assert sorted(found) == [[f"{n}/3.jpg"] for n in ("circles", "dots", "squares", "stripes")]
    assert page.locator(f"{HITS} img").count() == 4
    assert page.inner_text(".imgsim-found") == "4 images found"


def test_a_finger_opens_what_was_found(finger, map_url):
    open_map(finger, map_url)
    finger.locator("#imgsim-find").tap()
    finger.keyboard.type("dots/2")
    finger.wait_for_selector(HITS)
    finger.locator(HITS).first.tap()
    finger.wait_for_selector(".imgsim-panel h2")
    assert finger.inner_text(".imgsim-panel h2") == "2.jpg"
    assert focused(finger) == "imgsim-panel"  # the keyboard of the phone goes away


def test_the_list_closes_when_one_goes_elsewhere(page, map_url):
    open_map(page, map_url)
    page.fill("#imgsim-find", "circles")
    page.wait_for_selector(HITS)
    page.keyboard.press("Tab")
    page.wait_for_selector(".imgsim-hits", state="hidden")
