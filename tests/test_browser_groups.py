"""The names of groups over the map: which are shown, and what choosing one does."""

import shutil

import pytest
from helpers.browser import fits, running
from helpers.databases import lay_out
from helpers.grouped import by_folder, fill_groups
from helpers.map_browser import centred_on, open_map, settle
from helpers.maps import MAP

pytestmark = pytest.mark.datasette

LABELS = ".imgsim-label:not([hidden])"
TWO = (55, 210)
"""A place between the groups of squares and of stripes, which lie side by side."""
CORNERS = {"circles": (40, 40), "dots": (200, 40), "squares": (35, 200), "stripes": (55, 200)}


@pytest.fixture(scope="module")
def url(photos, plugins, tmp_path_factory):
    """The address of a map with four groups; that of the stripes has fewer images."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("groups") / "photos")
    members = by_folder(folder / "photos.db")
    lay_out(
        folder / "photos.db",
        {
            id: (CORNERS[name][0] + 5 * n, CORNERS[name][1] + 4 * (n % 3))
            for name, ids in members.items()
            for n, id in enumerate(ids)
        },
    )
    members["stripes"] = members["stripes"][:5]
    fill_groups(folder / "photos.db", members)
    with running(folder, plugins) as url:
        yield url + MAP


def shown(page):
    """The names that are shown, in the order of the keyboard."""
    page.wait_for_selector(LABELS)
    return [text.split()[0] for text in page.locator(LABELS).all_inner_texts()]


def test_names_appear_where_there_is_room(page, url):
    open_map(page, centred_on(url, *TWO, 1))
    assert "squares" in shown(page) and "stripes" not in shown(page)
    open_map(page, centred_on(url, *TWO, 3))
    assert shown(page) == ["squares", "stripes"]
    first, second = (each.bounding_box() for each in page.locator(LABELS).all())
    assert first["x"] + first["width"] < second["x"] or first["y"] + first["height"] < second["y"]
    assert fits(page)
    assert page.evaluate("violations.filter((v) => v[2].includes('/static-plugins/'))") == []


def test_a_group_that_is_chosen_stands_out_until_it_is_chosen_again(page, url):
    open_map(page, centred_on(url, *TWO, 3))
    shown(page)
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    top = page.locator(".imgsim-map").bounding_box()["y"]
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-filter")
    assert "5 of 24 images where the picture is in the group stripes" in page.inner_text("main")
    assert page.inner_text(f"{LABELS}[aria-current]").startswith("stripes")
    assert page.evaluate("document.activeElement.ariaCurrent") == "true"
    assert page.locator(".imgsim-map").bounding_box()["y"] == pytest.approx(top, abs=5)
    page.wait_for_function("() => [...document.images].some((i) => /_in_group=/.test(i.src))")
    for name in ("Rows", "Gallery"):
        assert "_in_group=" in page.get_attribute(f".imgsim-views a:text-is('{name}')", "href")
    page.reload()
    settle(page)
    page.click(f"{LABELS}[aria-current]")
    page.wait_for_selector(".imgsim-filter", state="detached")
    assert "_in_group" not in page.url and "at=3/" in page.url
    assert page.is_hidden(".imgsim-panel")  # no image has been opened
    page.go_back()
    page.wait_for_selector(".imgsim-filter")
    assert "_in_group" in page.url
    page.wait_for_selector(f"{LABELS}[aria-current]")
