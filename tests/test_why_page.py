"""The pages and the command that say why two pictures are alike."""

import hashlib
import io
import json
import re
import sqlite3
import threading
from contextlib import closing
from html import unescape

import pytest
from helpers.commands import embed_toy, imgsim
from helpers.databases import change
from helpers.serving import GALLERY, cookies, get_json, serve
from PIL import Image

from datasette_imgsim.explore import why
from datasette_imgsim.models.base import Model
from datasette_imgsim.web import worker

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

WHY = f"{GALLERY}/why/1/2"


def total(picture):
    """The sum of all heat over a picture of a JSON answer."""
    return sum(sum(map(sum, cells)) for cells in picture["heat"].values())


async def page_of(ds, href, status=200):
    response = await ds.client.get(href)
    assert response.status_code == status, response.text
    return unescape(response.text)


@pytest.fixture(scope="module")
def several(photos, tmp_path_factory):
    """photos.db with a space of three levels for each pooling."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "images").symlink_to(photos / "images")
    (folder / "photos.db").write_bytes((photos / "photos.db").read_bytes())
    for pooling in ("avg", "max", "flatten"):
        options = ("--levels", "pool3,pool4,pool5", "--pooling", pooling, "--space", pooling)
        imgsim("embed", folder / "photos.db", folder / "images", "--quiet", *options)
    return folder


@pytest.mark.parametrize("space", ["vgg16-oxford", "avg", "max", "flatten"])
@pytest.mark.parametrize("weights", [None, "pool5:3,pool3:1"])
async def test_the_heat_is_the_score(several, photos, space, weights):
    ds = serve(several / "photos.db", {"images_root": str(photos)})
    state = f"?space={space}"
    if weights and space != "vgg16-oxford":
        state += f"&level_weights={weights}"
    rows = (await get_json(ds, f"{GALLERY}/similar/1.json{state}"))["rows"]
    score = next(row["score"] for row in rows if row["id"] == 2)
    answer = await get_json(ds, f"{WHY}.json{state}")
    assert answer["score"] == score and answer["space"] == space
    assert answer["query"]["from"] == answer["other"]["from"] == "file"
    # What is stored was rounded to float16.
    assert answer["heat"] == pytest.approx(score, abs=2e-3)
    assert total(answer["query"]) == pytest.approx(answer["heat"], abs=1e-5)
    assert total(answer["other"]) == pytest.approx(answer["heat"], abs=1e-5)
    assert sum(each["share"] for each in answer["levels"]) == pytest.approx(answer["heat"])
    for each in answer["levels"]:
        assert each["share"] == pytest.approx(each["weight"] * each["cosine"], abs=1e-8)
        if weights and each["level"] == "pool4":
            assert each["weight"] == 0


async def test_the_page(several, photos):
    ds = serve(several / "photos.db", {"images_root": str(photos)})
    state = "?space=avg&level_weights=pool5:1,pool4:1"
    html = await page_of(ds, f"{GALLERY}/similar/1{state}")
    href = f"{WHY}{state}"
    assert f'rel="nofollow" href="{href}"' in html
    html = await page_of(ds, href)
    answer = await get_json(ds, f"{WHY}.json{state}")
    for name, picture in (("query", "first"), ("other", "second")):
        assert f"The heat is {answer[name]['where']}" in html
        assert f'src="{WHY}/{picture}.png{state}"' in html
        response = await ds.client.get(f"{WHY}/{picture}.png{state}")
        assert response.headers["content-type"] == "image/png"
        assert response.headers["x-content-type-options"] == "nosniff"
        overlay = Image.open(io.BytesIO(response.content))
        assert overlay.mode == "RGBA" and overlay.size == (256, 192)  # of pictures of 120 x 90
    assert f"score {answer['score']:.3f}" in html and answer["word"] in html
    assert f'href="{GALLERY}/similar/1{state}"' in html and f"{WHY}.json{state}" in html
    assert "The vector is their mean" in html and "What each level adds" in html
    assert "thumbnail, since" not in html
    assert "<h1>Why these two are alike</h1>" in html
    rows = (await get_json(ds, f"{GALLERY}/similar/1.json?space=avg"))["rows"]
    html = await page_of(ds, f"{GALLERY}/why/1/{rows[-1]['id']}?space=avg")
    assert "<h1>Where these two are a little alike</h1>" in html
    # The pooling is said.
    assert "part of the sum of cubes" in await page_of(ds, WHY)
    html = await page_of(ds, f"{WHY}?space=flatten")
    assert "so both have the same heat" in html
    assert "the largest value of each channel" in await page_of(ds, f"{WHY}?space=max")


async def test_without_the_files_their_thumbnails_do(photos):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, f"{WHY}.json")
    assert answer["query"]["from"] == answer["other"]["from"] == "thumbnail"
    assert answer["heat"] == pytest.approx(answer["score"], abs=0.05)
    html = await page_of(ds, WHY)
    assert html.count("The heat was found in its thumbnail") == 2


async def test_pictures_that_a_row_holds(tmp_path, photos):
    database = tmp_path / "photos.db"
    files = sorted((photos / "images" / "circles").iterdir())
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("create table images (id integer primary key, photo blob)")
        conn.executemany(
            "insert into images (photo) values (?)", [(file.read_bytes(),) for file in files]
        )
    imgsim("embed", database, "--table", "images", "--column", "photo", "--quiet")
    answer = await get_json(serve(database), f"{WHY}.json")
    assert answer["query"]["from"] == answer["other"]["from"] == "blob"
    assert total(answer["other"]) == pytest.approx(answer["score"], abs=2e-3)


async def test_it_is_computed_once_for_the_page_and_all_in_it(photos, monkeypatch):
    calls, explain = [], why.explain
    monkeypatch.setattr(why, "explain", lambda *args: calls.append(args) or explain(*args))
    ds = serve(photos / "photos.db")
    for path in (WHY, f"{WHY}.json", f"{WHY}/first.png", f"{WHY}/second.png", WHY):
        assert (await ds.client.get(path)).headers["cache-control"] == "no-store"
    assert len(calls) == 1
    await page_of(ds, f"{WHY}?level_weights=pool5:1")
    await page_of(ds, f"{GALLERY}/why/2/1")
    assert len(calls) == 3


async def test_the_server_writes_nothing(copy_photos):
    database = copy_photos / "photos.db"
    before = hashlib.sha256(database.read_bytes()).digest()
    ds = serve(database, immutable=True)
    await page_of(ds, WHY)
    assert hashlib.sha256(database.read_bytes()).digest() == before


async def test_of_a_picture_that_was_sent(photos):
    ds = serve(photos / "photos.db")
    file = photos / "images" / "circles" / "0.jpg"
    response = await ds.client.post(f"{GALLERY}/upload?name=mine.jpg", content=file.read_bytes())
    path = response.json()["href"]
    html = await page_of(ds, path)
    assert f'href="{path}/why/2"' in html
    html = await page_of(ds, f"{path}/why/2")
    assert "mine.jpg: " in html and "in the copy that is held here" in html
    answer = await get_json(ds, f"{path}/why/2.json")
    assert answer["query"]["name"] == "mine.jpg" and answer["query"]["from"] == "copy"
    assert total(answer["query"]) == pytest.approx(answer["score"], abs=0.05)
    assert (await ds.client.get(f"{path}/why/2/first.png")).status_code == 200
    for suffix in (".json", "/first.png"):
        answer = await get_json(ds, f"{GALLERY}/upload/unknown/why/2{suffix}", 404)
        assert "no longer held" in answer["error"]
    await page_of(ds, f"{GALLERY}/upload/unknown/why/2", 404)


async def test_only_who_may_send_pictures_is_told(photos):
    ds = serve(photos / "photos.db", {"uploads": {"id": "ann"}})
    sentence = "The server does not look at pictures for you: the setting uploads of"
    for path in (WHY, f"{WHY}/first.png", f"{GALLERY}/similar/1?crop=0,0,.5,.5"):
        assert sentence in await page_of(ds, path, 403)
        assert (await ds.client.get(path, cookies=cookies(ds, "ann"))).status_code == 200
    html = await page_of(ds, f"{GALLERY}/similar/1")
    assert "why?" not in html and "imgsim-cropping" not in html


async def test_without_the_network_nothing_offers_it(photos, monkeypatch):
    sentence = "This needs torch: pip install 'datasette-imgsim[embed]'"
    monkeypatch.setattr(Model, "missing_package", lambda model: sentence)
    ds = serve(photos / "photos.db")
    html = await page_of(ds, f"{GALLERY}/similar/1")
    assert "why?" not in html and "imgsim-cropping" not in html
    for path in (f"{WHY}.json", f"{GALLERY}/similar/1.json?crop=0,0,.5,.5"):
        assert (await get_json(ds, path, 503))["error"] == sentence


async def test_when_too_many_wait(photos, monkeypatch):
    ds = serve(photos / "photos.db")
    monkeypatch.setattr(worker, "_places", threading.Semaphore(0))
    for path in (f"{WHY}.json", f"{GALLERY}/similar/1.json?crop=0,0,.5,.5"):
        response = await ds.client.get(path)
        assert response.status_code == 429 and response.headers["retry-after"]


async def test_while_the_space_is_loading(photos, gate):
    ds = serve(photos / "photos.db")
    html = await page_of(ds, WHY)
    assert "40 %" in html and f'data-loading="{WHY}.json"' in html
    response = await ds.client.get(f"{WHY}.json")
    assert response.status_code == 503 and response.json()["loading"] is True


async def test_what_cannot_be_explained(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "insert into images (path) values ('images/new.jpg')")
    change(database, "delete from imgsim_thumbnails where image_key = 4")
    change(database, "update imgsim_thumbnails set jpeg = x'00' where image_key = 5")
    ds = serve(database)
    for pair, status, sentence in (
        ("1/99", 404, "There is no image '99' in the table 'images'"),
        ("x/1", 404, "There is no image 'x' in the table 'images'"),
        ("1/25", 404, "The image '25' has no vector in the space"),
        ("1/4", 404, "The image '4': there is neither its file nor a thumbnail"),
        ("5/1", 404, "The image '5': not a picture"),
        ("1/2.json?level_weights=pool9:1", 400, "has no level 'pool9'"),
        ("1/2.json?space=x", 400, "No space 'x'"),
        ("1/2.json?crop=1,0,0,1", 400, "crop is x0,y0,x1,y1"),
    ):
        assert sentence in await page_of(ds, f"{GALLERY}/why/{pair}", status)
    # A file that is no picture any more gives way to the thumbnail.
    (copy_photos / "images" / "circles" / "0.jpg").write_text("no picture")
    answer = await get_json(serve(database, {"images_root": str(copy_photos)}), f"{WHY}.json")
    assert (answer["query"]["from"], answer["other"]["from"]) == ("thumbnail", "file")


async def test_a_level_that_sees_the_whole_picture(folder, toy):
    options = ("--model", "toy", "--levels", "pool2", "--size", "4", "--space", "one cell")
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet", *options)
    html = await page_of(serve(folder / "photos.db"), WHY)
    assert "no place in it carries more than another" in html
    assert "What each level adds" not in html  # there is only one


async def test_the_command(folder, toy):
    embed_toy(folder, "--quiet")
    database, file = folder / "photos.db", folder / "images" / "1.jpg"
    answer = json.loads(imgsim("why", database, 1, 2, "--json"))
    assert answer["query"]["name"] == "1" and answer["query"]["from"] == "file"
    assert total(answer["query"]) == pytest.approx(answer["score"], abs=1e-6)
    (score,) = re.findall(r"^ *(-?[\d.]+) .* 2 ", imgsim("similar", database, 1), re.MULTILINE)
    assert answer["score"] == pytest.approx(float(score), abs=1e-3)
    # A file is as good as the image of it, and a picture is like itself.
    of_file = json.loads(imgsim("why", database, 1, file, "--json"))
    assert of_file["score"] == answer["score"]
    assert json.loads(imgsim("why", database, 2, file, "--json"))["score"] == pytest.approx(1)
    printed = imgsim("why", database, 1, 2, "--png", folder / "why.png")
    assert printed.startswith(f"score {answer['score']:.3f}\n1: ")
    width, height = Image.open(folder / "why.png").size
    assert (width, height) == (2 * 120 + 8, 90)
    (folder / "images" / "0.jpg").unlink()
    assert "1, in its thumbnail: " in imgsim("why", database, 1, 2)
    for arguments, sentence in (
        ((1, "x"), "x is neither a file nor the id of an image"),
        ((1, __file__), "not a picture"),
        ((1, 2, "--level-weights", "pool9=1"), "has no level 'pool9'"),
        ((1, 2, "--png", folder / "none" / "x.png"), "cannot be written: No such file"),
    ):
        assert sentence in imgsim("why", database, *arguments, exit_code=1)
