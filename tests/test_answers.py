"""What all pages answer: errors, waiting, headers, and what they never do."""

import hashlib
import re
from html import unescape
from pathlib import Path

import pytest
from datasette.app import Datasette
from helpers.commands import python
from helpers.databases import change
from helpers.serving import GALLERY, get_json, serve
from helpers.waiting import eventually

import datasette_imgsim
from datasette_imgsim.web import compat

pytestmark = pytest.mark.datasette

TEMPLATES = Path(datasette_imgsim.__file__).parent / "templates"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path,status,sentence",
    [
        ("/similar/3{}?_size=0", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_size=201", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_size=x", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_next=-1", 400, "_next is a whole number"),
        ("{}?_next=x", 400, "_next is the key of an image"),
        ("{}?_next=--5", 400, "_next is the key of an image"),
        ("/similar/--5{}", 404, "no image '--5'"),
        ("/similar/3{}?_size=000000001999999", 400, "_size is a whole number from 1 to 200"),
        pytest.param(
            "/similar/3{}?_size=" + "1" * 5000, 400, "_size is a whole number", id="digits"
        ),
        ("/similar/3{}?space=nope", 400, "No space 'nope'"),
        ("{}?space=nope", 400, "No space 'nope'"),
        ("/similar/3{}?level_weights=x", 400, "Level weights are written"),
        ("/similar/3{}?level_weights=pool9:1", 400, "no level 'pool9'"),
        ("/similar/99{}", 404, "There is no image '99'"),
        ("/similar/x~2Fy{}", 404, "There is no image 'x/y'"),
        ("/similar/99999999999999999999{}", 404, "There is no image"),
    ],
)
async def test_errors_are_one_sentence(photos, path, status, sentence):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, GALLERY + path.format(".json"), status)
    assert set(answer) == {"ok", "error"} and answer["ok"] is False and sentence in answer["error"]
    response = await ds.client.get(GALLERY + path.format(""))
    assert response.status_code == status and sentence in unescape(response.text)
    assert "Traceback" not in response.text


@pytest.mark.asyncio
async def test_a_query_of_datasette_that_takes_too_long_is_one_sentence(photos, monkeypatch):
    ds = serve(photos / "photos.db")

    async def slow(datasette, actor, database, table):
        numbers = "with recursive c(n) as (select 1 union all select n + 1 from c)"
        db = ds.get_database(database)
        await db.execute(f"{numbers} select max(n) from c", custom_time_limit=5)

    assert (await ds.client.get(GALLERY)).status_code == 200  # it has started
    monkeypatch.setattr(compat, "can_view", slow)
    for path in (".json", "/similar/3.json"):
        answer = await get_json(ds, GALLERY + path, 503)
        expected = "The database cannot be read just now (interrupted): try again later"
        assert answer["error"] == expected
    assert "Traceback" not in (await ds.client.get(GALLERY)).text
    filtered = await ds.client.get("/photos/images.json?_similar_to=3")
    assert filtered.status_code == 503 and "cannot be read just now (interrupted)" in filtered.text


@pytest.mark.asyncio
async def test_pages_say_that_a_space_is_loading(photos, gate):
    ds = serve(photos / "photos.db")
    for path in ("", "/similar/3"):
        response = await ds.client.get(GALLERY + path)
        assert response.status_code == 200
        assert "is loading" in response.text and "data-loading=" in response.text
        assert "no-store" in response.headers["cache-control"]
    for method, path in (("GET", "similar/3.json"), ("POST", "search")):
        response = await ds.client.request(method, f"{GALLERY}/{path}")
        answer = response.json()
        assert answer["ok"] is False and answer["loading"] and "is loading" in answer["error"]
        assert response.status_code == 503 and response.headers["retry-after"] == "1"
        assert "no-store" in response.headers["cache-control"]
    response = await ds.client.get(f"{GALLERY}.json")
    assert response.status_code == 200 and "is loading" in response.json()["loading"]
    assert "no-store" in response.headers["cache-control"]
    gate.set()

    async def is_loaded():
        response = await ds.client.get(f"{GALLERY}/similar/3.json")
        return response.json()["ok"] and response

    assert "cache-control" not in (await eventually(is_loaded)).headers


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql,sentence",
    [
        ("update _sqlite_migrations set name = 'm999' where name like 'm001%'", "newer"),
        ("delete from _sqlite_migrations", "older"),
    ],
)
async def test_databases_of_other_versions_are_named(copy_photos, sql, sentence):
    change(copy_photos / "photos.db", sql)
    ds = serve(copy_photos / "photos.db")
    for path in (GALLERY, f"{GALLERY}/similar/3"):
        response = await ds.client.get(path)
        assert response.status_code == 503 and sentence in response.text
    assert sentence in (await get_json(ds, f"{GALLERY}.json", 503))["error"]
    assert (await ds.client.get("/photos/images")).status_code == 200


@pytest.mark.asyncio
async def test_immutable_databases_are_served_and_never_written(photos, tmp_path):
    database = tmp_path / "photos.db"
    database.write_bytes((photos / "photos.db").read_bytes())
    before = hashlib.sha256(database.read_bytes()).digest()
    for immutable in (True, False):
        ds = serve(database, immutable=immutable)
        for path in ("", ".json", "/similar/3", "/similar/3.json", "/thumbnail/3.jpg"):
            assert (await ds.client.get(GALLERY + path)).status_code == 200, path
    assert hashlib.sha256(database.read_bytes()).digest() == before


@pytest.mark.asyncio
async def test_cors_is_honoured(photos):
    ds = Datasette([str(photos / "photos.db")], cors=True)
    for path in (".json", "/similar/99.json", "/thumbnail/3.jpg"):
        response = await ds.client.get(GALLERY + path)
        assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.asyncio
@pytest.mark.parametrize("cors", [True, False])
async def test_a_browser_may_ask_first_whether_another_site_may_send(photos, cors):
    ds = Datasette([str(photos / "photos.db")], cors=cors)
    asked = {
        "origin": "https://a.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    for path in ("/search", "/similar/3.json"):
        response = await ds.client.request("OPTIONS", GALLERY + path, headers=asked)
        assert response.status_code == 200 and response.text == "ok"
        assert response.headers.get("access-control-allow-origin") == ("*" if cors else None)
        if cors:
            allowed = response.headers["access-control-allow-headers"].lower()
            assert "content-type" in allowed and "authorization" in allowed
            assert "POST" in response.headers["access-control-allow-methods"]


def test_serving_imports_no_network_library(photos):
    code = f"""
import asyncio, sys
from datasette.app import Datasette
ds = Datasette([{str(photos / "photos.db")!r}])
async def main():
    for path in ("", "/similar/3", "/thumbnail/3.jpg"):
        assert (await ds.client.get({GALLERY!r} + path)).status_code == 200
asyncio.run(main())
print([name for name in ("torch", "torchvision", "sklearn") if name in sys.modules])
"""
    assert python(code).strip() == "[]"


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_templates_have_nothing_that_a_strict_policy_forbids(template):
    text = template.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)


@pytest.mark.asyncio
async def test_a_file_that_was_replaced_is_told(copy_photos):
    """Connections from before would show the one state, and those made later the other."""
    database = copy_photos / "photos.db"
    ds = serve(database)
    assert (await ds.client.get(GALLERY)).status_code == 200
    (copy_photos / "new.db").write_bytes(database.read_bytes())
    (copy_photos / "new.db").replace(database)
    for path in ("", "/similar/3", "/thumbnail/3.jpg"):
        response = await ds.client.get(GALLERY + path)
        assert response.status_code == 503 and "start Datasette again" in response.text
    assert (await serve(database).client.get(GALLERY)).status_code == 200
