"""What a page says about its scripts, so that a browser can ask for all of them at once."""

import re
from urllib.parse import urljoin

import pytest
from helpers.maps import MAP
from helpers.serving import GALLERY, serve

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]


@pytest.mark.parametrize("path", [GALLERY, f"{GALLERY}/similar/3", f"{GALLERY}/duplicates", MAP])
async def test_all_that_scripts_import_is_named_in_the_page(mapped, path):
    ds = serve(mapped / "photos.db", settings={"base_url": "/pre/"})
    html = (await ds.client.get(path)).text
    named = re.findall(r'<link rel="modulepreload" href="([^"]+)">', html)
    scripts = re.findall(r'<script type="module" src="([^"]*datasette-imgsim[^"]*)">', html)
    imported = set()
    for url in [*named, *scripts]:
        answer = await ds.client.get(url.removeprefix("/pre"))
        assert answer.status_code == 200, url
        ours = re.findall(r'(?:from|import) "(\./[^"]+)"', answer.text)
        imported |= {urljoin(url, each) for each in ours}
    leaflet = set(re.findall(r'data-leaflet="([^"]+)"', html))
    assert set(named) == imported | leaflet and len(named) == len(set(named))
    assert all(url.endswith(".min.js") for url in leaflet)
