"""Spaces are loaded beside Datasette's queries, and again where they have changed."""

import asyncio
import inspect
import shutil
import threading
import time

import pytest
from helpers.commands import imgsim
from helpers.databases import (
    FAILED,
    add_images,
    change,
    found,
    found_ids,
    make_space,
    random_vectors,
    rows,
)
from helpers.loading import Told, loads_begun, values_held
from helpers.serving import ask, ask_one, ready, started, until
from helpers.waiting import LONG, eventually

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes
from datasette_imgsim.web.state import get_state

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = [
    pytest.mark.datasette,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.asyncio
async def test_the_configured_space_is_the_default(path):
    make_space(path, random_vectors(4), name="other")
    plugin = {"datasette-imgsim": {"space": "other"}}
    ds = await started(path, metadata={"databases": {"photos": {"plugins": plugin}}})
    cache = get_state(ds.get_database("photos")).indexes
    (load,) = await eventually(lambda: loads_begun(cache))  # before anybody asks
    assert load.done.wait(LONG)
    assert [held.space.name for held in values_held(cache)] == ["other"]
    query = "select imgsim_status()"
    await until(ds, query, lambda text: text.startswith("The space 'other' of the table"))
    named = 'select imgsim_status(\'{"space": "toy"}\')'
    assert "The space 'toy'" in await ask_one(ds, named)


@pytest.mark.asyncio
async def test_loading_starts_with_the_server(path, gate):
    ds = await started(path)
    await eventually(lambda: loads_begun(get_state(ds.get_database("photos")).indexes))


@pytest.mark.asyncio
async def test_a_call_waits_half_a_second_for_a_load(path, gate, monkeypatch):
    assert inspect.signature(indexes.Indexes.get).parameters["wait"].default == 0.5
    ds = await started(path, settings={"sql_time_limit_ms": 1000 * LONG})
    begin = time.monotonic()
    status, body = await ask(ds, "select similar_to(1)")
    # The load goes on for much longer.
    assert 0.5 <= time.monotonic() - begin < LONG / 2
    assert status == 400 and FAILED in str(body)
    sentence = "The space 'toy' is loading, 40 %"
    assert await ask_one(ds, "select imgsim_status()") == sentence
    monkeypatch.setattr(indexes.Indexes.get, "__defaults__", (LONG,))
    threading.Timer(0.1, gate.set).start()
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20


@pytest.mark.asyncio
async def test_loading_is_not_under_the_time_limit(path, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_a_read", 1)
    load = indexes.load

    def slow(conn, space, progress):
        return load(conn, space, Told(lambda share: time.sleep(0.01)))

    monkeypatch.setattr(indexes, "load", slow)
    ds = await started(path, settings={"sql_time_limit_ms": 50})
    assert len(found(await until(ds, "select similar_to(1)", bool))) == 20


@pytest.mark.asyncio
async def test_a_database_may_be_closed_while_it_is_read(path, gate):
    ds = await started(path)
    cache = get_state(ds.get_database("photos")).indexes
    await eventually(lambda: gate.begun)
    ds.get_database("photos").close()
    gate.set()
    (load,) = loads_begun(cache)
    assert load.done.wait(LONG) and load.error is None


@pytest.mark.asyncio
async def test_new_images_appear(path, quick):
    ds = await ready(await started(path))
    assert len(found(await ask_one(ds, "select similar_to(1, 99)"))) == 29
    add_images(path, random_vectors(5, seed=3), range(100, 105))
    await until(ds, "select similar_to(1, 99)", lambda text: len(found(text)) == 34)
    assert "35 images" in await ask_one(ds, "select imgsim_status()")


@pytest.mark.asyncio
async def test_images_embedded_while_the_server_runs_appear(copy_photos, quick):
    path = copy_photos / "photos.db"
    ds = await ready(await started(path))
    shutil.copy(copy_photos / "images" / "dots" / "3.jpg", copy_photos / "images" / "new.jpg")
    await asyncio.to_thread(imgsim, "embed", path, copy_photos / "images", "--quiet")
    old, new = rows(path, "select id from images where path like '%/3.jpg' and path like '%dots%' "
                          "or path like '%new%' order by id")  # fmt: skip
    query = f"select similar_to({old}, 1)"
    given = await until(ds, query, lambda text: found_ids(text) == [new])
    assert found(given) == [(new, 1)]


@pytest.mark.asyncio
async def test_the_status_tells_of_a_newer_version(path, gate, quick):
    gate.set()
    ds = await ready(await started(path))
    gate.clear()
    change(path, "update imgsim_spaces set generation = generation + 1")
    sentence = "The space 'toy' of the table 'images' is loaded: 30 images; a newer version "
    loading = await until(ds, "select imgsim_status()", lambda text: "40 %" in text)
    assert loading == sentence + "is loading, 40 %"
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20
    change(path, "update imgsim_spaces set centre = x'00000000'")
    gate.set()
    text = await until(ds, "select imgsim_status()", lambda text: "damaged" in text)
    assert text == sentence + "cannot be loaded: its centre is damaged"


@pytest.mark.asyncio
async def test_a_dropped_space_is_an_error(path, quick):
    make_space(path, random_vectors(4), name="other")
    ds = await ready(await started(path))
    query = 'select similar_to(1, 3, \'{"space": "toy"}\')'
    assert (await ask(ds, query))[0] == 200
    await asyncio.to_thread(imgsim, "drop", path, "toy")
    assert (await ask(ds, query))[0] == 400
    sentence = "No space 'toy': there is other"
    assert await ask_one(ds, 'select imgsim_status(\'{"space": "toy"}\')') == sentence
    ids = found_ids(await until(ds, "select similar_to(1)", bool))
    assert sorted(ids) == [2, 3, 4]


@pytest.mark.asyncio
async def test_a_file_with_other_content_under_the_same_name(path, tmp_path, quick):
    ds = await ready(await started(path))
    new = make_space(tmp_path / "new.db", random_vectors(5, 3), levels={"pool3": 3})
    path.write_bytes(new.read_bytes())
    ids = found_ids(await until(ds, "select similar_to(1)", bool))
    assert sorted(ids) == [2, 3, 4, 5]
