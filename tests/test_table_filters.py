"""`?_similar_to=` on the source table's own page."""

import json
import re
import sqlite3
from contextlib import closing
from html import unescape

import pytest
from helpers.databases import change, copy_space, renamed, rows, set_source
from helpers.serving import cookies, get_json, serve
from helpers.waiting import LONG

from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import calibration, indexes, ranking
from datasette_imgsim.search.likeness import WORDS
from datasette_imgsim.web import state
from datasette_imgsim.web.table import filters

pytestmark = pytest.mark.datasette


def reaching(database, id, minimum):
    """The ids of the images whose percentile is at least `minimum`, best first."""
    with closing(sqlite3.connect(database)) as conn:
        space = choose_space(conn)
        vectors, weights = indexes.load(conn, space), ranking.weights(space)
        scale = calibration.get_calibration(conn, vectors, weights)
        query = ranking.query_of_image(conn, vectors, vectors.row(conn, id), weights)
        scored = ranking.rank(conn, vectors, query, 1000)
    return [each for each, score in scored if scale.percentile(score) >= minimum]


async def ids(ds, query, table="images"):
    response = await get_json(ds, f"/photos/{table}.json?_shape=array&_size=100&{query}")
    return [row["id"] for row in response]


@pytest.mark.asyncio
@pytest.mark.parametrize("minimum", [50, 90, 97.5])
async def test_only_images_that_reach_the_percentile_pass(photos, minimum):
    found = await ids(serve(photos / "photos.db"), f"_similar_to=3&_similar_min={minimum}")
    assert sorted(found) == sorted(reaching(photos / "photos.db", 3, minimum)) and found


@pytest.mark.asyncio
@pytest.mark.parametrize("minimum", [0, 50])
async def test_however_many_pass(photos, minimum, monkeypatch):
    monkeypatch.setattr(LIMITS, "first_hits", 1)
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)
    found = await ids(serve(photos / "photos.db"), f"_similar_to=3&_similar_min={minimum}")
    assert sorted(found) == sorted(reaching(photos / "photos.db", 3, minimum)) and found


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query, count",
    [
        ("", 3),
        ("&_similar_min=alike", 3),
        ("&_similar_min=very+alike", 2),
        ("&_similar_min=near-identical", 1),
    ],
)
async def test_a_word_is_a_minimum_and_alike_the_usual_one(photos, query, count):
    ds = serve(photos / "photos.db")
    ranked = (await get_json(ds, "/photos/images/-/imgsim/similar/3.json"))["rows"]
    passing = [row["id"] for row in ranked if row["word"] in WORDS[:count]]
    assert await ids(ds, f"_similar_to=3{query}") == sorted(passing)
    word = WORDS[count - 1]
    html = (await ds.client.get(f"/photos/images?_similar_to=3{query}")).text
    assert f"{word} to 2.jpg" in html
    assert html.count('class="imgsim-cell-score"') == len(passing)


@pytest.mark.asyncio
async def test_it_goes_with_other_filters_facets_and_csv(photos):
    ds = serve(photos / "photos.db")
    both = "_similar_to=3&_similar_min=50&path__contains=circles"
    found = await ids(ds, both)
    wanted = reaching(photos / "photos.db", 3, 50)
    circles = set(rows(photos / "photos.db", "select id from images where path like '%circles%'"))
    assert found == sorted(set(wanted) & circles) and found
    facets = await get_json(ds, f"/photos/images.json?{both}&_facet=format&_extra=facet_results")
    results = facets["facet_results"]
    results = results.get("results", results)
    assert results["format"]["results"][0]["count"] == len(found)
    csv = (await ds.client.get(f"/photos/images.csv?{both}")).text
    assert len(csv.strip().splitlines()) == len(found) + 1


@pytest.mark.asyncio
async def test_rows_deleted_by_hand_are_not_made_up_for(copy_photos):
    database = copy_photos / "photos.db"
    wanted = reaching(database, 3, 80)
    ds = serve(database)
    assert sorted(await ids(ds, "_similar_to=3&_similar_min=80")) == sorted(wanted)
    change(database, "delete from images where id = ?", wanted[0])
    found = await ids(ds, "_similar_to=3&_similar_min=80")
    assert sorted(found) == sorted(wanted[1:])


@pytest.mark.asyncio
async def test_a_key_of_undeclared_type(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "create table loose (id primary key, path text)")
    change(database, "insert into loose select id, path from images")
    set_source(database, "loose")
    found = await ids(serve(database), "_similar_to=3&_similar_min=50", "loose")
    assert found and found == sorted(reaching(database, 3, 50))


@pytest.mark.asyncio
async def test_it_is_described_in_words(photos):
    ds = serve(photos / "photos.db")
    html = unescape((await ds.client.get("/photos/images?_similar_to=3&_similar_min=90")).text)
    assert "similar to 2.jpg, closer than 90 % of random pairs" in html


@pytest.mark.asyncio
async def test_cells_show_the_word_on_a_filtered_page_only(photos):
    ds = serve(photos / "photos.db")
    html = (await ds.client.get("/photos/images?_similar_to=3&_similar_min=90")).text
    assert html.count('class="imgsim-cell-score"') == len(reaching(photos / "photos.db", 3, 90))
    cells = re.findall(r'class="imgsim-cell-score" title="score .+?">([^<]+)<', html)
    assert cells and set(cells) <= set(WORDS)
    for path in ("/photos/images/4", "/photos/images"):
        assert "imgsim-cell-score" not in (await ds.client.get(path)).text


@pytest.mark.asyncio
async def test_the_order_by_likeness_is_a_click_away(photos):
    ds = serve(photos / "photos.db")
    html = unescape((await ds.client.get("/photos/images?_similar_to=3&_similar_min=90")).text)
    url = re.search(r'<a href="([^"]+)"[^>]*>\s*Order by likeness', html)[1]
    base, _, query = url.partition("?")
    answer = await get_json(ds, f"{base}.json?{query}")
    assert [row["id"] for row in answer["rows"]] == reaching(photos / "photos.db", 3, 90)
    assert "Order by likeness" not in (await ds.client.get("/photos/images")).text


@pytest.mark.asyncio
async def test_filters_look_in_another_space(mapped):
    database = mapped / "photos.db"
    copy_space(database, "other", "images")
    change(
        database,
        "update imgsim_spaces set is_default = 0, level_weights = '{\"pool2\": 1}', "
        "calibration = null where name = 'other'",
    )
    change(
        database,
        "insert into imgsim_vectors (space_id, image_key, vector, norms) "
        "select 2, image_key, vector, norms from imgsim_vectors",
    )
    ds = serve(database)
    usual = await ids(ds, "_similar_to=3&_similar_min=40")
    others = await ids(ds, "_similar_to=3&_similar_min=40&_space=other")
    assert usual and others and usual != others
    answer = await get_json(ds, "/photos/images.json?_in_atlas=0,0,9,9&_space=other", 404)
    assert "There is no map of the space 'other'" in answer["error"]
    answer = await get_json(ds, "/photos/images.json?_similar_to=3&_space=nope", 400)
    assert "No space 'nope'" in answer["error"]


@pytest.mark.asyncio
async def test_a_text_key(copy_photos):
    keys = renamed(copy_photos / "photos.db", "my photos", lambda id: f"k/{id}")
    ds = serve(copy_photos / "photos.db")
    answer = await get_json(
        ds, "/photos/my~20photos.json?_shape=array&_similar_to=k/3&_similar_min=50"
    )
    assert answer and {row["the key"] for row in answer} < set(keys.values())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path,status,sentence",
    [
        ("images{}?_similar_to=99", 404, "There is no image '99'"),
        (
            "images{}?_similar_to=3&_similar_min=x",
            400,
            "0 to 100, or near-identical, very alike and alike",
        ),
        ("images{}?_similar_to=3&_similar_min=faint", 400, "_similar_min is a percentile from 0"),
        ("images{}?_similar_to=3&_similar_min=nan", 400, "_similar_min is a percentile from 0"),
        ("images{}?_similar_to=3&_similar_min=101", 400, "_similar_min is a percentile from 0"),
        ("images{}?_similar_to=3&_similar_to=4", 400, "_similar_to is there more than once"),
        ("images{}?_in_atlas=0,0,1,1&_in_atlas=0,0,9,9", 400, "_in_atlas is there more than"),
        ("images{}?_similar_to=3&_similar_min=9&_similar_min=8", 400, "_similar_min is there more"),
        ("imgsim_spaces{}?_similar_to=3", 404, "holds no images"),
    ],
)
async def test_errors_are_one_sentence(photos, path, status, sentence):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, "/photos/" + path.format(".json"), status)
    assert sentence in json.dumps(answer)
    response = await ds.client.get("/photos/" + path.format(""))
    assert response.status_code == status and sentence in unescape(response.text)


@pytest.mark.asyncio
async def test_who_may_not_see_the_table_may_not_filter_it(photos):
    tables = {"images": {"allow": {"id": "ann"}}}
    ds = serve(photos / "photos.db", databases={"photos": {"tables": tables}})
    path = "/photos/images.json?_similar_to=3"
    assert (await ds.client.get(path)).status_code == 403
    assert (await ds.client.get(path, cookies=cookies(ds, "ann"))).status_code == 200


@pytest.mark.asyncio
async def test_similar_pages_lead_there(photos):
    ds = serve(photos / "photos.db")
    html = (await ds.client.get("/photos/images/-/imgsim/similar/3")).text
    assert 'href="/photos/images?_similar_to=3"' in html


@pytest.mark.asyncio
async def test_a_table_is_ranked_once_for_all_its_pages(photos, monkeypatch):
    monkeypatch.setattr(state, "SECONDS_REMEMBERED", LONG)
    ds = serve(photos / "photos.db")
    asked, reached = [], filters.reaching
    monkeypatch.setattr(filters, "reaching", lambda *args: asked.append(args) or reached(*args))
    ranked, best = [], ranking._best
    monkeypatch.setattr(ranking, "_best", lambda *args: ranked.append(args[-1]) or best(*args))
    path = "/photos/images.csv?_similar_to=3&_similar_min=50"
    csv = (await ds.client.get(f"{path}&_stream=on&_size=3")).text
    assert len(csv.split()) == len(reaching(photos / "photos.db", 3, 50)) + 1
    assert (await ds.client.get("/photos/images?_similar_to=3&_similar_min=50")).status_code == 200
    mine = [k for k in ranked if k != 1000]
    assert len(mine) == len(set(mine)) <= 2 and len(asked) == 1
