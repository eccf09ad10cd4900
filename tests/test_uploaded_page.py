"""The page of an image that was sent: as the similar page, for as long as it is held."""

import re
from html import unescape

import pytest
from helpers.commands import imgsim
from helpers.databases import change, copy_space, group
from helpers.serving import (
    GALLERY,
    ROW_KEYS,
    all_pages,
    cookies,
    gallery_of,
    get_json,
    ready,
    serve,
)
from helpers.waiting import eventually

from datasette_imgsim.ingest import query
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.held import HeldPictures
from datasette_imgsim.web.state import get_state

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

UPLOAD = f"{GALLERY}/upload"
GONE = "This picture is no longer held here: choose it again"
IN_SPACE = "This picture was compared in the space"


@pytest.fixture
def file(photos):
    """The file of the first image."""
    return photos / "images" / "circles" / "0.jpg"


async def send(ds, file, path=UPLOAD, **parameters):
    """The address of the page of a file that is sent."""
    parameters = {"name": file.name, **parameters}
    response = await ds.client.post(path, content=file.read_bytes(), params=parameters)
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert set(answer) == {"ok", "href"} and answer["ok"] is True
    return answer["href"]


async def page_of(ds, href, status=200):
    """The HTML of a page, which no cache may keep."""
    response = await ds.client.get(href)
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    return unescape(response.text)


def json_of(href):
    """The address of a page's JSON."""
    path, sign, query_string = href.partition("?")
    return f"{path}.json{sign}{query_string}"


async def test_an_image_gets_a_page_of_its_own(photos, file):
    ds = serve(photos / "photos.db")
    href = await send(ds, file, name="My  <b>\n.jpg")
    assert re.fullmatch(rf"{UPLOAD}/[\w-]{{43}}", href)
    html = await page_of(ds, href)
    assert "<h1>Similar to My <b> .jpg</h1>" in html and "120 × 90, JPEG" in html
    assert "&lt;b&gt;" in (await ds.client.get(href)).text
    assert "kept in memory for an hour after its last use, and never stored" in html
    thumbnail = await ds.client.get(f"{href}.jpg")
    assert f'src="{href}.jpg"' in html and thumbnail.content[:2] == b"\xff\xd8"
    assert thumbnail.headers["cache-control"] == "no-store"
    assert thumbnail.headers["content-type"] == "image/jpeg"
    # What needs a row is not there.
    for absent in ("imgsim-sql", "on the map", "Rows of images with", "imgsim-picked><a"):
        assert absent not in html
    answer = await get_json(ds, f"{href}.json?_size=3")
    assert answer["query"] == {
        "name": "My <b> .jpg",
        "width": 120,
        "height": 90,
        "format": "JPEG",
        "level_weights": answer["query"]["level_weights"],
        "plus": [],
        "minus": [],
        "rerank": False,
    }
    assert len(answer["rows"]) == 3 and all(set(row) == ROW_KEYS for row in answer["rows"])
    found = (await ds.client.post(f"{GALLERY}/search", content=file.read_bytes())).json()
    assert await all_pages(ds, f"{href}.json?_size=7") == found["rows"]
    assert answer["cut"] == found["cut"] and answer["rows"] == found["rows"][:3]


async def test_names(photos, file):
    ds = serve(photos / "photos.db")
    for name, shown in (("", "your image"), (" ", "your image"), ("x" * 999, "x" * 100)):
        answer = await get_json(ds, json_of(await send(ds, file, name=name)))
        assert answer["query"]["name"] == shown


async def test_examples_and_level_weights_act_as_on_the_page_of_an_image(photos, file):
    ds = serve(photos / "photos.db")
    href = await send(ds, file)
    stored = f"{GALLERY}/similar/1"
    assert group(photos / "photos.db", 1) == "circles"
    for state in ("", "?level_weights=pool5:1", "?plus=9&minus=14&minus=20", "?minus=2"):
        expected = (await get_json(ds, f"{stored}.json{state}"))["rows"]
        rows = (await get_json(ds, f"{href}.json{state}"))["rows"]
        assert rows.pop(0)["id"] == 1
        assert [row["id"] for row in rows] == [row["id"] for row in expected]
        assert [row["score"] for row in rows] == pytest.approx(
            [row["score"] for row in expected], abs=2e-6
        )
    html = await page_of(ds, f"{href}?plus=9&level_weights=pool5:1&_scores=1")
    assert f'href="{href}?level_weights=pool5:1&_scores=1"' in html  # takes the example out
    assert "imgsim-preset" in html and "Hide scores" in html and 'name="pool5"' in html
    assert f'href="{href}?level_weights=pool5:1&plus=9&plus=2&_scores=1"' in html
    assert f'href="{GALLERY}/similar/2?level_weights=pool5:1&plus=9&_scores=1"' in html


async def test_the_page_ends_where_images_are_no_longer_alike(photos, file):
    ds = serve(photos / "photos.db")
    href = await send(ds, file)
    alike = (await get_json(ds, json_of(href)))["cut"]["alike"]
    html = await page_of(ds, href)
    assert html.count('class="imgsim-tile"') == alike < 24 and f">{alike} alike</span>" in html
    html = await page_of(ds, re.search(r'href="([^"]+)">Show weaker ones', html)[1])
    assert html.count('class="imgsim-tile"') == 24 and html.count('class="imgsim-cut"') == 1


@pytest.fixture(scope="module")
def two_spaces(photos, tmp_path_factory):
    """photos.db with a second space."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "images").symlink_to(photos / "images")
    (folder / "photos.db").write_bytes((photos / "photos.db").read_bytes())
    options = ("--levels", "pool3,pool5", "--space", "two levels")
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet", *options)
    return folder / "photos.db"


async def test_the_space_it_was_compared_in_and_others(two_spaces, file):
    ds = serve(two_spaces)
    weights = {"level_weights": "pool5:1", "_scores": "1"}
    href = await send(ds, file, space="two levels", **weights)
    assert href.endswith("?space=two+levels&level_weights=pool5:1&_scores=1")
    path = href.partition("?")[0]
    # Without naming it as well, and its links name it.
    for address in (href, path):
        assert (await get_json(ds, json_of(address)))["space"] == "two levels"
    assert f'href="{GALLERY}/similar/2?space=two+levels"' in await page_of(ds, path)
    html = await page_of(ds, f"{path}?space=vgg16-oxford", 404)
    assert f"{IN_SPACE} 'two levels': choose it again to compare it in" in html
    assert "data-upload=" in html and "imgsim-tile" not in html
    answer = await get_json(ds, f"{path}.json?space=vgg16-oxford", 404)
    assert answer["error"].startswith(IN_SPACE)
    assert "No space 'x'" in (await get_json(ds, f"{path}.json?space=x", 400))["error"]


async def test_a_space_that_was_made_anew_is_another(copy_photos, file):
    database = copy_photos / "photos.db"
    ds = serve(database)
    href = await send(ds, file)
    imgsim("drop", database, "vgg16-oxford")
    options = ("--levels", "pool3", "--space", "vgg16-oxford")
    imgsim("embed", database, copy_photos / "images", "--quiet", *options)
    await eventually(lambda: _is_refused(ds, href))


async def _is_refused(ds, href):
    answer = (await ds.client.get(json_of(href))).json()
    return not answer["ok"] and IN_SPACE in answer["error"]


async def gone(ds, href):
    """Whether a picture is no longer held; then each of its addresses says so."""
    response = await ds.client.get(href)
    if response.status_code == 200:
        return False
    html = await page_of(ds, href, 404)
    assert f"{GONE}." in html and "data-upload=" in html
    for address in (f"{href}.json", f"{href}.jpg"):
        response = await ds.client.get(address)
        assert response.status_code == 404 and response.headers["cache-control"] == "no-store"
        assert response.json() == {"ok": False, "error": GONE}
    return True


async def test_a_picture_is_held_for_an_hour_after_its_last_use(photos, file):
    ds = serve(photos / "photos.db")
    now = 0
    get_state(ds.get_database("photos")).held = HeldPictures(lambda: now)
    href = await send(ds, file)
    for minutes in (59, 59, 59):
        now += minutes * 60
        assert not await gone(ds, href)
    now += 60 * 60
    assert await gone(ds, href)
    assert await gone(ds, f"{UPLOAD}/unknown")


async def test_what_is_held_is_bounded_and_the_least_recently_used_gives_way(
    photos, file, monkeypatch
):
    ds = serve(photos / "photos.db")
    state = get_state(ds.get_database("photos"))
    first = await send(ds, file)
    size = state.held.get("images", first.split("/")[-1]).bytes
    monkeypatch.setattr(LIMITS, "bytes_of_held", 3 * size)
    state.held = HeldPictures()
    first, second, third = [await send(ds, file) for _ in range(3)]
    assert not await gone(ds, first)
    fourth = await send(ds, file)
    assert [await gone(ds, href) for href in (first, second, third, fourth)] == [0, 1, 0, 0]
    # One that is larger than all may be is held alone.
    monkeypatch.setattr(LIMITS, "bytes_of_held", 1)
    state.held = HeldPictures()
    first, second = [await send(ds, file) for _ in range(2)]
    assert await gone(ds, first) and not await gone(ds, second)


async def test_a_token_opens_at_its_own_table_only(copy_photos, file):
    database = copy_photos / "photos.db"
    change(database, "create table others (id integer primary key, path text)")
    copy_space(database, "others", "others")
    ds = serve(database)
    href = await send(ds, file)
    other = gallery_of("photos", "others")
    assert await gone(ds, href.replace(GALLERY, other)) and not await gone(ds, href)


async def test_only_who_may_send_pictures_sees_their_pages(photos, file):
    ds = serve(photos / "photos.db", {"uploads": {"id": "ann"}})
    for address in (UPLOAD, f"{UPLOAD}/t", f"{UPLOAD}/t.json", f"{UPLOAD}/t.jpg"):
        response = await ds.client.get(address)
        assert response.status_code == 403 and "of your own here" in response.text
        assert (await ds.client.get(address, cookies=cookies(ds, "ann"))).status_code in (200, 404)
    for path in (GALLERY, f"{GALLERY}/similar/3"):
        assert "data-upload=" not in (await ds.client.get(path)).text
        response = await ds.client.get(path, cookies=cookies(ds, "ann"))
        assert "data-upload=" in response.text


async def test_the_network_is_loaded_when_a_page_asks_for_it(photos, file, monkeypatch):
    ds = await ready(serve(photos / "photos.db"))
    monkeypatch.setattr(query, "_network", None)
    for path in (GALLERY, f"{GALLERY}/similar/3"):
        response = await ds.client.get(path)
        # Datasette lets browsers keep no picture once a page has set a cookie.
        assert "set-cookie" not in response.headers
    assert query._network is None
    response = await ds.client.get(UPLOAD)
    assert response.json() == {"ok": True, "ready": False}
    assert response.headers["cache-control"] == "no-store"

    async def is_ready():
        return (await get_json(ds, UPLOAD))["ready"]

    await eventually(is_ready)
    assert query._network is not None


async def test_pages_without_the_network_do_not_ask_for_it(photos, monkeypatch):
    from datasette_imgsim.models.base import Model

    sentence = "This needs torch: pip install 'datasette-imgsim[embed]'"
    monkeypatch.setattr(Model, "missing_package", lambda model: sentence)
    ds = serve(photos / "photos.db")
    for path in (GALLERY, f"{GALLERY}/similar/3", f"{UPLOAD}/unknown"):
        html = (await ds.client.get(path)).text
        assert "upload.js" not in html and "data-upload" not in html
    assert (await get_json(ds, UPLOAD, 503))["error"] == sentence


async def test_while_the_space_is_loading(photos, file, gate):
    ds = serve(photos / "photos.db")
    for response in (
        await ds.client.get(UPLOAD),
        await ds.client.post(UPLOAD, content=file.read_bytes()),
    ):
        assert response.status_code == 503 and response.headers["cache-control"] == "no-store"
        assert response.json()["loading"] is True
