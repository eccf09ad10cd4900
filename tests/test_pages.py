"""Gallery and similar pages, as HTML and as JSON."""

import hashlib
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest
from conftest import imgsim, rows
from datasette.app import Datasette
from datasette.utils import tilde_encode
from made import set_source
from serving import GALLERY, ROW_KEYS, all_pages, gallery_of, get_json, group, links, renamed, serve

import datasette_imgsim
from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.search import calibration, indexes, ranking

pytestmark = pytest.mark.datasette

TEMPLATES = Path(datasette_imgsim.__file__).parent / "templates"


def change(database, sql, *parameters):
    conn = sqlite3.connect(database)
    conn.execute(sql, parameters)
    conn.commit()
    conn.close()


@pytest.mark.asyncio
async def test_gallery_shows_each_image_with_its_links(photos):
    html = (await serve(photos / "photos.db").client.get(GALLERY)).text
    assert html.count('class="imgsim-tile"') == 24
    assert f'href="{GALLERY}/similar/1"' in html
    assert 'href="/photos/images/1"' in html
    assert re.search(rf'src="{GALLERY}/thumbnail/1.jpg" alt="\d.jpg" loading="lazy"', html)


@pytest.mark.asyncio
async def test_gallery_counts_images_vectors_and_failures(copy_photos):
    database = copy_photos / "photos.db"
    change(
        database, "insert into imgsim_failures values ('images', 'a<b.jpg', 'cut off', 1, 1, '')"
    )
    ds = serve(database)
    html = (await ds.client.get(GALLERY)).text
    assert "24 images" in html and "24 vectors" in html and "1 failure" in html
    assert "a&lt;b.jpg" in html and "cut off" in html
    answer = await get_json(ds, f"{GALLERY}.json")
    assert answer["counts"] == {"images": 24, "vectors": 24, "failures": 1}
    assert answer["failures"] == [{"source": "a<b.jpg", "error": "cut off"}]


@pytest.mark.asyncio
async def test_gallery_lists_the_spaces(photos):
    answer = await get_json(serve(photos / "photos.db"), f"{GALLERY}.json")
    (space,) = answer["spaces"]
    assert space["name"] == answer["space"] and space["is_default"] and space["vectors"] == 24
    assert space["model"] == "vgg16-oxford" and space["dimensions"] > 0 and space["levels"]


@pytest.mark.asyncio
async def test_many_failures_are_cut_with_their_total(copy_photos):
    for number in range(103):
        change(
            copy_photos / "photos.db",
            "insert into imgsim_failures values ('images', ?, 'cut off', 1, 1, '')",
            f"{number}.jpg",
        )
    html = (await serve(copy_photos / "photos.db").client.get(GALLERY)).text
    assert "The first 100 of 103" in html
    assert "/photos/imgsim_failures?source_table__exact=images" in html


@pytest.mark.asyncio
async def test_gallery_pages_show_each_image_once(photos):
    found = await all_pages(serve(photos / "photos.db"), f"{GALLERY}.json?_size=7")
    assert [row["id"] for row in found] == rows(photos / "photos.db", "select id from images")
    assert all(set(row) == ROW_KEYS for row in found)


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
        chance = calibration.calibration_of(conn, vectors, ranking.weights(space)).chance
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
@pytest.mark.parametrize(
    "path,status,sentence",
    [
        ("/similar/3{}?_size=0", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_size=201", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_size=x", 400, "_size is a whole number from 1 to 200"),
        ("/similar/3{}?_next=-1", 400, "_next is a whole number"),
        ("{}?_next=x", 400, "_next is the key of an image"),
        ("{}?_next=--5", 400, "_next is the key of an image"),
        ("/similar/--5{}", 404, "no image '--5'"),
        ("/similar/3{}?_size=000000001999999", 400, "_size is a whole number from 1 to 200"),
        pytest.param(
            "/similar/3{}?_size=" + "1" * 5000, 400, "_size is a whole number", id="digits"
        ),
        ("/similar/3{}?space=nope", 400, "No space 'nope'"),
        ("{}?space=nope", 400, "No space 'nope'"),
        ("/similar/3{}?level_weights=x", 400, "Level weights are written"),
        ("/similar/3{}?level_weights=pool9:1", 400, "no level 'pool9'"),
        ("/similar/99{}", 404, "There is no image '99'"),
        ("/similar/x~2Fy{}", 404, "There is no image 'x/y'"),
        ("/similar/99999999999999999999{}", 404, "There is no image"),
    ],
)
async def test_errors_are_one_sentence(photos, path, status, sentence):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, GALLERY + path.format(".json"), status)
    assert set(answer) == {"ok", "error"} and answer["ok"] is False and sentence in answer["error"]
    response = await ds.client.get(GALLERY + path.format(""))
    assert response.status_code == status and sentence in unescape(response.text)
    assert "Traceback" not in response.text


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/photos/other", "/photos/nope", "/nope/images"])
async def test_tables_without_images_are_not_found(copy_photos, path):
    change(copy_photos / "photos.db", "create table other (id integer primary key)")
    ds = serve(copy_photos / "photos.db")
    assert (await get_json(ds, f"{path}/-/imgsim.json", 404))["error"]
    assert (await ds.client.get(f"{path}/-/imgsim")).status_code == 404


@pytest.mark.asyncio
async def test_a_database_without_our_tables_shows_nothing_of_us(tmp_path):
    change(tmp_path / "plain.db", "create table images (id integer primary key, path text)")
    ds = serve(tmp_path / "plain.db")
    answer = await get_json(ds, "/plain/images/-/imgsim.json", 404)
    assert "datasette imgsim embed" in answer["error"]
    for path in ("/plain", "/plain/images"):
        assert "imgsim" not in (await ds.client.get(path)).text


def moved_to_products(database, images):
    """Makes the images those of a table `products`, beside another table of their old name."""
    change(database, "alter table images rename to products")
    set_source(database, "products")
    change(database, images)
    change(database, "insert into images values (1, 'https://example.com/a.jpg')")


@pytest.mark.asyncio
async def test_somebody_elses_table_of_the_name_images_is_none_of_ours(copy_photos):
    database = copy_photos / "photos.db"
    moved_to_products(database, "create table images (id integer primary key, url text)")
    ds = serve(database)
    assert (await get_json(ds, f"{GALLERY}.json", 404))["error"]
    html = (await ds.client.get("/photos/images")).text
    assert "example.com" in html and "imgsim" not in html
    assert GALLERY not in (await ds.client.get("/photos")).text
    assert 'class="imgsim-cell"' in (await ds.client.get("/photos/products")).text


@pytest.mark.asyncio
async def test_a_table_that_cannot_be_used_does_not_hide_another(copy_photos):
    database = copy_photos / "photos.db"
    moved_to_products(database, "create table images (id, url, primary key (id, url))")
    columns = ", ".join(
        {"id": "9", "name": "'compound'", "source_table": "'images'"}.get(name, name)
        for name in rows(database, "select name from pragma_table_info('imgsim_spaces')")
    )
    change(database, f"insert into imgsim_spaces select {columns} from imgsim_spaces")
    ds = serve(database)
    assert 'class="imgsim-cell"' in (await ds.client.get("/photos/products")).text
    assert "compound primary key" in (await get_json(ds, f"{GALLERY}.json", 503))["error"]


@pytest.mark.asyncio
async def test_a_source_table_is_listed_once(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "alter table images rename to pictures")
    change(database, "alter table pictures rename to Images")
    set_source(database, "Images")
    html = (await serve(database).client.get("/photos")).text
    assert "/photos/Images/-/imgsim" in html and GALLERY not in html


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
    change(database, "delete from imgsim_vectors where image_id = 3")
    ds = serve(database)
    assert "has no vector" in (await get_json(ds, f"{GALLERY}/similar/3.json", 404))["error"]
    response = await ds.client.get(f"{GALLERY}/similar/3")
    assert response.status_code == 404
    assert "has no vector" in response.text and f"{GALLERY}/thumbnail/3.jpg" in response.text


@pytest.mark.asyncio
async def test_an_image_without_a_thumbnail_has_a_placeholder(copy_photos):
    change(copy_photos / "photos.db", "delete from imgsim_thumbnails where image_id = 3")
    ds = serve(copy_photos / "photos.db")
    html = (await ds.client.get(GALLERY)).text
    assert "no thumbnail" in html and f"{GALLERY}/thumbnail/3.jpg" not in html
    found = await get_json(ds, f"{GALLERY}.json")
    assert [row["id"] for row in found["rows"] if not row["thumbnail"]] == [3]


@pytest.mark.asyncio
async def test_without_images_the_gallery_says_how_to_add_some(tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "notes.jpg", "--quiet", exit_code=1)
    ds = serve(tmp_path / "photos.db")
    html = (await ds.client.get(GALLERY)).text
    assert "There are no images yet" in html and "datasette imgsim embed photos.db" in html
    assert "notes.jpg" in html and "imgsim-ask" not in html
    assert (await get_json(ds, f"{GALLERY}.json"))["rows"] == []


@pytest.mark.asyncio
async def test_pages_say_that_a_space_is_loading(photos, monkeypatch):
    release, load = threading.Event(), indexes.load

    def slowly(*args):
        release.wait(10)
        return load(*args)

    monkeypatch.setattr(indexes, "load", slowly)
    ds = serve(photos / "photos.db")
    try:
        for path in ("", "/similar/3"):
            response = await ds.client.get(GALLERY + path)
            assert response.status_code == 200
            assert "is loading" in response.text and "data-loading=" in response.text
        answer = await get_json(ds, f"{GALLERY}/similar/3.json")
        assert answer["ok"] is False and answer["loading"] and "is loading" in answer["error"]
        assert "is loading" in (await get_json(ds, f"{GALLERY}.json"))["loading"]
    finally:
        release.set()
    assert (await get_json(ds, f"{GALLERY}/similar/3.json"))["ok"]


@pytest.mark.asyncio
async def test_a_space_that_cannot_be_loaded_stops_only_the_search(copy_photos):
    change(copy_photos / "photos.db", "update imgsim_spaces set centre = x'00'")
    ds = serve(copy_photos / "photos.db")
    await get_json(ds, f"{GALLERY}/similar/4.json", 503)
    response = await ds.client.get(GALLERY)
    assert response.status_code == 200 and "cannot be loaded" in response.text
    assert response.text.count('class="imgsim-tile"') == 24


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql,sentence",
    [
        ("update _sqlite_migrations set name = 'm999' where name like 'm001%'", "newer"),
        ("delete from _sqlite_migrations", "older"),
    ],
)
async def test_databases_of_other_versions_are_named(copy_photos, sql, sentence):
    change(copy_photos / "photos.db", sql)
    ds = serve(copy_photos / "photos.db")
    for path in (GALLERY, f"{GALLERY}/similar/3"):
        response = await ds.client.get(path)
        assert response.status_code == 503 and sentence in response.text
    assert sentence in (await get_json(ds, f"{GALLERY}.json", 503))["error"]
    assert (await ds.client.get("/photos/images")).status_code == 200


def with_keys(database, kind, keys):
    """Makes the first images those of a table `loose`, with other keys."""
    change(database, f"create table loose (id {kind} primary key, path text)")
    for id, key in enumerate(keys, 1):
        change(database, "insert into loose select ?, path from images where id = ?", key, id)
        for table in ("imgsim_vectors", "imgsim_thumbnails"):
            change(database, f"update {table} set image_id = ? where image_id = ?", key, id)
    set_source(database, "loose")


LOOSE = "/photos/loose/-/imgsim"
MANY = list(range(101, 125))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, keys",
    [
        ("", MANY),
        ("", [str(key) for key in MANY]),
        ("", [*MANY[:12], *(str(key) for key in MANY[12:])]),
        ("", [2**62 + key for key in MANY]),
        ("int", [f"x{key}" for key in MANY]),
        ("int", [*MANY[:12], *(f"x{key}" for key in MANY[12:])]),
        ("text", [f"0{key}" for key in MANY]),
    ],
)
async def test_all_pages_of_a_gallery_are_reached_whatever_its_keys_are(copy_photos, kind, keys):
    with_keys(copy_photos / "photos.db", kind, keys)
    found = await all_pages(serve(copy_photos / "photos.db"), f"{LOOSE}.json?_size=5")
    assert [row["id"] for row in found] == keys


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, keys",
    [("", MANY), ("", [str(key) for key in MANY]), ("int", [f"x{key}" for key in MANY])],
)
async def test_a_gallery_goes_on_after_an_image_that_is_gone(copy_photos, kind, keys):
    with_keys(copy_photos / "photos.db", kind, keys)
    ds = serve(copy_photos / "photos.db")
    first = await get_json(ds, f"{LOOSE}.json?_size=5")
    change(copy_photos / "photos.db", "delete from loose where id = ?", keys[4])
    after = await get_json(ds, f"{LOOSE}.json?_size=5&_next={first['next']}")
    assert [row["id"] for row in after["rows"]] == keys[5:10]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, key, asked",
    [
        ("text", "77", "077"),
        ("text", "77", "٧٧"),
        ("integer", 77, "٧٧"),
        ("", 77, "077"),
        ("", 77, "٧٧"),
    ],
)
async def test_an_id_that_is_written_otherwise_is_another(copy_photos, kind, key, asked):
    with_keys(copy_photos / "photos.db", kind, [key, "78" if kind == "text" else 78])
    ds = serve(copy_photos / "photos.db")
    await get_json(ds, f"{LOOSE}/similar/{tilde_encode(str(key))}.json")
    for path in (f"similar/{tilde_encode(asked)}.json", f"similar/78.json?plus={asked}"):
        await get_json(ds, f"{LOOSE}/{path}", 404)
    await get_json(ds, f"/photos/loose.json?_similar_to={asked}&_similar_min=0", 404)


ODD = """my "photos".v2 ü's"""


@pytest.mark.asyncio
@pytest.mark.parametrize("base_url", ["/", "/pre/fix/"])
@pytest.mark.parametrize(
    "key_of",
    [lambda id: id * 10, lambda id: f"a/b.{id}~é '%\"?&#", str],
    ids=["int", "odd", "text"],
)
async def test_odd_names_and_keys(copy_photos, base_url, key_of):
    database = copy_photos / f"{ODD}.db"
    (copy_photos / "photos.db").rename(database)
    table = """im"ages.x 'ü' /1"""
    keys = renamed(database, table, key_of)
    ds = serve(database, settings={"base_url": base_url})
    gallery = gallery_of(ODD, table)
    answer = await get_json(ds, f"{gallery}.json?_size=5&_next=")
    found = answer["rows"]
    assert {row["id"] for row in found} <= set(keys.values()) and len(found) == 5
    whole = {row["id"] for row in await all_pages_below(ds, f"{gallery}.json?_size=9", base_url)}
    assert whole == set(keys.values())
    html = (await ds.client.get(gallery)).text
    similar = next(link for link in links(html) if "/similar/" in link)
    assert similar.startswith(base_url)
    page = (await ds.client.get(below(similar, base_url))).text
    for link in links(html) | links(page):
        response = await ds.client.get(below(link, base_url), follow_redirects=True)
        assert response.status_code == 200, link


def below(link, base_url):
    """The path that the test client wants: it adds the base_url itself."""
    return "/" + link.removeprefix("http://localhost").removeprefix(base_url)


async def all_pages_below(ds, path, base_url):
    found = []
    while path:
        answer = await get_json(ds, path)
        found += answer["rows"]
        path = answer["next_url"] and below(answer["next_url"], base_url)
    return found


@pytest.mark.asyncio
async def test_immutable_databases_are_served_and_never_written(photos, tmp_path):
    database = tmp_path / "photos.db"
    database.write_bytes((photos / "photos.db").read_bytes())
    before = hashlib.sha256(database.read_bytes()).digest()
    for immutable in (True, False):
        ds = serve(database, immutable=immutable)
        for path in ("", ".json", "/similar/3", "/similar/3.json", "/thumbnail/3.jpg"):
            assert (await ds.client.get(GALLERY + path)).status_code == 200, path
    assert hashlib.sha256(database.read_bytes()).digest() == before


@pytest.mark.asyncio
async def test_cors_is_honoured(photos):
    ds = Datasette([str(photos / "photos.db")], cors=True)
    for path in (".json", "/similar/99.json", "/thumbnail/3.jpg"):
        response = await ds.client.get(GALLERY + path)
        assert response.headers["access-control-allow-origin"] == "*"


def test_serving_imports_no_network_library(photos):
    script = f"""
import asyncio, sys
from datasette.app import Datasette
ds = Datasette([{str(photos / "photos.db")!r}])
async def main():
    for path in ("", "/similar/3", "/thumbnail/3.jpg"):
        assert (await ds.client.get({GALLERY!r} + path)).status_code == 200
asyncio.run(main())
print([name for name in ("torch", "torchvision", "sklearn") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_templates_have_nothing_that_a_strict_policy_forbids(template):
    text = template.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
