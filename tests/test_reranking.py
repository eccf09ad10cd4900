"""Re-ranking by mutual neighbours, in SQL, in Python, on the command line and on pages."""

import json
import re
from html import unescape

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import (
    KEYS,
    add_images,
    answer,
    answers,
    change,
    found,
    found_ids,
    make_space,
    random_vectors,
)
from helpers.pictures import as_jpeg
from helpers.serving import GALLERY, all_pages, ask_one, get_json, links, ready, serve
from PIL import Image

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.search import reranking

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

COUNT = 60
RERANK = '{"rerank": true}'
MISSING = "No neighbours are stored in the space 'toy': run 'datasette imgsim neighbours DATABASE"
OUTDATED = (
    "The neighbours that are stored in the space 'toy' are out of date: run 'datasette imgsim"
)
WEIGHTS = "Mutual likeness is known only for the level weights of the space itself"


def groups(count=COUNT, seed=0):
    """Raw vectors (count, 10) in six groups, some of which touch."""
    random = np.random.default_rng(seed)
    centres = np.abs(random.standard_normal((6, 10)))
    return np.abs(centres[np.arange(count) % 6] + 0.5 * random.standard_normal((count, 10)))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    vectors = groups()
    vectors[19] = vectors[7] + 0.03  # a copy of 8 that is 20
    path = make_space(tmp_path_factory.mktemp("rerank") / "photos.db", vectors)
    imgsim("neighbours", path)
    return path


@pytest.fixture
def path(made_once, tmp_path):
    """A database of 60 images with neighbours."""
    (tmp_path / "photos.db").write_bytes(made_once.read_bytes())
    return tmp_path / "photos.db"


def plain(path, id, k=COUNT):
    return found(answer(path, "select similar_to(?, ?)", id, k))


def reranked(path, id, k=COUNT, options=RERANK):
    return found(answer(path, "select similar_to(?, ?, ?)", id, k, options))


def words(path, id):
    """{id: word}"""
    hits = json.loads(answer(path, "select similar_to(?, ?)", id, COUNT))
    return {hit["id"]: hit["word"] for hit in hits}


def by_the_paper(path, query):
    """The ids in order of distance by matrices of all images, as the paper has its formulas."""
    ids = answers(path, "select id from images order by id")
    place = {id: n for n, id in enumerate(ids)}
    near, scores = np.zeros((2, len(ids), len(ids)))
    for a, b, score in answers(path, "select image_key, neighbour_key, score "
                                     "from imgsim_neighbours"):  # fmt: skip
        near[place[a], place[b]], scores[place[a], place[b]] = 1, score
    shares = near * near.T * np.exp(scores - 1) + np.eye(len(ids))
    shares /= shares.sum(axis=1, keepdims=True)
    nearest = np.argsort(-(scores - 9 * (near == 0) + 99 * np.eye(len(ids))), axis=1)
    shares = shares[nearest[:, : reranking.AVERAGED]].mean(axis=1)
    asked = shares[place[query]]
    jaccard = 1 - np.minimum(asked, shares).sum(axis=1) / np.maximum(asked, shares).sum(axis=1)
    distances = {
        id: 0.7 * jaccard[place[id]] + 0.3 * (1 - score) for id, score in plain(path, query)
    }
    return distances


@pytest.mark.parametrize("query", [1, 8, 33, 60])
def test_it_is_the_order_of_the_paper_but_for_copies_and_faint_ones(path, query):
    expected, word = by_the_paper(path, query), words(path, query)
    got = reranked(path, query)
    assert dict(got) == dict(plain(path, query)) and got != plain(path, query)
    part = {"near-identical": 0, "very alike": 1, "alike": 1, "faint": 2}
    order = sorted(expected, key=lambda id: (part[word[id]], expected[id]))
    assert [id for id, _ in got] == order


def test_a_copy_comes_first(path):
    assert words(path, 8)[20] == "near-identical" and reranked(path, 8, 1)[0][0] == 20


def test_fewer_results_are_the_first_of_them(path):
    assert reranked(path, 8, 7) == reranked(path, 8)[:7]
    assert reranked(path, 8, 0) == []


def test_only_the_first_are_reranked(path, monkeypatch):
    monkeypatch.setattr(reranking, "FIRST", 10)
    before, after = plain(path, 8), reranked(path, 8)
    assert sorted(after[:10]) == sorted(before[:10]) and after[:10] != before[:10]
    assert after[10:] == before[10:]


@pytest.mark.parametrize(
    "options",
    ['{"plus": [2, 14], "rerank": true}', '{"minus": [5], "rerank": true}'],
)
def test_examples_are_left_out(path, options):
    without = options.replace(', "rerank": true', "")
    after, before = (reranked(path, 8, options=each) for each in (options, without))
    assert dict(after) == dict(before) and after != before


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_kind(tmp_path, kind):
    keys = KEYS[kind]
    path = make_space(tmp_path / "photos.db", groups(30), keys, key=kind.split(",")[0])
    plainly = make_space(tmp_path / "plain.db", groups(30))
    for each in (path, plainly):
        imgsim("neighbours", each)
    numbers = [key - 1 for key in found_ids(answer(plainly, "select similar_to(4, 29, ?)", RERANK))]
    got = found_ids(answer(path, "select similar_to(?, 29, ?)", keys[3], RERANK))
    # Equal scores are in order of key, which for texts is another.
    assert got == [keys[number] for number in numbers]


@pytest.mark.parametrize("count, expected", [(1, 0), (2, 1), (3, 2), (5, 4)])
def test_few_images(tmp_path, count, expected):
    path = make_space(tmp_path / "photos.db", random_vectors(count))
    imgsim("neighbours", path)
    assert len(reranked(path, 1)) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "update imgsim_neighbours set score = 'x' where rank < 4",
        "update imgsim_neighbours set score = 1e300",
        "update imgsim_neighbours set score = -9e999 where rank = 2",
        "update imgsim_neighbours set neighbour_key = x'00'",
        "update imgsim_neighbours set neighbour_key = 'no such' where rank = 1",
        "update imgsim_neighbours set neighbour_key = image_key",
        "update imgsim_neighbours set rank = rank + 1000",
        "update imgsim_neighbours set rank = 'x' || rank",
        "update imgsim_neighbours set rank = rank + 0.5",
        "delete from imgsim_neighbours where image_key % 2",
        "delete from imgsim_neighbours",
        "delete from images where id % 3 = 1 and id <> 8",
    ],
)
def test_damage_costs_no_result(path, sql):
    change(path, sql)
    got = reranked(path, 8)
    assert dict(got) == dict(plain(path, 8)) and len(got) >= 39


def _forget(path):
    change(path, "update imgsim_spaces set neighbours = null")


def _add(path):
    add_images(path, random_vectors(1, seed=9), [99])


@pytest.mark.parametrize(
    "change_it, options, sentence",
    [
        (_forget, RERANK, MISSING),
        (lambda path: change(path, "update imgsim_spaces set neighbours = '{'"), RERANK, MISSING),
        (_add, RERANK, OUTDATED),
        (None, '{"rerank": true, "level_weights": {"pool5": 1}}', WEIGHTS),
        (None, '{"rerank": 1}', "The option rerank is true or false"),
        (None, '{"rerank": "true"}', "The option rerank is true or false"),
    ],
)
def test_what_is_wrong_is_said(path, change_it, options, sentence):
    if change_it:
        change_it(path)
    assert sentence in answer(path, "select imgsim_status(?)", options)
    with pytest.raises(Exception, match="user-defined function"):
        answer(path, "select similar_to(8, 5, ?)", options)


@pytest.mark.parametrize(
    "options", ['{"rerank": false}', '{"rerank": null}', "{}", '{"rerank": false, "plus": []}']
)
def test_without_it_no_neighbours_are_needed(path, options):
    expected = plain(path, 8)
    _forget(path)
    assert reranked(path, 8, options=options) == expected


def test_level_weights_that_are_the_spaces_own(path):
    options = '{"rerank": true, "level_weights": {"pool4": 3, "pool5": 3}}'
    assert reranked(path, 8, options=options) == reranked(path, 8)


def test_unknown_ids_and_null(path):
    assert reranked(path, 999) == []
    assert answer(path, "select similar_to(null, 5, ?)", RERANK) is None


def test_in_python_and_on_the_command_line(path):
    expected = reranked(path, 8, 10)
    assert [(m.id, m.score) for m in Collection(path).similar(8, rerank=True)] == expected
    printed = json.loads(imgsim("similar", path, 8, "--rerank", "--json"))
    assert [(match["id"], match["score"]) for match in printed] == expected
    _add(path)
    with pytest.raises(ImgsimError, match="out of date"):
        Collection(path).similar(8, rerank=True)
    assert OUTDATED in imgsim("similar", path, 8, "--rerank", exit_code=1)
    assert WEIGHTS in imgsim(
        "similar", path, 8, "--rerank", "--level-weights", "pool5=1", exit_code=1
    )


# Pages

PAGE = f"{GALLERY}/similar/3"


@pytest.fixture
def with_neighbours(copy_photos):
    imgsim("neighbours", copy_photos / "photos.db")
    return copy_photos / "photos.db"


async def ids(ds, query=""):
    return [row["id"] for row in (await get_json(ds, f"{PAGE}.json{query}"))["rows"]]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_page_has_this_order_where_there_are_neighbours(with_neighbours):
    ds = await ready(serve(with_neighbours))
    answered = await get_json(ds, f"{PAGE}.json")
    assert answered["query"]["rerank"] is True
    assert await ids(ds) == await ids(ds, "?rerank=1")
    assert await ids(ds) == found_ids(await ask_one(ds, f"select similar_to(3, 40, '{RERANK}')"))
    by_score = await get_json(ds, f"{PAGE}.json?rerank=0")
    assert by_score["query"]["rerank"] is False and by_score["cut"] == answered["cut"]
    assert await ids(ds, "?rerank=0") == found_ids(await ask_one(ds, "select similar_to(3, 40)"))
    assert await ids(ds) != await ids(ds, "?rerank=0")
    assert await all_pages(ds, f"{PAGE}.json?_size=4") == answered["rows"]
    text = [row["word"] == "faint" for row in answered["rows"]]
    assert text == sorted(text)


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_the_order_is_chosen_on_the_page(with_neighbours):
    ds = serve(with_neighbours)
    html = (await ds.client.get(f"{PAGE}?_size=5")).text
    assert re.search(r'aria-current="true"[^>]*>mutual likeness<', html)
    assert f"{PAGE}?rerank=0&_size=5" in links(html) and '"rerank": true' in unescape(html)
    html = (await ds.client.get(f"{PAGE}?rerank=0&_size=2")).text
    assert re.search(r'aria-current="true"[^>]*>likeness<', html) and '"rerank": ' not in unescape(
        html
    )
    assert f"{PAGE}?rerank=0&_size=2&_next=2" in links(html)
    (first, *_) = await ids(ds, "?rerank=0")
    assert f"{GALLERY}/similar/{first}?rerank=0" in links(html)


@pytest.mark.datasette
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql, query, sentence",
    [
        ("update imgsim_spaces set neighbours = null", "", "No neighbours are stored"),
        ("update imgsim_spaces set generation = generation + 1", "", "are out of date"),
        ("update imgsim_neighbours set rank = rank", "&level_weights=pool2:1", "level weights of"),
    ],
)
async def test_where_it_cannot_be_the_order_is_by_score(with_neighbours, sql, query, sentence):
    change(with_neighbours, sql)
    ds = serve(with_neighbours)
    expected = await ids(ds, f"?rerank=0{query}")
    assert await ids(ds, f"?{query}") == expected
    html = unescape((await ds.client.get(f"{PAGE}?{query}")).text)
    assert sentence not in html and "mutual likeness" not in html
    refused = await get_json(ds, f"{PAGE}.json?rerank=1{query}", 400)
    assert sentence in refused["error"]
    html = unescape((await ds.client.get(f"{PAGE}?rerank=1{query}")).text)
    assert sentence in html and f"{PAGE}?" in html


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_a_picture_that_is_sent(with_neighbours):
    ds = serve(with_neighbours)
    jpeg = as_jpeg(Image.new("RGB", (40, 40), "red"))

    async def sent(query, status=200):
        response = await ds.client.post(f"{GALLERY}/search{query}", content=jpeg)
        assert response.status_code == status
        return response.json()

    plainly, mutual = await sent(""), await sent("?rerank=1")
    assert (plainly["query"]["rerank"], mutual["query"]["rerank"]) == (False, True)
    scores = [{row["id"]: row["score"] for row in each["rows"]} for each in (plainly, mutual)]
    assert scores[0] == scores[1]
    response = await ds.client.post(f"{GALLERY}/upload", content=jpeg)
    page = await get_json(ds, f"{response.json()['href']}.json")
    assert page["query"]["rerank"] is True
    assert [row["id"] for row in page["rows"]] == [row["id"] for row in mutual["rows"]]
    change(with_neighbours, "update imgsim_spaces set neighbours = null")
    assert "No neighbours are stored" in (await sent("?rerank=1", 400))["error"]
