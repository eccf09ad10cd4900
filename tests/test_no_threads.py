"""Where threads cannot start, as in a browser (Datasette Lite)."""

import threading

import pytest
from helpers.databases import found
from helpers.serving import GALLERY, ask_one, serve

pytestmark = pytest.mark.datasette


@pytest.fixture
def no_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.asyncio
async def test_everything_is_done_where_it_is_asked_for(mapped, no_threads):
    ds = serve(mapped / "photos.db", settings={"num_sql_threads": 0})
    await ds.invoke_startup()
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20
    for path in ("", "/similar/3", "/similar/3.json", "/map", "/map.json?color=format&z=0",
                 "/tiles/0/0/0.jpg", "/thumbnail/3.jpg"):  # fmt: skip
        response = await ds.client.get(GALLERY + path)
        assert response.status_code == 200, path
        assert "is loading" not in response.text
    assert (await ds.client.get("/photos/images?_similar_to=3")).status_code == 200
