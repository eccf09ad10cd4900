"""Pictures are turned as Chromium turns them, in every format that it shows."""

import base64
import io

import numpy as np
import pytest
from helpers.files import exif_of, quarters
from helpers.needs import needed
from PIL import Image, features

from datasette_imgsim.ingest import decode

DRAW = """async url => {
    const image = new Image();
    image.src = url;
    await image.decode();
    document.body.replaceChildren(image);
    const {width, height} = image.getBoundingClientRect();
    return [width, height];
}"""


def shown(page, data, kind):
    """What the browser shows of a picture."""
    url = f"data:image/{kind.lower()};base64," + base64.b64encode(data).decode()
    width, height = page.evaluate(DRAW, url)
    screenshot = page.locator("img").screenshot()
    with Image.open(io.BytesIO(screenshot)) as image:
        assert image.size == (width, height)
        return image.convert("RGB")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_orientation_is_as_in_chromium(page, kind):
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    page.goto("about:blank")
    page.set_content("<style>body { margin: 0 } img { display: block }</style>")
    for orientation in range(1, 9):
        file = io.BytesIO()
        quarters((120, 90)).save(file, kind, exif=exif_of(Orientation=orientation))
        expected = shown(page, file.getvalue(), kind)
        found = decode.decode(io.BytesIO(file.getvalue()), 8, thumbnail_size=120)
        assert (found.facts.width, found.facts.height) == expected.size
        thumbnail = Image.open(io.BytesIO(found.thumbnail))
        difference = np.asarray(thumbnail, int) - np.asarray(expected, int)
        assert np.abs(difference).mean() < 6, orientation
