"""Searching by a part of a picture: on pages, in JSON, on the command line and in Python."""

import io
import json
import re
from html import unescape

import pytest
from helpers.commands import imgsim
from helpers.serving import GALLERY, all_pages, get_json, serve
from PIL import Image

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import query
from datasette_imgsim.ingest.apart import SHARED
from datasette_imgsim.ingest.part import parse_box

pytestmark = pytest.mark.datasette

SIMILAR = f"{GALLERY}/similar/1"
CROP = "0.25,0,0.75,0.5"


@pytest.fixture
def file(photos):
    """The file of the first image."""
    return photos / "images" / "circles" / "0.jpg"


@pytest.fixture
def counted(monkeypatch):
    """The parts that are embedded, one after the other."""
    calls, embed = [], query.embed_picture

    def counting(*args):
        calls.append(args[-1])
        return embed(*args)

    monkeypatch.setattr(query, "embed_picture", counting)
    return calls


async def page_of(ds, href, status=200):
    response = await ds.client.get(href)
    assert response.status_code == status, response.text
    return unescape(response.text)


def scores(rows):
    return {row["id"]: row["score"] for row in rows}


# What a part is


@pytest.mark.parametrize(
    "text, box",
    [
        ("0.1,.25,0.5,1", (0.1, 0.25, 0.5, 1)),
        (" 0 ,0, 1e-1,0.99999", (0, 0, 0.1, 1)),
        ("-0,-0.0001,.5,.5", (0, 0, 0.5, 0.5)),
        ("0,0,1,1", None),
    ],
)
def test_edges(text, box):
    assert parse_box(text) == box


WRONG = (
    "", "0", "0,0,1", "0,0,.5,.5,1", "a,0,1,1", "nan,0,1,1", "0,0,inf,1", "0.5,0,0.5,1",
    "0.6,0,0.5,1", "0,1,1,0", "0,0,1.5,1", "-1,0,1,1", "0.1,0,0.1001,1", "[0,0,1,1]",
)  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_senseless_edges(text):
    with pytest.raises(ImgsimError, match=r"^crop is x0,y0,x1,y1 with x0 < x1 and y0 < y1: "):
        parse_box(text)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_one_of_the_upright_picture(orientation):
    """Whatever way it is stored: the red quarter is at the lower left."""
    upright = Image.new("RGB", (80, 120), "blue")
    upright.paste("red", (0, 60, 40, 120))
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    for turn in turns.get(orientation, []):
        upright = upright.transpose(turn)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    upright.save(file, "PNG", exif=exif)
    found = SHARED.decode(file.getvalue(), 8, part=(0, 0.5, 0.5, 1))
    assert (found.pixels == (255, 0, 0)).all()
    assert Image.open(io.BytesIO(found.thumbnail)).size == (40, 60)
    assert (found.facts.width, found.facts.height) == (80, 120)


def test_a_part_of_a_large_picture_is_decoded_in_full():
    """A JPEG is decoded smaller where less is needed, but not for a part of it."""
    board = Image.effect_noise((2400, 2400), 100).point(lambda value: 255 * (value > 127))
    file = io.BytesIO()
    board.convert("RGB").save(file, "JPEG", quality=95)
    found = SHARED.decode(file.getvalue(), 200, part=(0.25, 0.25, 0.333, 0.333))
    assert found.pixels.std() > 100


# On pages


@pytest.mark.asyncio
async def test_a_part_is_ranked_as_a_picture_of_its_own(photos, file):
    ds = serve(photos / "photos.db", {"images_root": str(photos)})
    answer = await get_json(ds, f"{SIMILAR}.json?crop={CROP}")
    assert answer["query"]["crop"] == [0.25, 0, 0.75, 0.5] and answer["query"]["id"] == 1
    found = scores(await all_pages(ds, f"{SIMILAR}.json?crop={CROP}&_size=9"))
    assert len(found) == 23 and 1 not in found
    # As if it had been cut out of the file.
    cut = io.BytesIO()
    Image.open(file).crop((30, 0, 90, 45)).save(cut, "PNG")
    response = await ds.client.post(f"{GALLERY}/search?_size=max", content=cut.getvalue())
    expected = scores(response.json()["rows"])
    assert found == pytest.approx({id: expected[id] for id in found}, abs=0.02)
    assert found != pytest.approx(scores(await all_pages(ds, f"{SIMILAR}.json")), abs=0.05)
    # Sent as a whole, with the part in the address.
    response = await ds.client.post(
        f"{GALLERY}/search?_size=9&crop={CROP}", content=file.read_bytes()
    )
    sent = response.json()
    assert sent["query"]["crop"] == [0.25, 0, 0.75, 0.5] and sent["query"]["width"] == 120
    assert f"crop={CROP}&_size=9&_next=9" in sent["next_url"]
    of_sent = {id: score for id, score in scores(sent["rows"]).items() if id in found}
    assert of_sent == pytest.approx({id: found[id] for id in of_sent}, abs=1e-6)


@pytest.mark.asyncio
async def test_the_page_keeps_the_part(photos, counted):
    ds = serve(photos / "photos.db", {"images_root": str(photos)})
    state = f"?level_weights=pool5:1&crop={CROP}&plus=9"
    html = await page_of(ds, f"{SIMILAR}{state}&_scores=1")
    assert "<h1>Similar to a part of " in html and 'viewBox="0 0 120 90"' in html
    assert "M30.0 0.0H90.0V45.0H30.0Z" in html
    for kept in (
        f'href="{SIMILAR}{state}&plus=',  # one more example
        f'href="{SIMILAR}?level_weights=pool5:1&plus=9&_scores=1">Whole picture',
        f'?level_weights=pool5:1&crop={CROP}&_scores=1"',
        f'href="{SIMILAR}?level_weights=pool5:1&crop={CROP}&_scores=1" data-said=',  # one less
    ):
        assert kept in html
    assert "The same in SQL" not in html and "Rows of images" not in html
    for name, value in (("level_weights", "pool5:1"), ("plus", "9"), ("_scores", "1")):
        assert f'type="hidden" name="{name}" value="{value}"' in html
    assert re.findall(r'name="crop"[^>]* value="([^"]*)"', html) == ["0.25", "0.0", "0.75", "0.5"]
    # Sliders, pages and JSON need no second look.
    for more in ("&_size=5", "&_next=5", "&_weaker=1", "&minus=14"):
        await page_of(ds, f"{SIMILAR}?crop={CROP}{more}")
    # As a form without scripts sends it, and with more decimals.
    await page_of(ds, f"{SIMILAR}?crop=0.25&crop=0&crop=0.75&crop=0.5")
    await page_of(ds, f"{SIMILAR}?crop=.25,0.0001,.7501,.5")
    assert counted == [(0.25, 0, 0.75, 0.5)]
    # The whole picture needs no look at all.
    html = await page_of(ds, f"{SIMILAR}?crop=0,0,1,1")
    assert "Similar to a part" not in html and "The same in SQL" in html and len(counted) == 1


@pytest.mark.asyncio
async def test_a_part_of_a_picture_that_was_sent(photos, file):
    ds = serve(photos / "photos.db")
    path = (await ds.client.post(f"{GALLERY}/upload", content=file.read_bytes())).json()["href"]
    html = await page_of(ds, f"{path}?crop={CROP}")
    assert "Similar to a part of your image" in html and f'src="{path}.jpg"' in html
    answer = await get_json(ds, f"{path}.json?crop={CROP}")
    assert answer["query"]["crop"] == [0.25, 0, 0.75, 0.5]
    of_file = await get_json(
        serve(photos / "photos.db", {"images_root": str(photos)}), f"{SIMILAR}.json?crop={CROP}"
    )
    found, expected = scores(answer["rows"]), scores(of_file["rows"])
    assert {id: found[id] for id in expected} == pytest.approx(expected, abs=0.05)
    why = await get_json(ds, f"{path}/why/2.json?crop={CROP}")
    assert why["score"] == found[2] and why["query"]["region"] == [0.25, 0, 0.75, 0.5]


@pytest.mark.asyncio
@pytest.mark.parametrize("crop", [crop for crop in WRONG if crop])
async def test_senseless_parts_are_refused(photos, file, crop):
    ds = serve(photos / "photos.db")
    assert (
        "crop is x0,y0,x1,y1" in (await get_json(ds, f"{SIMILAR}.json?crop={crop}", 400))["error"]
    )
    response = await ds.client.post(f"{GALLERY}/search?crop={crop}", content=file.read_bytes())
    assert response.status_code == 400 and "crop is" in response.json()["error"]


@pytest.mark.asyncio
async def test_parts_that_are_too_small(photos, file):
    ds = serve(photos / "photos.db", {"images_root": str(photos)})
    sentence = "The part has 12 x 90 pixels: choose one of at least 16 x 16"
    assert sentence in await page_of(ds, f"{SIMILAR}?crop=0,0,.1,1", 400)
    response = await ds.client.post(f"{GALLERY}/search?crop=0,0,.1,1", content=file.read_bytes())
    assert response.json() == {"ok": False, "error": sentence}
    await page_of(ds, f"{SIMILAR}?crop=0,0,.14,.18")


# On the command line, and in Python


def test_a_part_on_the_command_line(photos, file):
    database = photos / "photos.db"
    of_id, of_file = (
        json.loads(imgsim("similar", database, asked, "--crop", CROP, "-k", 24, "--json"))
        for asked in (1, file)
    )
    assert len(of_id) == 23 and {1} == {each["id"] for each in of_file} - {
        each["id"] for each in of_id
    }
    assert scores(of_id).items() <= scores(of_file).items()
    in_python = Collection(database).similar(file, k=24, crop=(0.25, 0, 0.75, 0.5))
    assert [vars(match) for match in in_python] == of_file
    whole = imgsim("similar", database, 1)
    assert imgsim("similar", database, 1, "--crop", "0,0,1,1") == whole
    assert imgsim("similar", database, 1, "--crop", CROP) != whole
    for crop, sentence in (
        ("1,0,0,1", "crop is x0,y0,x1,y1 with x0 < x1"),
        ("0,0,.1,1", "The part has 12 x 90 pixels"),
    ):
        assert sentence in imgsim("similar", database, 1, "--crop", crop, exit_code=1)
    with pytest.raises(ImgsimError, match="crop is"):
        Collection(database).similar(1, crop=(0, 0, "x", 1))
