"""The SQL functions in Datasette."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from datasette.app import Datasette
from datasette.database import Database
from helpers.databases import FAILED, answer, found, make_space, random_vectors
from helpers.loading import loads_begun
from helpers.serving import ask, ask_one, ready, serve, started, until

from datasette_imgsim.web.state import get_state

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = [
    pytest.mark.datasette,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.asyncio
async def test_a_query_joins_images(toys):
    ds = await ready(await started(toys))
    status, body = await ask(
        ds,
        """
        select images.id, round(json_extract(value, '$.score'), 4)
        from json_each(similar_to(:id)) join images on images.id = json_extract(value, '$.id')
        order by json_each.key
        """,
        id="7",
    )
    wanted = found(answer(toys, "select similar_to(7)"))
    assert status == 200
    assert body["rows"] == [[id, round(score, 4)] for id, score in wanted]


@pytest.mark.asyncio
@pytest.mark.parametrize("query", ("similar_to(1, 3, '{}}')", "imgsim_score(1, 2, '[]')"))
async def test_misuse_is_a_bad_request(toys, query):
    ds = await ready(await started(toys))
    status, body = await ask(ds, f"select {query}")
    assert status == 400 and FAILED in str(body)


@pytest.mark.asyncio
async def test_a_time_limit_met_in_our_own_query_is_a_time_limit(toys):
    ds = await ready(await started(toys, settings={"sql_time_limit_ms": 1000}))
    query = "select sum(imgsim_distance(a.id, b.id)) from images a, images b, images c, images d"
    status, body = await ask(ds, query)
    assert status == 400 and ("took too long" in str(body) or "interrupted" in str(body))
    assert FAILED not in str(body)
    assert len(found(await ask_one(ds, "select similar_to(1)"))) == 20


@pytest.mark.asyncio
async def test_an_immutable_database(path):
    ds = Datasette([], immutables=[str(path)])
    await ds.invoke_startup()
    assert len(found(await until(ds, "select similar_to(1)", bool))) == 20


@pytest.mark.asyncio
async def test_databases_do_not_mix(tmp_path):
    paths = []
    for number, name in enumerate(("a", "b", "c")):
        vectors = random_vectors(10, seed=number)
        paths.append(make_space(tmp_path / f"{name}.db", vectors))
    ds = await started(paths)
    for path in paths * 2:
        given = await until(ds, "select similar_to(1, 99)", bool, path.stem)
        assert given == answer(path, "select similar_to(1, 99)")


@pytest.mark.asyncio
async def test_a_memory_database_without_tables():
    ds = Datasette(memory=True)
    text = await ask_one(ds, "select imgsim_status()", "_memory")
    assert text.startswith("This database holds no vectors")
    assert (await ask(ds, "select similar_to(1)", "_memory"))[0] == 400


@pytest.mark.asyncio
async def test_memory_databases_with_names(tmp_path):
    ds = Datasette()
    paths = [
        make_space(tmp_path / f"{name}.db", random_vectors(9, seed=seed))
        for seed, name in enumerate(("one", "two"))
    ]
    for path in paths:
        db = ds.add_database(Database(ds, memory_name=path.stem), name=path.stem)
        with closing(sqlite3.connect(path)) as source:
            script = "\n".join(source.iterdump())
        await db.execute_write_fn(lambda conn, script=script: conn.executescript(script) and None)
    for path in paths:
        given = await until(ds, "select similar_to(1)", bool, path.stem)
        assert given == answer(path, "select similar_to(1)")
        assert loads_begun(get_state(ds.get_database(path.stem)).indexes)


@pytest.mark.asyncio
async def test_many_at_once(toys):
    ds = await started(toys)
    ids = [1 + number % 30 for number in range(60)]
    given = await asyncio.gather(*(ask_one(ds, f"select similar_to({id})") for id in ids))
    assert given == [answer(toys, f"select similar_to({id})") for id in range(1, 31)] * 2


@pytest.mark.asyncio
async def test_a_canned_query_runs_before_its_parameters_are_given(toys):
    sql = "select json_array_length(similar_to(:id, :k, :options)) as hits"
    queries = {"photos": {"queries": {"like": {"sql": sql}}}}
    ds = await ready(serve(toys, databases=queries))
    for query, hits in (("", 0), ("?id=1", 20), ("?id=1&k=3", 3), ("?id=1&k=&options=", 20)):
        response = await ds.client.get(
            f"/photos/like.json{query}{'&' if query else '?'}_shape=array"
        )
        assert response.status_code == 200 and response.json() == [{"hits": hits}], query
        assert (await ds.client.get(f"/photos/like{query}")).status_code == 200


@pytest.mark.asyncio
async def test_an_attached_database_is_named_as_the_place_to_ask(toys):
    ds = Datasette([str(toys)], crossdb=True)
    text = await ask_one(ds, "select imgsim_status()", "_memory")
    assert text.endswith("not where it is attached: run the query in photos")
