"""The page of images similar to one, as HTML and as JSON."""

import re
import sqlite3
from contextlib import closing
from html import unescape

import pytest
from helpers.commands import imgsim
from helpers.databases import change, group
from helpers.serving import GALLERY, all_pages, get_json, links, serve

from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.search import calibration, indexes, ranking

pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
async def test_similar_json_has_the_documented_shape(photos):
    answer = await get_json(serve(photos / "photos.db"), f"{GALLERY}/similar/3.json?_size=5")
    assert set(answer) == {"ok", "space", "query", "rows", "next", "next_url"}
    assert answer["ok"] is True and answer["query"]["id"] == 3 and answer["next"] == "5"
    assert answer["next_url"].startswith(f"http://localhost{GALLERY}/similar/3.json?")
    first = answer["rows"][0]
    assert first == {
        "id": first["id"],
        "key": str(first["id"]),
        "score": first["score"],
        "percentile": first["percentile"],
        "href": f"{GALLERY}/similar/{first['id']}",
        "thumbnail": f"{GALLERY}/thumbnail/{first['id']}.jpg",
    }


@pytest.mark.asyncio
async def test_similar_images_come_best_first_without_the_query(photos):
    database = photos / "photos.db"
    answer = await get_json(serve(database), f"{GALLERY}/similar/3.json")
    scores = [row["score"] for row in answer["rows"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 23
    assert 3 not in [row["id"] for row in answer["rows"]]
    assert {group(database, row["id"]) for row in answer["rows"][:3]} == {group(database, 3)}


@pytest.mark.asyncio
async def test_similar_pages_show_each_other_image_once(photos):
    ds = serve(photos / "photos.db")
    found = await all_pages(ds, f"{GALLERY}/similar/3.json?_size=4")
    whole = await get_json(ds, f"{GALLERY}/similar/3.json")
    assert found == whole["rows"]


@pytest.mark.asyncio
async def test_similar_page_shows_scores_and_picture(photos):
    ds = serve(photos / "photos.db")
    first = (await get_json(ds, f"{GALLERY}/similar/3.json"))["rows"][0]
    html = (await ds.client.get(f"{GALLERY}/similar/3?_size=5")).text
    assert f'<span class="imgsim-spoken">score </span>{first["score"]:.3f}' in html
    assert f'src="{GALLERY}/thumbnail/3.jpg"' in html
    assert 'rel="next"' in html and 'rel="prev"' not in html


@pytest.fixture(scope="module")
def two_spaces(photos, tmp_path_factory):
    """photos.db with a second space of two levels."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "images").symlink_to(photos / "images")
    (folder / "photos.db").write_bytes((photos / "photos.db").read_bytes())
    imgsim(
        "embed", folder / "photos.db", folder / "images", "--quiet",
        "--levels", "pool3,pool5", "--space", "two levels",
    )  # fmt: skip
    return folder / "photos.db"


@pytest.mark.asyncio
async def test_space_and_level_weights_are_kept_in_links(two_spaces):
    ds = serve(two_spaces)
    state = "?space=two+levels&level_weights=pool5:1,pool3:.5"
    answer = await get_json(ds, f"{GALLERY}/similar/3.json{state}")
    assert answer["space"] == "two levels"
    assert answer["query"]["level_weights"] == {"pool3": 0.333333, "pool5": 0.666667}
    assert all(row["href"].endswith(state) for row in answer["rows"])
    scores = [
        [row["score"] for row in (await get_json(ds, f"{GALLERY}/similar/3.json{query}"))["rows"]]
        for query in (state, "?space=two+levels&level_weights=pool3:1", "")
    ]
    assert scores[0] != scores[1] != scores[2]


@pytest.mark.asyncio
async def test_configured_space_is_the_default(two_spaces):
    ds = serve(two_spaces, {"space": "two levels"})
    assert (await get_json(ds, f"{GALLERY}/similar/3.json"))["space"] == "two levels"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query",
    ["", "?space=two+levels&level_weights=pool5:1,pool3:.5&_size=5", "?plus=4&minus=9&minus=12"],
)
async def test_the_same_in_sql_is_the_same(two_spaces, query):
    ds = serve(two_spaces)
    html = (await ds.client.get(f"{GALLERY}/similar/3{query}")).text
    sql = unescape(re.search(r"<code>(select.*?)</code>", html, re.S)[1])
    response = await ds.client.get(
        "/photos.json", params={"sql": sql, "_shape": "array"}, follow_redirects=True
    )
    expected = (await get_json(ds, f"{GALLERY}/similar/3.json{query}"))["rows"]
    assert [row["id"] for row in response.json()] == [row["id"] for row in expected]


@pytest.mark.asyncio
async def test_percentiles_are_said_in_words(photos):
    ds = serve(photos / "photos.db")
    rows_ = (await get_json(ds, f"{GALLERY}/similar/3.json"))["rows"]
    assert 0 <= rows_[-1]["percentile"] < rows_[0]["percentile"] <= 100
    html = (await ds.client.get(f"{GALLERY}/similar/3")).text
    assert calibration.in_words(rows_[0]["percentile"]) in html
    assert f"The first is {calibration.in_words(rows_[0]['percentile'])}." in html


@pytest.mark.asyncio
async def test_a_line_is_drawn_where_chance_begins(photos):
    ds = serve(photos / "photos.db")
    html = (await ds.client.get(f"{GALLERY}/similar/3")).text
    above, below = html.split('class="imgsim-chance"')
    with closing(sqlite3.connect(photos / "photos.db")) as conn:
        space = choose_space(conn)
        vectors = indexes.load(conn, space)
        chance = calibration.get_calibration(conn, vectors, ranking.weights(space)).chance
    score = r"imgsim-score.+?</span>(-?[0-9.]+)</span>"
    assert all(float(text) > chance - 1e-3 for text in re.findall(score, above))
    assert all(float(text) <= chance + 1e-3 for text in re.findall(score, below))


@pytest.mark.asyncio
async def test_the_line_is_drawn_once(photos):
    ds, path, drawn = serve(photos / "photos.db"), f"{GALLERY}/similar/3?_size=4", 0
    while path:
        html = (await ds.client.get(path)).text
        drawn += html.count('class="imgsim-chance"')
        following = re.search(r'rel="next" href="([^"]+)"', html)
        path = following and unescape(following[1])
    assert drawn == 1


@pytest.mark.asyncio
async def test_an_example_counts_once_and_can_be_taken_out(photos):
    ds, path = serve(photos / "photos.db"), f"{GALLERY}/similar/3"
    once = await get_json(ds, f"{path}.json?plus=8")
    assert (await get_json(ds, f"{path}.json?plus=8&plus=08&plus="))["rows"] == once["rows"]
    html = (await ds.client.get(f"{path}?plus=08")).text
    assert path in links(html) and f"{path}?plus=08" not in links(html)


@pytest.mark.asyncio
async def test_huge_level_weights(two_spaces):
    ds = serve(two_spaces)
    path = f"{GALLERY}/similar/3{{}}?space=two+levels&level_weights=pool3:1e308,pool5:1e308"
    answer = await get_json(ds, path.format(".json"))
    assert answer["query"]["level_weights"] == {"pool3": 0.5, "pool5": 0.5}
    assert (await ds.client.get(path.format(""))).status_code == 200


@pytest.mark.asyncio
async def test_examples_can_be_added_and_taken_out(photos):
    ds = serve(photos / "photos.db")
    path = f"{GALLERY}/similar/3"
    html = (await ds.client.get(f"{path}?minus=9&_size=5")).text
    # Taking 9 out, and making 9's opposite of another image.
    assert f"{path}?_size=5" in links(html)
    first = (await get_json(ds, f"{path}.json?minus=9&_size=5"))["rows"][0]["id"]
    assert f"{path}?plus={first}&minus=9&_size=5" in links(html)
    assert f"{path}?minus=9&minus={first}&_size=5" in links(html)


@pytest.mark.asyncio
async def test_examples_change_the_ranking_and_are_left_out(photos):
    ds = serve(photos / "photos.db")
    plain = await get_json(ds, f"{GALLERY}/similar/3.json")
    far = plain["rows"][-1]["id"]
    near = plain["rows"][0]["id"]
    moved = await get_json(ds, f"{GALLERY}/similar/3.json?plus={far}&minus={near}")
    assert (moved["query"]["plus"], moved["query"]["minus"]) == ([far], [near])
    ids = [row["id"] for row in moved["rows"]]
    assert not {3, far, near} & set(ids) and len(ids) == 21
    assert ids != [row["id"] for row in plain["rows"] if row["id"] not in (far, near)]


@pytest.mark.asyncio
async def test_an_unknown_example_is_named(photos):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, f"{GALLERY}/similar/3.json?plus=99", 404)
    assert "There is no image '99'" in answer["error"]


@pytest.mark.asyncio
async def test_sql_is_not_linked_where_it_may_not_be_run(photos):
    path = f"{GALLERY}/similar/3"
    assert "Run it" in (await serve(photos / "photos.db").client.get(path)).text
    denied = serve(photos / "photos.db", databases={"photos": {"allow_sql": False}})
    html = (await denied.client.get(path)).text
    assert "similar_to(3" in html and "Run it" not in html


@pytest.mark.asyncio
async def test_rows_deleted_by_hand_vanish_and_others_move_up(copy_photos):
    database = copy_photos / "photos.db"
    ds = serve(database)
    before = (await get_json(ds, f"{GALLERY}/similar/3.json"))["rows"]
    gone = before[1]["id"]
    change(database, "delete from images where id = ?", gone)
    after = await get_json(ds, f"{GALLERY}/similar/3.json?_size=5")
    assert after["rows"] == before[:1] + before[2:6]
    following = await get_json(ds, f"{GALLERY}/similar/3.json?_size=5&_next={after['next']}")
    assert following["rows"] == before[6:11]


@pytest.mark.asyncio
async def test_an_image_without_a_vector_is_shown_with_the_reason(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "delete from imgsim_vectors where image_key = 3")
    ds = serve(database)
    assert "has no vector" in (await get_json(ds, f"{GALLERY}/similar/3.json", 404))["error"]
    response = await ds.client.get(f"{GALLERY}/similar/3")
    assert response.status_code == 404
    assert "has no vector" in response.text and f"{GALLERY}/thumbnail/3.jpg" in response.text
