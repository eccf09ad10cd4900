"""The pages in a real browser, under a strict Content-Security-Policy."""

import json
import re
import shutil

import pytest
from helpers.browser import fits, loaded, running
from helpers.commands import imgsim
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette


@pytest.fixture(scope="module")
def server(photos, plugins):
    """The address of a server."""
    with running(photos, plugins) as url:
        yield url


def test_the_whole_tile_is_a_link_and_its_row_another(server, page):
    page.goto(server + GALLERY)
    tile = page.locator(".imgsim-tile").first
    box = tile.bounding_box()
    tile.locator(".imgsim-row").click()
    page.wait_for_url("**/photos/images/1")
    page.go_back()
    page.mouse.click(box["x"] + 10, box["y"] + box["height"] - 6)
    page.wait_for_url("**/similar/1")
    assert loaded(page, ".imgsim-query img") and fits(page)


def test_the_keyboard_reaches_everything(server, page, photos):
    page.goto(server + GALLERY)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className")
        )
    assert "imgsim-file" in reached
    first = reached.index("imgsim-link")
    assert reached[first : first + 3] == ["imgsim-link", "imgsim-open", "imgsim-row"]
    page.locator(".imgsim-link").first.focus()
    style = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(style) != "none"
    page.keyboard.press("Enter")
    page.wait_for_url("**/similar/1")


def test_images_and_controls_have_names(server, page):
    page.goto(f"{server}{GALLERY}/similar/3")
    assert page.get_by_role("heading", level=1).inner_text().endswith("2.jpg")
    first = (
        page.get_by_role("list", name="Similar images, best first").get_by_role("listitem").first
    )
    assert first.get_by_role("link").count() == 5
    assert "near-identical" in first.text_content()
    unnamed = "images => images.filter(i => !i.alt).length"
    assert page.eval_on_selector_all(".content img", unnamed) == 0


@pytest.mark.parametrize("path", [GALLERY, f"{GALLERY}/similar/3"])
def test_a_strict_policy_blocks_nothing_of_ours(server, page, path):
    page.goto(server + "/photos/imgsim_spaces")
    core = page.evaluate("violations.filter(v => v[1] === 'inline' && v[0] === 'script-src-elem')")
    page.goto(server + path)
    page.wait_for_load_state("networkidle")
    assert loaded(page, ".imgsim-tile:first-child img")  # the others are loaded lazily
    blocked = page.evaluate("violations")
    inline = [each for each in blocked if each[:2] == ["script-src-elem", "inline"]]
    assert len(inline) <= len(core)
    ours = [each for each in blocked if "imgsim" in json.dumps(each[1:2])]
    assert ours == []
    styled = page.eval_on_selector_all(".content [style], .content style", "all => all.length")
    assert styled == 0


@pytest.fixture(scope="module")
def levelled(photos, plugins, tmp_path_factory):
    """The address of a server whose default space has three levels that count alike."""
    folder = tmp_path_factory.mktemp("levels")
    database, images = folder / "photos.db", folder / "images"
    images.symlink_to(photos / "images")
    imgsim("embed", database, images, "--quiet", "--levels", "conv2_1,pool3,conv5_1")
    imgsim("embed", database, images, "--quiet", "--levels", "conv5_2", "--space", "one level")
    with running(folder, plugins) as url:
        yield url


def names(page):
    return page.eval_on_selector_all(".imgsim-tile .imgsim-link", "as => as.map(a => a.href)")


def moved(page, level, value):
    """Moves the slider of a level as a hand does; without a level all of them, at one time."""
    selector = f"[data-levels] input[name={level}]" if level else "[data-levels] input"
    page.evaluate(
        "([selector, value]) => document.querySelectorAll(selector).forEach((slider) => {"
        " slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); })",
        [selector, value],
    )


def test_results_follow_the_sliders(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3")
    assert page.locator("[data-levels] input").count() == 3 and fits(page)
    before, sql = names(page), page.text_content(".imgsim-sql")
    page.evaluate("document.querySelector('.imgsim-tile img').dataset.stays = 'yes'")
    for value in (60, 20, 0):
        moved(page, "conv5_1", value)
    moved(page, "pool3", 50)
    page.wait_for_url("**level_weights=conv2_1:1,pool3:0.5")
    assert names(page) != before and page.text_content(".imgsim-sql") != sql
    assert "33 %" in page.inner_text("[data-levels] label:nth-of-type(2)")
    # The picture that was there is the very same, wherever it stands now.
    assert page.locator("img[data-stays=yes]").count() == 1
    after = names(page)
    page.reload()
    assert names(page) == after
    assert page.input_value("input[name=pool3]") == "50"


def test_a_slider_moved_again_before_the_answer_wins(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3")
    for value in range(95, -1, -5):
        moved(page, "conv5_1", value)
        page.wait_for_timeout(20)
    page.wait_for_url("**level_weights=conv2_1:1,pool3:1")


def test_all_sliders_at_zero_ask_for_nothing(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3")
    before = names(page)
    # One after the other, they might be asked for in between on a slow machine.
    moved(page, None, 0)
    page.wait_for_timeout(400)
    assert names(page) == before and "level_weights" not in page.url
    assert "0 %" in page.inner_text("[data-levels] label:nth-of-type(1)")
    assert "All sliders are at 0: move one up" in page.inner_text("[role=status]")
    moved(page, "pool3", 100)
    page.wait_for_url("**level_weights=pool3:1")
    assert "alike" in page.inner_text("[role=status]")


def test_sliders_are_told_to_those_who_do_not_see_them(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3")
    for name in ("colour and texture", "texture", "subject"):
        assert page.get_by_role("slider", name=name, exact=True).count() == 1
    busy = "document.querySelector('[data-live=results]').ariaBusy"
    held = []
    page.route("**level_weights**", lambda route: held.append(route))
    moved(page, "conv5_1", 0)
    page.wait_for_function(f"() => {busy} === 'true'")
    slider = page.get_by_role("slider", name="texture", exact=True)
    assert slider.get_attribute("aria-valuetext") == "50 %"
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_function(f"() => {busy} !== 'true'")
    page.unroute("**level_weights**")
    page.route("**level_weights**", lambda route: route.abort())
    moved(page, "pool3", 10)
    page.wait_for_selector("[role=status]:has-text('could not be reached')")
    assert page.evaluate(busy) != "true" and names(page)


def test_weaker_results_and_scores_are_one_link_away(server, page):
    page.goto(f"{server}{GALLERY}/similar/3")
    alike = page.locator(".imgsim-tile").count()
    assert page.inner_text("[role=status]") == f"{alike} alike"
    page.click("text=Show weaker ones")
    page.wait_for_url("**?_weaker=1#weaker")
    assert page.locator(".imgsim-tile").count() == 23 and fits(page)
    assert page.locator(".imgsim-cut").count() == 1
    assert page.locator(".imgsim-figures").count() == 0
    page.click("text=Show scores")
    page.wait_for_url("**_scores=1")
    assert page.locator(".imgsim-figures").count() == 23 and fits(page)
    page.click("text=Hide weaker ones")
    page.wait_for_url("**?_scores=1")
    assert page.locator(".imgsim-tile").count() == alike


def test_presets_set_the_sliders(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3?_size=5")
    page.click("text=colour and texture")
    page.wait_for_url("**level_weights=conv2_1:1&_size=5")
    all_inputs = "[...document.querySelectorAll('[data-levels] input')]"
    values = page.evaluate(f"{all_inputs}.map(input => input.value)")
    assert values == ["100", "0", "0"]
    assert page.get_attribute(".imgsim-preset >> nth=0", "aria-current") == "true"
    page.click(".imgsim-preset >> text=default")
    page.wait_for_url(f"**{GALLERY}/similar/3?_size=5")
    assert page.get_attribute(".imgsim-preset >> nth=0", "aria-current") is None


def test_a_space_of_one_level_has_no_sliders(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3?space=one+level&_weaker=1")
    assert page.locator(".imgsim-tile").count() == 23
    assert page.locator("[data-levels]").count() == 0


def test_examples_are_kept_in_a_basket(levelled, page):
    page.goto(f"{levelled}{GALLERY}/similar/3")
    first, last = names(page)[0], names(page)[-1]
    page.locator(".imgsim-tile").first.get_by_role("link", name="less like").click()
    page.wait_for_url("**?minus=*")
    assert first not in names(page) and page.locator(".imgsim-basket li").count() == 1
    page.locator(".imgsim-tile").last.get_by_role("link", name="more like").click()
    page.wait_for_url("**plus=**")
    assert page.locator(".imgsim-basket li").count() == 2 and fits(page)
    assert loaded(page, ".imgsim-basket img")
    moved(page, "conv2_1", 0)
    page.wait_for_url("**level_weights=**")
    assert "plus=" in page.url and "minus=" in page.url
    for left in (1, 0):
        page.locator(".imgsim-basket").get_by_role("link", name="out").first.click()
        page.wait_for_function(
            "(left) => document.querySelectorAll('.imgsim-basket li').length === left", arg=left
        )
    assert {first, last} <= {href.split("?")[0] for href in names(page)}


def test_table_pages_show_thumbnails(server, page):
    page.goto(server + "/photos/images")
    assert page.locator(".imgsim-cell img").count() == 24
    box = page.locator(".imgsim-cell").first.bounding_box()
    assert box["width"] <= 130 and box["height"] <= 100


@pytest.fixture
def slow(plugins):
    """A file that keeps servers from loading spaces as long as it is there."""
    file = plugins / "slow"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def test_pages_go_on_by_themselves_when_the_space_is_loaded(photos, plugins, slow, page):
    with running(photos, plugins) as url:
        page.goto(url + GALLERY)
        assert "is loading" in page.inner_text("[data-loading]")
        page.set_input_files("#imgsim-file", photos / "images" / "circles" / "0.jpg")
        page.wait_for_selector(".imgsim-sending [role=status]:has-text('is loading')")
        other = page.context.new_page()
        other.goto(f"{url}{GALLERY}/similar/3")
        assert "is loading" in other.inner_text("[data-loading]")
        slow.unlink()
        other.wait_for_selector(".imgsim-tile")
        page.wait_for_url("**/upload/*")
        assert page.locator(".imgsim-tile").count() > 0
        other.close()


def test_a_large_picture_whose_file_has_gone_is_shown_as_thumbnail(copy_photos, plugins, page):
    with running(copy_photos, plugins, {"images_root": str(copy_photos / "images")}) as url:
        page.goto(f"{url}{GALLERY}/similar/1")
        assert loaded(page, ".imgsim-query img")
        assert "/large/" in page.get_attribute(".imgsim-query img", "src")
        shutil.rmtree(copy_photos / "images")
        page.goto(f"{url}{GALLERY}/similar/2")
        page.wait_for_function(
            "document.querySelector('.imgsim-query img').src.includes('/thumbnail/')"
        )
        assert loaded(page, ".imgsim-query img")


def test_a_filtered_table_is_ordered_by_likeness_in_one_click(server, page):
    page.goto(f"{server}/photos/images?_similar_to=3&_similar_min=50")
    page.get_by_role("link", name="Order by likeness").click()
    page.wait_for_selector(".imgsim-tile")
    titles = page.locator(".imgsim-word").evaluate_all("words => words.map(word => word.title)")
    scores = [float(re.match(r"score ([-.\d]+)", title)[1]) for title in titles]
    assert scores == sorted(scores, reverse=True) and len(scores) > 1
    page.goto(f"{server}/photos/images")
    assert page.get_by_role("link", name="Order by likeness").count() == 0


# Datasette's own pages


@pytest.mark.parametrize("path", ["/", "/photos"])
def test_pictures_lead_in_from_datasettes_own_pages(server, page, path):
    page.goto(server + path)
    assert page.locator(".imgsim-strip img").count() == 12 and loaded(page, ".imgsim-strip img")
    assert fits(page)
    widths = page.locator(".imgsim-strip img").evaluate_all("(all) => all.map((i) => i.width)")
    assert min(widths) >= 50
    page.focus(".imgsim-strip li a")
    page.keyboard.press("Enter")
    page.wait_for_selector("section .imgsim-tile")
    assert "/similar/" in page.url


def test_a_row_shows_its_thumbnail_where_its_file_is_gone(copy_photos, plugins, page):
    shutil.rmtree(copy_photos / "images/circles")
    with running(copy_photos, plugins, {"images_root": "images"}) as url:
        page.goto(f"{url}/photos/images/1")
        page.wait_for_function("() => document.querySelector('.imgsim-large img').naturalWidth")
        shown = page.get_attribute(".imgsim-large img", "src")
        assert shown.endswith("/thumbnail/1.jpg")
        page.goto(f"{url}/photos/images/12")
        assert loaded(page, ".imgsim-large img") and fits(page)
        assert page.get_attribute(".imgsim-large img", "src").endswith("/large/12.jpg")
        ours = [v for v in page.evaluate("violations") if "imgsim" in (v[2] or "")]
        assert ours == []
