"""A space that is dropped, or a file that is replaced, while Datasette serves it: one state."""

import asyncio
import os
import time
from collections import defaultdict

import pytest
from helpers.commands import imgsim
from helpers.databases import change, copy_space, lay_out, make_space, random_vectors
from helpers.serving import GALLERY, ask, get_json, ready, serve, started

pytestmark = [pytest.mark.datasette, pytest.mark.asyncio]

PATHS = (
    "",
    ".json",
    "/similar/1",
    "/similar/1.json",
    "/map",
    "/map.json",
    "/tiles/0/0/0.jpg",
    "/thumbnail/1.jpg",
)
QUERIES = ("select similar_to(1)", "select imgsim_score(1, 2)", "select hex(imgsim_vector(3))")


async def several(get, times=12):
    """The answers to so many requests at once, which Datasette's threads share."""
    return await asyncio.gather(*(get() for _ in range(times)))


async def answers(ds):
    """{request: the statuses that it has given}, of our pages, the table's filters and uploads."""
    found = defaultdict(set)
    paths = [GALLERY + path for path in PATHS]
    paths += ["/photos/images?_similar_to=1&_similar_min=0", "/photos/images?_in_atlas=0,0,99,99"]
    for path in paths:
        for response in await several(lambda path=path: ds.client.get(path)):
            found[path].add(response.status_code)
    for response in await several(lambda: ds.client.post(f"{GALLERY}/search", content=b"x")):
        found["upload"].add(response.status_code)
    return found


async def in_sql(ds):
    """{query: its answers}"""
    found = defaultdict(set)
    for sql in (*QUERIES, "select imgsim_status()"):
        for status, body in await several(lambda sql=sql: ask(ds, sql)):
            found[sql].add(body["rows"][0][0] if status == 200 and body["rows"] else "refused")
        # What follows is not of the same statement.
        time.sleep(0.25)
    return found


def two_states(path):
    """A database with a map."""
    make_space(path, random_vectors(30))
    lay_out(path, {id: (id, id) for id in range(1, 31)})
    return path


async def test_a_replaced_file_is_told_everywhere_and_never_mixed_with_the_old_one(tmp_path):
    path, other = two_states(tmp_path / "photos.db"), tmp_path / "new.db"
    ds = await ready(await started(path))
    await answers(ds)
    make_space(other, random_vectors(9, seed=1), name="other")
    os.replace(other, path)
    for request, statuses in (await answers(ds)).items():
        assert statuses == {503}, request
    found = await in_sql(ds)
    (status,) = found.pop("select imgsim_status()")
    assert "'photos' was replaced by another one: start Datasette again" in status
    assert all(states == {"refused"} for states in found.values()), found
    for table in ("imgsim_vectors", "imgsim_spaces"):
        for response in await several(lambda table=table: ds.client.get(f"/photos/{table}")):
            assert response.status_code == 403
    for path in ("/photos/images", "/photos"):
        for response in await several(lambda path=path: ds.client.get(path)):
            assert response.status_code == 200 and "/-/imgsim" not in response.text


@pytest.mark.parametrize("left", ["another", "none"])
async def test_a_dropped_space_is_gone_at_once_everywhere(tmp_path, left):
    path = two_states(tmp_path / "photos.db")
    if left == "another":
        make_space(path, random_vectors(30, seed=3), name="second")
    ds = await ready(await started(path))
    before = await answers(ds)
    imgsim("drop", path, "toy")
    after = await answers(ds)
    for request, statuses in after.items():
        assert len(statuses) == 1, request
        # Without its model, an upload is refused before and after.
        assert statuses < {200, 404} or statuses == before[request] == {503}, request
    if left == "another":
        (status,) = (await in_sql(ds))["select imgsim_status()"]
        assert "'second'" in status
        assert after[f"{GALLERY}/similar/1.json"] == before[f"{GALLERY}/similar/1.json"] == {200}
    else:
        found = await in_sql(ds)
        assert "There are no vectors for this database yet" in str(
            found.pop("select imgsim_status()")
        )
        assert all(states == {"refused"} for states in found.values())
    if left == "another":
        refused = await get_json(ds, f"{GALLERY}.json?space=toy", 400)
        assert refused["error"] == "No space 'toy': there is second"


@pytest.mark.parametrize("of_database", [False, True])
async def test_a_configured_space_that_is_dropped_is_told_everywhere(tmp_path, of_database):
    path = two_states(tmp_path / "photos.db")
    make_space(path, random_vectors(30, seed=3), name="second")
    plugin = {"space": "second"}
    config = {"databases": {"photos": {"plugins": {"datasette-imgsim": plugin}}}}
    ds = serve(path, None if of_database else plugin, **(config if of_database else {}))
    await ready(ds)
    imgsim("drop", path, "second")
    sentence = "The space 'second', which the configuration of the server names, is not in"
    for name in (".json", "/similar/1.json", "/map.json", "/tiles/0/0/0.jpg"):
        assert sentence in (await get_json(ds, GALLERY + name, 400))["error"]
    for query in ("_similar_to=1", "_in_atlas=0,0,9,9"):
        response = await ds.client.get(f"/photos/images.json?{query}")
        assert response.status_code == 400 and sentence in response.text
    found = await in_sql(ds)
    assert sentence in found.pop("select imgsim_status()").pop()
    assert all(states == {"refused"} for states in found.values())
    assert (await ds.client.get("/photos/images")).status_code == 200


async def test_a_space_configured_for_several_databases_may_be_in_some_only(tmp_path):
    with_it, without = two_states(tmp_path / "photos.db"), two_states(tmp_path / "zoo.db")
    copy_space(with_it, "second", "images")
    config = {"plugins": {"datasette-imgsim": {"space": "second"}}}
    ds = await started([with_it, without], metadata=config)
    await get_json(ds, f"{GALLERY}.json")
    await get_json(ds, "/zoo/images/-/imgsim/similar/1.json")


async def test_a_dropped_table_is_told(tmp_path):
    path = two_states(tmp_path / "photos.db")
    ds = await ready(await started(path))
    change(path, "drop table images")
    for statuses in (await answers(ds)).values():
        assert statuses == {404}
    found = await in_sql(ds)
    assert "The table 'images' is gone" in found.pop("select imgsim_status()").pop()
    assert all(states == {"refused"} for states in found.values())
