"""Examples in a real browser: + and − act in place, and the basket stays in sight."""

import pytest
from helpers.browser import fits, loaded, running
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

NOW = "[role=status]:has-text('now;')"


@pytest.fixture(scope="module")
def similar(photos, plugins):
    """The address of the similar page of an image."""
    with running(photos, plugins) as url:
        yield f"{url}{GALLERY}/similar/3?_weaker=1&_size=20"


def links(page):
    return page.eval_on_selector_all(".imgsim-tile .imgsim-link", "as => as.map(a => a.href)")


def example(page, place, word):
    return page.locator(".imgsim-tile").nth(place).get_by_role("link", name=word)


def test_an_example_acts_in_place(similar, page):
    page.goto(similar)
    page.evaluate("window.same = true")
    before = links(page)
    link = example(page, 14, "more like")
    name = link.get_attribute("title").removeprefix("More like ")
    link.scroll_into_view_if_needed()
    top = link.bounding_box()["y"]
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(NOW)
    assert page.inner_text(".imgsim-found [role=status]").endswith(f" alike now; more like {name}")
    assert "plus=" in page.url and page.evaluate("window.same") and links(page) != before
    # The focus is on the + that stands where the other one was, and that has not moved.
    focused = page.evaluate_handle("document.activeElement").as_element()
    assert focused.inner_text().startswith("+")
    assert abs(focused.bounding_box()["y"] - top) < 3
    basket = page.locator(".imgsim-basket").bounding_box()
    assert 0 <= basket["y"] and basket["y"] + basket["height"] <= page.viewport_size["height"] + 1
    assert loaded(page, ".imgsim-basket img") and fits(page)


def test_back_and_forward_go_through_the_examples(similar, page):
    page.goto(similar)
    before = links(page)
    example(page, 2, "less like").click()
    page.wait_for_url("**minus=**")
    after = links(page)
    page.go_back()
    page.wait_for_function("() => !document.querySelector('.imgsim-basket li')")
    assert links(page) == before and "minus=" not in page.url
    page.go_forward()
    page.wait_for_selector(".imgsim-basket li")
    assert links(page) == after


def test_the_last_example_leaves_the_focus_at_the_results(similar, page):
    page.goto(similar + "&plus=5")
    page.locator(".imgsim-basket").get_by_role("link", name="out").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(NOW)
    assert page.inner_text("[role=status]").endswith(" taken out")
    assert page.evaluate("document.activeElement.dataset.live") == "results"


def test_the_basket_goes_along(similar, page):
    page.goto(similar + "&plus=5")
    page.locator(".imgsim-tile .imgsim-link").first.click()
    page.wait_for_function("() => !location.pathname.endsWith('/3')")
    assert "plus=5" in page.url and page.locator(".imgsim-basket li").count() == 1


def test_without_javascript_they_are_links(similar, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(similar)
    example(page, 2, "more like").click()
    page.wait_for_url("**plus=**")
    assert page.locator(".imgsim-basket li").count() == 1
    context.close()
