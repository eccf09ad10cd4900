"""Engines for vectors: those of other packages, and what is said without Milvus."""

import sys

import pytest
from datasette.plugins import pm
from helpers import engine
from helpers.commands import imgsim
from helpers.databases import add_images, change, expected_scores, found, random_vectors
from helpers.serving import GALLERY, ask_one, get_json, serve, until

pytestmark = pytest.mark.datasette


@pytest.fixture
def dictionaries():
    pm.register(engine, name="dictionaries")
    yield
    pm.unregister(engine)


@pytest.mark.asyncio
async def test_an_engine_of_another_package(path, dictionaries, quick, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    push = ("push", path, "here", "--engine", "dictionaries")
    assert "30 images brought; here has a new version" in imgsim(*push)
    change(path, "delete from images where id = 3")
    place = str(path.parent / "here")
    engine.Dictionaries.places[place, "secret"] = engine.Dictionaries.places["here", "secret"]
    ds = serve(path, {"engine": {"dictionaries": "here", "token": "secret"}})
    status = "The space 'toy' of the table 'images' is in the engine: 30 images"
    await until(ds, "select imgsim_status()", lambda text: text == status)
    scores = expected_scores(path)[7]
    expected = sorted((id for id in scores if id not in (3, 7)), key=lambda id: -scores[id])
    assert [id for id, _ in found(await ask_one(ds, "select similar_to(7, 40)"))] == expected
    page = await get_json(ds, f"{GALLERY}/similar/7.json?_size=10")
    assert [row["id"] for row in page["rows"]] == expected[:10]
    add_images(path, random_vectors(1, seed=4), [31])
    assert "1 brought, 29 unchanged, 1 removed" in imgsim(*push)
    await until(ds, "select similar_to(7, 40)", lambda text: 31 in dict(found(text)))


@pytest.mark.asyncio
async def test_without_the_extra_a_sentence_names_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    needed = "Milvus needs \"pip install 'datasette-imgsim[milvus]'\""
    assert needed in imgsim("push", path, path.parent / "a.milvus.db", exit_code=1)
    ds = serve(path, {"engine": {"milvus": "a.milvus.db"}})
    await until(ds, "select imgsim_status()", lambda text: needed in text)
    assert needed in (await ds.client.get(GALLERY)).text.replace("&#34;", '"').replace("&#39;", "'")
