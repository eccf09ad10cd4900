"""The page of images similar to one, as HTML and as JSON."""

import re
from html import unescape

import pytest
from helpers.commands import imgsim
from helpers.databases import change, group
from helpers.serving import GALLERY, all_pages, get_json, links, serve

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import calibration
from datasette_imgsim.web.levels import level_words

pytestmark = pytest.mark.datasette


def ids(rows, weaker=True):
    """The ids of rows of JSON, without those that are faint unless `weaker`."""
    return [row["id"] for row in rows if weaker or row["word"] != "faint"]


def ids_on(html):
    """The ids of the results on a page, in order."""
    return [int(id) for id in re.findall(r'class="imgsim-link" href="[^"]+/similar/(\d+)', html)]


def link(html, rel):
    found = re.search(rf'rel="{rel}" href="([^"]+)"', html)
    return found and unescape(found[1])


@pytest.mark.asyncio
async def test_similar_json_has_the_documented_shape(photos):
    answer = await get_json(serve(photos / "photos.db"), f"{GALLERY}/similar/3.json?_size=5")
    assert set(answer) == {"ok", "space", "query", "cut", "rows", "next", "next_url"}
    assert answer["ok"] is True and answer["query"]["id"] == 3 and answer["next"] == "5"
    assert answer["next_url"].startswith(f"http://localhost{GALLERY}/similar/3.json?")
    first = answer["rows"][0]
    assert first == {
        "id": first["id"],
        "key": str(first["id"]),
        "score": first["score"],
        "percentile": first["percentile"],
        "word": first["word"],
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
async def test_similar_page_shows_words_and_picture(photos):
    ds = serve(photos / "photos.db")
    first = (await get_json(ds, f"{GALLERY}/similar/3.json"))["rows"][0]
    html = (await ds.client.get(f"{GALLERY}/similar/3?_size=5&_weaker=1")).text
    figures = f"score {first['score']:.3f}, {calibration.in_words(first['percentile'])}"
    assert f'<span class="imgsim-word" title="{figures}">{first["word"]}</span>' in html
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
    [
        "",
        "?space=two+levels&level_weights=pool5:1,pool3:.5&_size=5",
        "?plus=4&minus=9&minus=12",
        "?_weaker=1",
    ],
)
async def test_the_same_in_sql_is_the_same(two_spaces, query):
    ds = serve(two_spaces)
    html = (await ds.client.get(f"{GALLERY}/similar/3{query}")).text
    sql = unescape(re.search(r"<code>(select.*?)</code>", html, re.S)[1])
    response = await ds.client.get(
        "/photos.json", params={"sql": sql, "_shape": "array"}, follow_redirects=True
    )
    expected = (await get_json(ds, f"{GALLERY}/similar/3.json{query}"))["rows"]
    assert [row["id"] for row in response.json()] == ids(expected, weaker="_weaker" in query)


@pytest.mark.asyncio
async def test_scores_are_shown_on_request_and_links_keep_it(photos):
    ds, path = serve(photos / "photos.db"), f"{GALLERY}/similar/3"
    first = (await get_json(ds, f"{path}.json"))["rows"][0]
    assert 0 <= first["percentile"] <= 100
    figures = f">score {first['score']:.3f}, {calibration.in_words(first['percentile'])}<"
    html = (await ds.client.get(f"{path}?_size=2&_weaker=1")).text
    assert figures not in html and f"{path}?_size=2&_weaker=1&_scores=1" in links(html)
    html = (await ds.client.get(f"{path}?_size=2&_weaker=1&_scores=1")).text
    assert figures in html and f"{path}?_size=2&_weaker=1" in links(html)
    assert f"{path}?_size=2&_next=2&_weaker=1&_scores=1" in links(html)
    assert f"{GALLERY}/similar/{first['id']}?_scores=1" in links(html)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
async def test_the_page_ends_where_images_are_no_longer_alike(photos, size):
    ds, shown = serve(photos / "photos.db"), []
    answer = await get_json(ds, f"{GALLERY}/similar/3.json")
    alike = ids(answer["rows"], weaker=False)
    assert answer["cut"]["alike"] == len(alike) and 0 < len(alike) < 23
    assert all(
        (row["word"] == "faint") == (row["score"] < answer["cut"]["score"])
        for row in answer["rows"]
    )
    path, ends = f"{GALLERY}/similar/3?_size={size}", 0
    while path:
        html = (await ds.client.get(path)).text
        assert f"{len(alike)} alike" in html and "imgsim-cut" not in html
        shown += ids_on(html)
        ends += "Show weaker ones" in html
        path = link(html, "next")
    assert shown == alike and ends == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
async def test_weaker_ones_go_on_there(photos, size):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, f"{GALLERY}/similar/3.json")
    path, weaker, shown, html = f"{GALLERY}/similar/3?_size={size}", None, [], ""
    while path:
        shown += ids_on(html)
        html = (await ds.client.get(path)).text
        weaker = re.search(r'href="([^"]+)#weaker"', html)
        path = link(html, "next")
    path = unescape(weaker[1])
    lines = 0
    if f"_next={len(shown) + len(ids_on(html))}&" in path:
        shown += ids_on(html)
    while path:
        html = (await ds.client.get(path)).text
        shown += ids_on(html)
        lines += html.count('class="imgsim-cut" id="weaker"')
        path = link(html, "next")
    assert shown == ids(answer["rows"]) and lines == 1


@pytest.mark.asyncio
async def test_where_nothing_is_alike_the_nearest_are_shown(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "delete from images where path not like '%0.jpg'")
    ds, path = serve(database), f"{GALLERY}/similar/1"
    answer = await get_json(ds, f"{path}.json")
    assert answer["cut"]["alike"] == 0 and {row["word"] for row in answer["rows"]} == {"faint"}
    html = (await ds.client.get(path)).text
    assert "None is alike: these come nearest" in html and "imgsim-cut" not in html
    assert ids_on(html) == ids(answer["rows"]) and "Show weaker ones" not in html


@pytest.mark.asyncio
async def test_more_alike_than_are_counted(photos, monkeypatch):
    monkeypatch.setattr(LIMITS, "first_hits", 1)
    ds, path = serve(photos / "photos.db"), f"{GALLERY}/similar/3"
    assert (await get_json(ds, f"{path}.json?_size=1"))["cut"]["alike"] is None
    assert "More than 1 alike" in (await ds.client.get(f"{path}?_size=1")).text
    assert (await get_json(ds, f"{path}.json"))["cut"]["alike"] > 1


@pytest.mark.asyncio
async def test_too_few_images_for_words(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "delete from images where id > 2")
    ds, path = serve(database), f"{GALLERY}/similar/1"
    answer = await get_json(ds, f"{path}.json")
    assert answer["cut"] is None and answer["rows"][0]["word"] is None
    html = (await ds.client.get(f"{path}?_scores=1")).text
    assert f">score {answer['rows'][0]['score']:.3f}<" in html and "imgsim-word" not in html


@pytest.mark.asyncio
async def test_levels_are_named_by_what_they_look_at(two_spaces):
    path = f"{GALLERY}/similar/3?space=two+levels"
    html = (await serve(two_spaces).client.get(f"{path}&level_weights=pool5:3,pool3:1")).text
    assert '<label title="The level pool3"><span>texture</span>' in html
    assert '<label title="The level pool5"><span>subject</span>' in html
    assert '<span title="pool3">texture</span> 25 %' in html


@pytest.mark.parametrize(
    "levels, words",
    [
        (["pool5"], ["subject"]),
        (["pool2", "pool5"], ["colour and texture", "subject"]),
        (
            ["pool1", "pool2", "pool3", "pool4", "pool5"],
            ["colour", "colour and texture", "texture", "parts", "subject"],
        ),
        (["conv3_1", "conv3_3"], ["texture (conv3_1)", "texture (conv3_3)"]),
        (["conv4_3", "fc6"], ["parts", "subject"]),
        (["stage2", "stage5"], ["colour and texture", "subject"]),
        (["stage3", "stage7", "head"], ["texture", "subject (stage7)", "subject (head)"]),
        (["embedding"], ["subject"]),
    ],
)
def test_words_for_levels(levels, words):
    assert level_words(levels) == dict(zip(levels, words))


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
