"""The tabs of the three views, facets and filters in a real browser."""

import shutil

import pytest
from helpers.browser import fits, loaded, running
from helpers.databases import change, lay_out, rows
from helpers.maps import MAP, places_of
from helpers.serving import GALLERY

pytestmark = pytest.mark.datasette

TABLE = "/photos/images"
QUERY = "_similar_to=3&_similar_min=50&_facet=format"


@pytest.fixture(scope="module")
def url(photos, plugins, tmp_path_factory):
    """The address of a server of a copy of `photos` with a map."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("views") / "photos")
    database = folder / "photos.db"
    change(database, "update images set format = 'PNG' where id % 2")
    lay_out(database, places_of(rows(database, "select id from images order by path")))
    with running(folder, plugins) as url:
        yield url


def tab(page, name):
    page.locator(".imgsim-views").get_by_role("link", name=name, exact=True).click()
    page.wait_for_selector(f".imgsim-views a[aria-current=page]:text-is('{name}')")


def test_one_walks_from_view_to_view_with_the_filter(page, url):
    page.goto(f"{url}{TABLE}?{QUERY}")
    for name, base in (("Gallery", GALLERY), ("Map", MAP), ("Rows", TABLE), ("Gallery", GALLERY)):
        tab(page, name)
        page.wait_for_url(f"{url}{base}?**")
        assert "_similar_to=3" in page.url and "_similar_min=50" in page.url
        assert page.inner_text(".content").count("closer than 50 % of random pairs") == 1
        assert loaded(page, ".imgsim-filter img") and fits(page)
    assert page.evaluate("violations.filter((v) => v[2].includes('/static-plugins/'))") == []
    page.locator(".imgsim-filter").get_by_role("link", name="clear").click()
    page.wait_for_selector(".imgsim-tile")
    assert "_similar_to" not in page.url and page.locator(".imgsim-filter").count() == 0


def test_facets_are_beside_the_pictures_or_folded(page, url):
    page.goto(f"{url}{GALLERY}?{QUERY}")
    page.wait_for_selector(".imgsim-tile")
    is_wide = page.viewport_size["width"] > 640
    facets, first = page.locator(".imgsim-facets"), page.locator(".imgsim-tile").first
    if is_wide:
        page.wait_for_selector(".imgsim-facets[open]")
        box = facets.bounding_box()
        assert box["x"] + box["width"] <= first.bounding_box()["x"]
    else:
        assert facets.get_attribute("open") is None
        facets.locator("summary").focus()
        page.keyboard.press("Enter")
    facets.get_by_role("link", name="PNG", exact=True).click()
    page.wait_for_url("**format=PNG**")
    assert 'format = "PNG"' in page.inner_text(".imgsim-filter") and fits(page)


def test_the_map_keeps_the_filter_in_all_it_asks_for(page, url):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}{MAP}?format=PNG&_facet=format")
    page.wait_for_selector(".leaflet-tile-loaded")
    page.wait_for_function("() => document.querySelector('.imgsim-map').dataset.loaded")
    assert "12 of 24 images" in page.inner_text(".imgsim-filter")
    page.fill("#imgsim-find", "jpg")
    page.wait_for_selector(".imgsim-hits li")
    hits = page.locator(".imgsim-hits li").all_inner_texts()
    assert ["outside the filter" in hit for hit in hits] == [False] * 12 + [True] * 12
    assert page.inner_text(".imgsim-found") == "24 images found, 12 outside the filter"
    page.fill("#imgsim-find", "")
    page.wait_for_selector(".imgsim-hits", state="hidden")
    page.select_option(".imgsim-colour select", "format")
    page.wait_for_selector(".imgsim-legend summary")
    counts = page.locator(".imgsim-legend .imgsim-quiet").all_text_contents()
    assert counts == ["0 of 12", "12 of 12"]  # JPEG, PNG
    page.click(".imgsim-select")
    page.locator(".imgsim-map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".imgsim-panel h2")
    mine = [each for each in asked if "/tiles/" in each or "map.json" in each]
    assert mine and all("format=PNG" in each for each in mine)
    assert "format=PNG" in page.url
    count = int(page.inner_text(".imgsim-panel h2").split()[0])
    assert 0 < count <= 12
    for name in ("Gallery", "Rows"):
        link = page.locator(".imgsim-links").get_by_role("link", name=name, exact=True)
        assert "format=PNG" in link.get_attribute("href")
    page.locator(".imgsim-links").get_by_role("link", name="Gallery", exact=True).click()
    page.wait_for_selector(".imgsim-tile")
    assert page.inner_text(".imgsim-filter strong") == str(count)
