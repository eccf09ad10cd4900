"""The walk from one image to another: in SQL, in Python, on the command line and on the page."""

import json
import sqlite3
import threading
from html import unescape

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import (
    FAILED,
    KEYS,
    answer,
    answers,
    change,
    make_space,
    mapped_space,
    random_vectors,
)
from helpers.loading import stand_at
from helpers.serving import GALLERY, ask, get_json, links, ready, serve, until
from helpers.waiting import LONG

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.progress import silent
from datasette_imgsim.search import graph, paths

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

COUNT, K = 60, 3


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    path = make_space(tmp_path_factory.mktemp("paths") / "photos.db", random_vectors(COUNT))
    imgsim("neighbours", path, "-k", K)
    return path


@pytest.fixture
def path(made_once, tmp_path):
    """A database of 60 images with 3 neighbours each."""
    (tmp_path / "photos.db").write_bytes(made_once.read_bytes())
    return tmp_path / "photos.db"


def walk(database, a, b):
    """[(id, score)]"""
    steps = json.loads(answer(database, "select imgsim_path(?, ?)", a, b))
    assert all(set(step) == {"id", "score"} for step in steps)
    return [(step["id"], step["score"]) for step in steps]


def scores_between(database):
    """{(id, id): score}, both ways, of all stored neighbours."""
    sql = "select image_key, neighbour_key, score from imgsim_neighbours"
    stored = {(a, b): score for a, b, score in answers(database, sql)}
    return stored | {(b, a): score for (a, b), score in stored.items()}


def shortest_lengths(database, without=()):
    """The matrix of all shortest ways (Floyd 1962, doi 10.1145/367766.368168)."""
    lengths = np.full((COUNT + 1, COUNT + 1), np.inf)
    np.fill_diagonal(lengths, 0)
    for (a, b), score in scores_between(database).items():
        if not {a, b} & set(without):
            lengths[a, b] = 1 - score
    for middle in range(COUNT + 1):
        lengths = np.minimum(lengths, lengths[:, [middle]] + lengths[[middle]])
    return lengths


def check(database, a, b, lengths):
    """A way that is found is made of neighbours, and as short as can be."""
    steps, scores = walk(database, a, b), scores_between(database)
    if np.isinf(lengths[a, b]):
        assert steps == []
        return
    assert steps[0] == (a, None) and steps[-1][0] == b
    for (before, _), (after, score) in zip(steps, steps[1:]):
        assert score == scores[before, after]
    assert sum(1 - score for _, score in steps[1:]) == pytest.approx(lengths[a, b], abs=1e-5)


def test_it_is_the_shortest(path):
    lengths = shortest_lengths(path)
    for a, b in np.random.default_rng(0).integers(1, COUNT + 1, (60, 2)).tolist():
        check(path, a, b, lengths)
    farthest = np.unravel_index(np.argmax(np.where(np.isinf(lengths), 0, lengths)), lengths.shape)
    assert len(walk(path, *map(int, farthest))) > 4


def test_back_is_the_same_way(path):
    there, back = walk(path, 3, 40), walk(path, 40, 3)
    assert [id for id, _ in there] == [id for id, _ in reversed(back)]


def test_it_leads_around_rows_that_were_deleted_by_hand(path):
    before = [id for id, _ in walk(path, 3, 40)]
    assert len(before) > 3
    gone = before[1:-1]
    for id in gone:
        change(path, "delete from images where id = ?", id)
    check(path, 3, 40, shortest_lengths(path, gone))
    change(path, "delete from images where id = 40")
    assert walk(path, 3, 40) == []


def test_it_leads_around_rows_that_are_deleted_while_it_is_in_memory(path):
    conn = sqlite3.connect(path)
    space = Collection(path).spaces()["toy"]
    loaded = graph.load(conn, space)
    table = paths.SourceTable.read(conn, "images")
    ids = [step.id for step in paths.path(conn, loaded, table, 3, 40)]
    conn.execute("delete from images where id = ?", [ids[1]])
    found = [step.id for step in paths.path(conn, loaded, table, 3, 40)]
    assert ids[1] not in found and found[0] == 3 and found[-1] == 40
    conn.execute("delete from images where id = 3")
    assert paths.path(conn, loaded, table, 3, 40) == []
    conn.close()


def test_what_is_not_connected(tmp_path):
    vectors = np.full((20, 10), 0.01)
    vectors[:10, :3] += random_vectors(10, 3)
    vectors[:10, 6:8] += 1
    vectors[10:, 3:6] += random_vectors(10, 3)
    vectors[10:, 8:] += 1
    path = make_space(tmp_path / "photos.db", vectors)
    imgsim("neighbours", path, "-k", 4)
    assert len(walk(path, 1, 9)) >= 2 and walk(path, 1, 15) == []
    assert "No chain of neighbours leads from 1 to 15." in imgsim("path", path, 1, 15)
    assert json.loads(imgsim("path", path, 1, 15, "--json")) == []
    assert Collection(path).path(1, 15) == []


@pytest.mark.parametrize(
    "call, expected",
    [
        ("imgsim_path(7, 7)", '[{"id": 7, "score": null}]'),
        ("imgsim_path('7', 7.0)", '[{"id": 7, "score": null}]'),
        ("imgsim_path(7, 99)", "[]"),
        ("imgsim_path(99, 7)", "[]"),
        ("imgsim_path('', '', '')", "[]"),
        ("imgsim_path(7, 'x')", "[]"),
        ("imgsim_path(null, 7)", None),
        ("imgsim_path(7, null)", None),
        ("imgsim_path(7, 8, null)", None),
        ("imgsim_path('7', '8') = imgsim_path(7, 8, '')", 1),
        ('imgsim_path(7, 8, \'{"space": "toy"}\') = imgsim_path(7, 8)', 1),
        ("json_type(imgsim_path(7, 8))", "array"),
    ],
)
def test_answers(made_once, call, expected):
    assert answer(made_once, f"select {call}") == expected


@pytest.mark.parametrize(
    "call",
    [
        "imgsim_path(7, x'07')",
        'imgsim_path(7, 8, \'{"level_weights": {"pool5": 1}}\')',
        "imgsim_path(7, 8, '{\"k\": 3}')",
        'imgsim_path(7, 8, \'{"space": "no"}\')',
        "imgsim_path(7, 8, '[]')",
    ],
)
def test_errors(made_once, call):
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        answer(made_once, f"select {call}")


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_kind(tmp_path, kind):
    path, keys = mapped_space(tmp_path / "photos.db", kind)
    plain = make_space(tmp_path / "plain.db", random_vectors(30))
    for each in (path, plain):
        imgsim("neighbours", each, "-k", K)
    expected = [(keys[id - 1], score) for id, score in walk(plain, 2, 28)]
    assert walk(path, keys[1], keys[27]) == expected and len(expected) > 2


@pytest.mark.parametrize("count, expected", [(1, [1]), (2, [1, 2]), (3, [1, 3])])
def test_few_images(tmp_path, count, expected):
    path = make_space(tmp_path / "photos.db", random_vectors(count))
    imgsim("neighbours", path)
    found = [id for id, _ in walk(path, 1, count)]
    assert found[0] == expected[0] and found[-1] == expected[-1]


@pytest.mark.parametrize(
    "sql",
    [
        "update imgsim_neighbours set score = 'x' where rank = 1",
        "update imgsim_neighbours set score = 1e300",
        "update imgsim_neighbours set score = -9e999 where rank = 2",
        "update imgsim_neighbours set neighbour_key = x'00'",
        "update imgsim_neighbours set neighbour_key = 'no such' where rank = 1",
        "update imgsim_neighbours set neighbour_key = image_key",
        "update imgsim_neighbours set rank = rank + 1000",
        "update imgsim_neighbours set rank = 'x' || rank",
        "update imgsim_neighbours set rank = rank + 0.5",
        "delete from imgsim_neighbours",
        "delete from imgsim_neighbours where image_key % 2",
        "update imgsim_vectors set vector = x'00' where image_key in (3, 7)",
        "delete from imgsim_vectors where image_key = 3",
    ],
)
def test_damage_is_no_failure(path, sql):
    change(path, sql)
    steps = walk(path, 3, 40)
    assert steps == [] or (steps[0][0], steps[-1][0]) == (3, 40)
    assert all(-1 <= score <= 1 for _, score in steps[1:])


@pytest.mark.parametrize(
    "sql, sentence",
    [
        ("update imgsim_spaces set neighbours = null", "No neighbours are stored in the space"),
        ("update imgsim_spaces set generation = generation + 1", "are out of date: run 'datasette"),
    ],
)
def test_without_neighbours(path, sql, sentence):
    change(path, sql)
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        answer(path, "select imgsim_path(3, 40)")
    assert sentence in answer(path, """select imgsim_status('{"rerank": true}')""")
    assert sentence in imgsim("path", path, 3, 40, exit_code=1)
    with pytest.raises(ImgsimError, match=sentence):
        Collection(path).path(3, 40)


def test_in_python_and_on_the_command_line(path):
    expected = walk(path, 3, 40)
    assert [(step.id, step.score) for step in Collection(path).path(3, "40")] == expected
    printed = json.loads(imgsim("path", path, 3, 40, "--json"))
    assert [(step["id"], step["score"]) for step in printed] == expected
    assert set(printed[0]) == {"id", "score", "path", "name"}
    lines = imgsim("path", path, 3, 40).splitlines()
    assert lines[0].split()[0] == "3"
    assert lines[-1].split()[:2] == [f"{expected[-1][1]:.3f}", "40"]
    assert "There is no image '99' in the table 'images'" in imgsim(
        "path", path, 3, 99, exit_code=1
    )


def test_the_time_limit_ends_it(path):
    conn = sqlite3.connect(path)
    loaded = graph.load(conn, Collection(path).spaces()["toy"])
    conn.set_progress_handler(lambda: 1, 1000)  # as Datasette does it
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        paths.shortest(conn, loaded, 2, 39)
    conn.close()


def test_no_more_neighbours_than_the_memory_is_meant_for(path, monkeypatch):
    monkeypatch.setattr(graph, "MOST_NEIGHBOURS", 2)
    conn = sqlite3.connect(path)
    loaded = graph.load(conn, Collection(path).spaces()["toy"])
    assert loaded.neighbours.rows.shape == (COUNT, 2)
    conn.close()


# The page

PAGE = f"{GALLERY}/similar/3"


@pytest.fixture
def with_neighbours(copy_photos):
    imgsim("neighbours", copy_photos / "photos.db", "-k", 7)
    return copy_photos / "photos.db"


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_page_shows_the_way(with_neighbours):
    expected = walk(with_neighbours, 3, 20)
    ds = await ready(serve(with_neighbours))
    answered = await get_json(ds, f"{PAGE}.json?walk_to=20")
    assert [(step["id"], step["score"]) for step in answered["walk"]] == expected
    assert answered["walk"][0] == {
        "id": 3,
        "key": "3",
        "href": PAGE,
        "thumbnail": f"{GALLERY}/thumbnail/3.jpg",
        "score": None,
    }
    html = unescape((await ds.client.get(f"{PAGE}?walk_to=20&rerank=0&_size=2&plus=5")).text)
    strip = html[html.index('<section class="imgsim-walk"') :]
    strip = strip[: strip.index("</section>")]
    assert strip.count("<img") == len(expected)
    for id, score in expected[1:]:
        assert f"{GALLERY}/similar/{id}?plus=5&rerank=0" in strip and f": {score:.3f}" in strip
    assert f"{PAGE}?plus=5&rerank=0&_size=2" in links(html)  # without the walk
    assert f"{PAGE}?plus=5&rerank=0&walk_to=20&_size=2&_next=2" in links(html)
    for kept in ("plus", "rerank", "_size"):
        assert f'<input type="hidden" name="{kept}"' in html
    assert await until(ds, "select imgsim_path(3, 20)", bool) == json.dumps(
        [{"id": id, "score": score} for id, score in expected]
    )


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_target_is_found_by_text(with_neighbours):
    ds = serve(with_neighbours)
    (id, path) = answers(with_neighbours, "select id, path from images where id = 20")[0]
    answered = await get_json(ds, f"{PAGE}.json?walk_to={path}")
    assert answered["walk"][-1]["id"] == id


@pytest.mark.datasette
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql, target, status, sentence",
    [
        ("update images set id = id", "no such", 404, "There is no image 'no such' in the table"),
        ("update imgsim_spaces set neighbours = null", "20", 400, "No neighbours are stored"),
        ("delete from imgsim_neighbours", "20", 200, "No chain of neighbours leads from here"),
    ],
)
async def test_where_there_is_no_way(with_neighbours, sql, target, status, sentence):
    change(with_neighbours, sql)
    ds = serve(with_neighbours)
    answered = await get_json(ds, f"{PAGE}.json?walk_to={target}", status)
    assert answered["walk"] == [] if status == 200 else sentence in answered["error"]
    response = await ds.client.get(f"{PAGE}?walk_to={target}")
    assert response.status_code == 200 and sentence in unescape(response.text)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_it_is_offered_where_there_can_be_one(with_neighbours):
    assert "Walk to another picture" in (await serve(with_neighbours).client.get(PAGE)).text
    assert "walk" not in await get_json(serve(with_neighbours), f"{PAGE}.json?walk_to=")
    change(with_neighbours, "update imgsim_spaces set neighbours = null")
    assert "Walk to another picture" not in (await serve(with_neighbours).client.get(PAGE)).text


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_while_the_neighbours_are_loading(with_neighbours, monkeypatch):
    go, load = threading.Event(), graph.load

    def gated(conn, space, progress=silent):
        stand_at(progress, 0.4)
        assert go.wait(LONG)
        return load(conn, space, progress)

    monkeypatch.setattr(graph, "load", gated)
    monkeypatch.setattr(graph.Graphs.get, "__defaults__", (0,))
    ds = await ready(serve(with_neighbours))
    try:
        answered = await get_json(ds, f"{PAGE}.json?walk_to=20", 503)
        assert answered["loading"] is True
        assert "The graph of neighbours of the space 'vgg16-oxford' is" in answered["error"]
        await until(ds, "select imgsim_status()", lambda text: text.endswith("loading, 40 %"))
        html = (await ds.client.get(f"{PAGE}?walk_to=20")).text
        assert "is loading, 40 %" in html and "data-loading" in html and "imgsim-tile" in html
        status, body = await ask(ds, "select imgsim_path(3, 20)")
        assert status == 400 and FAILED in str(body)
    finally:
        go.set()
    assert len(json.loads(await until(ds, "select imgsim_path(3, 20)", bool))) > 1
