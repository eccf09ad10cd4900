"""A part of a picture is drawn in a real browser; and heat lies where the picture is."""

import pytest
from helpers.browser import fits, loaded, running
from helpers.map_browser import drag_finger
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

PICTURE = ".imgsim-picked img"


@pytest.fixture(scope="module")
def server(photos, plugins):
    """The address of a server that shows large pictures."""
    with running(photos, plugins, {"images_root": "images"}) as url:
        yield url


def place(page, selector, x, y):
    """Where on the screen a place on a picture is, which is fitted into its box."""
    return tuple(
        page.eval_on_selector(
            selector,
            """(img, [x, y]) => {
                const box = img.getBoundingClientRect();
                const [w, h] = [img.naturalWidth, img.naturalHeight];
                const scale = Math.min(box.width / w, box.height / h);
                return [box.x + box.width / 2 + (x - 0.5) * w * scale,
                        box.y + box.height / 2 + (y - 0.5) * h * scale];
            }""",
            [x, y],
        )
    )


def edges(url):
    """The edges in an address."""
    return [float(edge) for edge in url.partition("crop=")[2].split(",")]


def no_violations(page):
    """Datasette's own pages have inline scripts."""
    return page.evaluate("violations.filter((v) => v[1] !== 'inline')") == []


def test_a_frame_is_drawn_on_the_similar_page(server, page):
    page.goto(f"{server}{GALLERY}/similar/1?_size=5&level_weights=pool5:1")
    whole = page.url
    page.click("text=Search by a part")
    assert loaded(page, PICTURE)
    page.locator(PICTURE).scroll_into_view_if_needed()
    page.mouse.move(*place(page, PICTURE, 0.75, 0.6))
    page.mouse.down()
    page.mouse.move(*place(page, PICTURE, 0.5, 0.3))
    page.mouse.move(*place(page, PICTURE, 0.25, 0.1))
    page.mouse.up()
    page.wait_for_url("**crop=*")
    assert page.url.startswith(whole) and fits(page)
    assert edges(page.url) == pytest.approx([0.25, 0.1, 0.75, 0.6], abs=0.02)
    # The frame stands where it was drawn.
    assert loaded(page, PICTURE)
    frame = page.locator(".imgsim-part .imgsim-edge").bounding_box()
    left, top = place(page, PICTURE, 0.25, 0.1)
    assert (frame["x"], frame["y"]) == pytest.approx((left, top), abs=10)  # a thick line
    # Its edges can be given with the keyboard; a senseless one is told at once.
    page.click("text=Search by another part")
    page.get_by_label("Right").fill("0.1")
    page.keyboard.press("Enter")
    assert page.locator(":invalid[name=crop]").count() == 1
    page.get_by_label("Right").fill("1")
    page.keyboard.press("Enter")
    page.wait_for_url("**,1,*")
    assert edges(page.url)[2] == 1
    # Sliders keep the part, and the whole picture takes it back.
    page.click(".imgsim-preset >> nth=0")
    page.wait_for_url("**level_weights=pool2*")
    assert "crop=" in page.url
    page.click("text=Whole picture")
    page.wait_for_url(lambda url: "crop=" not in url)
    page.go_back()
    page.wait_for_selector("text=Whole picture")
    assert no_violations(page)


def test_a_finger_draws_in_the_viewer(server, finger):
    finger.goto(server + GALLERY)
    finger.locator(".imgsim-tile .imgsim-open").first.tap()
    shown = ".imgsim-view-stage img"
    assert loaded(finger, shown)
    finger.tap(".imgsim-view-part")
    drag_finger(finger, place(finger, shown, 0.2, 0.2), place(finger, shown, 0.6, 0.9))
    finger.wait_for_url("**/similar/*crop=*")
    assert edges(finger.url) == pytest.approx([0.2, 0.2, 0.6, 0.9], abs=0.05)
    assert "a part of" in finger.inner_text("h1")


def test_the_heat_lies_on_the_picture(server, page):
    page.goto(f"{server}{GALLERY}/why/1/2")
    heat, picture = ".imgsim-heat", ".imgsim-under > img:first-child"
    assert loaded(page, heat) and loaded(page, picture) and fits(page)
    for x, y in ((0, 0), (1, 1)):
        assert place(page, heat, x, y) == pytest.approx(place(page, picture, x, y), abs=1)
    assert page.locator(heat).first.is_visible()
    page.get_by_label("Show the heat").uncheck()
    assert not page.locator(heat).first.is_visible()
    assert no_violations(page)
