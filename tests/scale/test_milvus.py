"""Search in Milvus: the pages and SQL of vectors in memory, and one version or the other."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from helpers.commands import TOY, embed, imgsim
from helpers.databases import (
    FAILED,
    KEYS,
    add_images,
    change,
    expected_scores,
    found,
    found_ids,
    make_space,
    random_vectors,
    rows,
    set_centre,
    space_of,
)
from helpers.milvus import Server
from helpers.needs import package
from helpers.serving import GALLERY, ask, ask_one, cookies, get_json, serve, until

from datasette_imgsim import Collection
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import milvus
from datasette_imgsim.search.engine import key_of

package("milvus_lite")
pymilvus = package("pymilvus")

COUNT = 1800
LEVELS = {"pool4": 24, "pool5": 16}
SETTINGS = [None, {"pool4": 1}, {"pool5": 1}, {"pool4": 1, "pool5": 0.2}]
FILE = "vectors.milvus.db"
BEST = (
    "select group_concat(id) from (select id from images order by imgsim_score(id, 7) desc limit 9)"
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No old version is kept, and versions are looked up every time."""
    monkeypatch.setattr(LIMITS, "seconds_of_old_version", 0)
    monkeypatch.setattr(LIMITS, "seconds_between_reloads", 0)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", -1)


@pytest.fixture
def unhurried(monkeypatch):
    """The usual times: a statement uses one index, and vectors are kept for a moment."""
    monkeypatch.setattr(LIMITS, "seconds_between_reloads", 10)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", 0.2)


@pytest.fixture
def path(tmp_path):
    """photos.db with a space of 30 images that no other test makes."""
    path = make_space(tmp_path / "photos.db", random_vectors(30))
    change(path, "update imgsim_spaces set created_at = ?", str(tmp_path))
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / FILE)
    yield server
    server.stop()


@pytest.fixture
def server(tmp_path):
    """A server that a test may end or stop."""
    server = Server(tmp_path / FILE)
    yield server
    server.stop()


@pytest.fixture
def many(tmp_path):
    """photos.db with images of 50 kinds: so few that all are in the sample."""
    kinds = random_vectors(50, 40)
    vectors = kinds[[n % 50 for n in range(COUNT)]] + random_vectors(COUNT, 40, seed=1)
    return make_space(tmp_path / "photos.db", vectors, levels=LEVELS)


def push(path, uri=FILE, *options, **checked):
    uri = uri if "://" in str(uri) else path.parent / uri
    return imgsim("push", path, uri, *options, **checked)


def served(path, uri=FILE, timeout_ms=990, **config):
    """A Datasette whose vectors are in Milvus; like a user's, it knows the place by its folder."""
    engine = {"milvus": str(uri), "timeout_ms": timeout_ms}
    return serve(path, {"engine": engine}, settings={"sql_time_limit_ms": 60_000}, **config)


def in_order(scores, id, k=20):
    """(id, score) of the best, as `found` gives them."""
    others = ((other, score) for other, score in scores[id].items() if other != id)
    return sorted(others, key=lambda pair: (-round(pair[1], 6), pair[0]))[:k]


@pytest.mark.asyncio
@pytest.mark.parametrize("index", ["ivf_sq8", "hnsw"])
async def test_the_best_are_found_for_all_level_weights(many, index):
    assert "1,800 images brought" in push(many, FILE, "--index", index)
    ds = served(many)
    for weights in SETTINGS:
        scores = expected_scores(many, weights)
        hits = 0
        for id in range(1, COUNT, 45):
            options = {"level_weights": weights} if weights else {}
            text = await ask_one(ds, "select similar_to(:id, 20, :o)", id=id, o=json.dumps(options))
            answer, expected = found(text), dict(in_order(scores, id))
            for other, score in answer:
                assert score == pytest.approx(scores[id][other], abs=2e-6)
            hits += len(expected.keys() & dict(answer).keys())
        assert hits / (40 * 20) >= 0.99


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KEYS)
async def test_keys_of_each_kind(tmp_path, kind):
    key = kind.split(",")[0]
    path = make_space(tmp_path / "photos.db", random_vectors(30), KEYS[kind], key=key)
    push(path)
    ds, scores, id = served(path), expected_scores(path), KEYS[kind][7]
    answer = found(await ask_one(ds, "select similar_to(:id, 29)", id=id))
    assert [other for other, _ in answer] == [other for other, _ in in_order(scores, id, 29)]
    assert json.loads(await ask_one(ds, "select similar_to('not there')")) == []


@pytest.mark.asyncio
async def test_pages_filters_and_examples_are_those_of_memory(many, unhurried):
    push(many)
    here, there = serve(many), served(many)
    for path in (
        f"{GALLERY}/similar/7.json?_size=100",
        f"{GALLERY}/similar/7.json?plus=9&plus=12&minus=40",
        f"{GALLERY}/similar/7.json?level_weights=pool5:1",
        "/photos/images.json?_similar_to=7&_similar_min=99&_shape=array",
        f"{GALLERY}.json?_similar_to=7&year=2000",
    ):
        expected, answer = [await get_json(ds, path) for ds in (here, there)]
        assert answer == expected
    html = (await there.client.get(f"{GALLERY}/similar/7")).text
    assert "imgsim-tile" in html
    for sql in (
        "select imgsim_percentile(0.5)",
        "select round(imgsim_score(7, 9), 5)",
        """select similar_to(7, 10, '{"plus": [9], "minus": [40, 41]}')""",
        BEST,
    ):
        assert await ask_one(there, sql) == await ask_one(here, sql)


@pytest.mark.asyncio
async def test_a_picture_of_a_visitor(folder):
    embed(folder, *TOY)
    path = folder / "photos.db"
    push(path)
    body = (folder / "images/1.jpg").read_bytes()
    answers = []
    for ds in (serve(path), served(path)):
        response = await ds.client.post(f"{GALLERY}/search", content=body)
        assert response.status_code == 200
        answers.append([(row["id"], row["score"]) for row in response.json()["rows"]])
    assert answers[0] == answers[1] and len(answers[0]) == 3


@pytest.mark.asyncio
async def test_what_is_new_changed_and_gone(path):
    assert "30 images brought; " in push(path)
    assert "0 brought, 30 unchanged, 0 removed" in push(path)
    ds = served(path)
    change(path, "delete from images where id = 3")
    assert 3 not in found_ids(await ask_one(ds, "select similar_to(1, 30)"))
    change(path, "delete from imgsim_vectors where image_key = 4")
    add_images(path, random_vectors(2, seed=8), [4, 31])
    assert 31 not in found_ids(await ask_one(ds, "select similar_to(1, 30)"))
    assert found_ids(await ask_one(ds, "select similar_to(31, 1)"))  # it can be asked for
    assert await ask_one(ds, "select imgsim_status()") == (
        "The space 'toy' of the table 'images' is in the engine: 30 images; a newer version has "
        "not been pushed yet"
    )
    assert "2 brought, 28 unchanged, 1 removed" in push(path)
    change(path, "delete from imgsim_vectors where image_key = 3")
    await until(ds, "select imgsim_status()", lambda text: text.endswith(": 30 images"))
    answer = found(await ask_one(ds, "select similar_to(1, 30)"))
    assert [id for id, _ in answer] == [id for id, _ in in_order(expected_scores(path), 1, 30)]


@pytest.mark.asyncio
async def test_the_vectors_may_be_in_the_engine_alone(many, unhurried):
    push(many)
    scores = expected_scores(many)
    change(many, "delete from imgsim_vectors")
    ds = served(many)
    answer, expected = found(await ask_one(ds, "select similar_to(7)")), in_order(scores, 7)
    assert [id for id, _ in answer] == [id for id, _ in expected]
    assert dict(answer) == pytest.approx(dict(expected), abs=2e-6)
    best = [7, *(id for id, _ in in_order(scores, 7, 8))]
    assert await ask_one(ds, BEST) == ",".join(map(str, best))
    assert "has no vectors in this database to push" in push(many, exit_code=1)


@pytest.mark.asyncio
async def test_who_searches_meanwhile_sees_one_version_or_the_other(path, running, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_of_old_version", 3)
    push(path, running.uri)
    ds = served(path, running.uri)
    sql = "select similar_to(1, 40)"
    before = found_ids(await ask_one(ds, sql))
    add_images(path, 5 * random_vectors(20, seed=5), range(31, 51))
    set_centre(path)
    pushing = threading.Thread(target=push, args=(path, running.uri))
    pushing.start()
    answers = []
    while pushing.is_alive():
        answers.append(set(found_ids(await ask_one(ds, sql))))
    after = found_ids(await ask_one(ds, sql))
    assert len(before) == 29 and len(after) == 40
    assert all(answer <= set(before) or len(answer) == 40 for answer in answers)
    assert answers[0] == set(before) and answers[-1] == set(after)
    assert len(collections(running.uri, path)) == 1


def collections(uri, path):
    """The collections that a server has of the space of a database."""
    with closing(sqlite3.connect(path)) as conn:
        key = key_of(space_of(conn))
    client = pymilvus.MilvusClient(uri)
    names = [name for name in client.list_collections() if name.startswith(key)]
    client.close()
    return names


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["put", "put_centre"])
async def test_ctrl_c_leaves_the_old_version(path, running, monkeypatch, where):
    push(path, running.uri)
    (old,) = collections(running.uri, path)
    ds = served(path, running.uri)
    before = await ask_one(ds, "select similar_to(1)")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(milvus.Collection, where, interrupted)
        said = push(path, running.uri, "--index", "hnsw", exit_code=130)
        assert "the same command" in said
    assert collections(running.uri, path) == [old]
    assert await ask_one(ds, "select similar_to(1)") == before
    assert "a new version" in push(path, running.uri, "--index", "hnsw")


DOWN = "Milvus does not answer within 0.99 s"


@pytest.mark.asyncio
@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGSTOP, signal.SIGCONT)])
async def test_an_engine_that_is_down_or_slow_is_one_sentence(path, server, signals):
    push(path, server.uri)
    ds = served(path, server.uri)
    before = await ask_one(ds, "select similar_to(1)")
    server.send(signals[0])
    status, body = await ask(ds, "select similar_to(5)")
    assert status == 400 and body["error"] == FAILED
    assert await ask_one(ds, "select imgsim_status()") == DOWN
    assert (await get_json(ds, f"{GALLERY}/similar/2.json", 503))["error"] == DOWN
    response = await ds.client.get(f"{GALLERY}/similar/2")
    assert response.status_code == 503 and DOWN in response.text
    filtered = await ds.client.get("/photos/images?_similar_to=1")
    assert filtered.status_code == 503 and DOWN in filtered.text
    for page in ("/photos/images", GALLERY, "/photos/images/1", "/photos", "/"):
        assert (await ds.client.get(page)).status_code == 200
    assert await ask_one(ds, "select count(*) from images") == 30
    if signals[1:]:
        server.send(signals[1])
    else:
        server.stop()
        server.start()
    await until(ds, "select similar_to(1)", lambda text: text == before)


@pytest.mark.asyncio
async def test_a_server_that_starts_without_its_engine(path, server):
    push(path, server.uri)
    server.stop()
    ds = served(path, server.uri)
    await ds.invoke_startup()
    sentence = f"The space 'toy' cannot be loaded: {DOWN}"
    await until(ds, "select imgsim_status()", lambda text: text == sentence)
    html = (await ds.client.get(GALLERY)).text
    assert DOWN in html
    server.start()
    await until(ds, "select similar_to(1)", lambda text: found_ids(text))


@pytest.mark.asyncio
async def test_a_space_that_was_not_pushed(path):
    sentence = (
        "The space 'toy' cannot be loaded: it was not pushed to the engine yet: run "
        "'datasette imgsim push DATABASE URI'"
    )
    await until(served(path), "select imgsim_status()", lambda text: text == sentence)


@pytest.mark.asyncio
async def test_who_may_not_view_the_table_gets_nothing(path):
    push(path)
    allowed = {"photos": {"tables": {"images": {"allow": {"id": "ann"}}}}}
    ds = served(path, databases=allowed)
    for page in (f"{GALLERY}/similar/1.json", "/photos/images.json?_similar_to=1"):
        assert (await ds.client.get(page)).status_code == 403
        assert (await ds.client.get(page, cookies=cookies(ds, "ann"))).status_code == 200


@pytest.mark.asyncio
async def test_more_than_the_engine_finds_is_a_sentence(path, monkeypatch):
    push(path)
    ds = served(path)
    assert len(found(await ask_one(ds, "select similar_to(1, 20000)"))) == 29
    body = await get_json(ds, f"{GALLERY}/similar/1.json?_next=8191", 400)
    assert body["error"] == "Of so many images only the best 8,191 are ranked"
    monkeypatch.setattr(milvus.Milvus, "most", 20)
    ds = served(path)
    assert (await ask(ds, "select similar_to(1, 21)"))[1]["error"] == FAILED
    body = await get_json(ds, f"{GALLERY}/similar/1.json?_size=5", 503)
    assert body["error"].startswith("The engine finds at most 20 images, not 30: ask for fewer")


@pytest.mark.asyncio
async def test_images_that_a_search_lost_are_a_sentence(path, monkeypatch):
    """As a graph does that is cut into pieces, say by a filter."""
    push(path)
    monkeypatch.setattr(
        pymilvus.MilvusClient, "search", lambda self, *arguments, **options: [[{"id": 2}]]
    )
    body = await get_json(served(path), f"{GALLERY}/similar/1.json", 503)
    assert body["error"].startswith("Milvus found only 1 of 30 images: push the space again")


def test_a_folder_that_another_program_has_open(path):
    hold = "import sys, pymilvus; c = pymilvus.MilvusClient(sys.argv[1]); print(); input()"
    command = [sys.executable, "-c", hold, str(path.parent / FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert "only one program at a time may have it open" in push(path, exit_code=1)
        other.communicate(b"\n")
    assert "30 images brought" in push(path)


@pytest.mark.parametrize(
    "uri,options,sentence",
    [
        ("photos.db", (), "is no place for vectors"),
        ("folder", (), "is no place for vectors"),
        ("no/folder/a.milvus.db", (), "There is no folder"),
        (FILE, ("--index", "flat"), "The index is one of ivf_sq8, hnsw and diskann"),
        (FILE, ("--index", "diskann"), "Milvus says: "),
        (FILE, ("--engine", "other"), "An engine is one of milvus, not 'other'"),
        (FILE, ("--space", "other"), "No space 'other'"),
        ("http://127.0.0.1:1", (), "Milvus does not answer"),
    ],
)
def test_what_cannot_be_pushed_is_a_sentence(path, uri, options, sentence):
    said = push(path, uri, *options, exit_code=1)
    assert sentence in said and "Traceback" not in said


def test_another_database_whose_space_was_made_in_the_same_second(path, tmp_path):
    push(path)
    other = make_space(tmp_path / "other.db", random_vectors(30, seed=9))
    (made,) = rows(path, "select created_at from imgsim_spaces")
    change(other, "update imgsim_spaces set created_at = ?", made)
    assert "a space 'toy' of another database" in push(other, exit_code=1)


def test_of_python(path):
    done = Collection(path).push(path.parent / FILE)
    assert (done.put, done.is_new, done.kind) == (30, True, "ivf_sq8")
    assert rows(path, "select count(*) from imgsim_vectors") == [30]
