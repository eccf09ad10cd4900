"""One query in three views: the rows of Datasette's own page, the gallery and the map."""

import re
from html import unescape

import pytest
from helpers.databases import change, renamed, rows
from helpers.maps import CORNERS, MAP
from helpers.pictures import opened
from helpers.serving import GALLERY, all_pages, cookies, get_json, serve

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web import selection
from datasette_imgsim.web.query import OWN_OF_GALLERY, OWN_OF_MAP, Query

pytestmark = pytest.mark.datasette

TABLE = "/photos/images"
VIEWS = {"Rows": TABLE, "Gallery": GALLERY, "Map": MAP}


@pytest.fixture
def colourful(mapped):
    """A copy of `mapped` whose images have columns named like parameters of our pages."""
    database = mapped / "photos.db"
    change(database, "alter table images add column color text")
    change(database, "alter table images add column space text")
    change(database, "update images set color = iif(id % 3, 'red', 'blue'), space = 'outer'")
    return mapped


async def tabs(ds, url):
    """The addresses of the tabs of a page by name, and which is the current one."""
    html = (await ds.client.get(url)).text
    nav = re.search(r'<nav class="imgsim-views".*?</nav>', html, re.S)[0]
    links = re.findall(r'<a href="([^"]+)"( aria-current="page")?>(\w+)</a>', nav)
    (current,) = [name for _, is_current, name in links if is_current]
    return {name: unescape(url) for url, _, name in links}, current


async def ids(ds, url):
    """The ids of all rows of a view, in its order."""
    base, _, query = url.partition("?")
    if base == TABLE:
        answer = await get_json(ds, f"{base}.json?{query}&_shape=array&_size=100")
        return [row["id"] for row in answer]
    return [row["id"] for row in await all_pages(ds, f"{base}.json?{query}&_size=7")]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query, sql",
    [
        ("format=JPEG&width__gt=1", "1"),
        ("path__contains=circles", "path like '%circles%'"),
        ("path__contains=circles&id__lt=20&_sort_desc=bytes", "path like '%circles%' and id < 20"),
        ("_where=id%3C5", "id < 5"),
        ("_in_atlas=0,0,128,128&_facet=format", None),
        ("_similar_to=3&_similar_min=60", None),
        ("_similar_to=3&_similar_min=40&path__contains=s&_sort=path", None),
        ("color=red", "color = 'red'"),
        ("space=outer&id=5", "id = 5"),
        ("id=1000", "0"),
    ],
)
async def test_the_tabs_lead_to_the_same_images(colourful, query, sql):
    ds = serve(colourful / "photos.db")
    wanted = await ids(ds, f"{TABLE}?{query}")
    if sql is not None:
        assert sorted(wanted) == rows(
            colourful / "photos.db", f"select id from images where {sql} order by id"
        )
    start, _ = await tabs(ds, f"{TABLE}?{query}")
    for name, url in start.items():
        again, current = await tabs(ds, url)
        assert current == name and again == start
        found = await ids(ds, url)
        assert sorted(found) == sorted(wanted)
        if name == "Gallery" and ("_sort" in query or "_similar_to" not in query):
            assert found == wanted


@pytest.mark.asyncio
async def test_the_gallery_is_in_order_of_likeness_unless_another_one_is_asked_for(photos):
    ds = serve(photos / "photos.db")
    query = "_similar_to=3&_similar_min=30"
    found = await all_pages(ds, f"{GALLERY}.json?{query}&_size=4")
    scores = [row["score"] for row in found]
    assert scores == sorted(scores, reverse=True) and len(scores) > 8
    assert all(row["percentile"] >= 30 for row in found)
    html = (await ds.client.get(f"{GALLERY}?{query}")).text
    assert "best first" in html and "Order by likeness" not in html
    html = (await ds.client.get(f"{GALLERY}?{query}&_sort=path")).text
    link = re.search(r'<a href="([^"]+)">Order by likeness', html)[1]
    assert unescape(link) == f"{GALLERY}?{query}" and "best first" not in html


@pytest.mark.asyncio
async def test_the_filter_is_told_in_words_with_its_picture_on_each_page(mapped):
    ds = serve(mapped / "photos.db")
    query = "_similar_to=3&_similar_min=50&_where=id%3E1"
    count = len(await ids(ds, f"{TABLE}?{query}"))
    for name, base in VIEWS.items():
        html = unescape((await ds.client.get(f"{base}?{query}&_facet=format")).text)
        part = html[html.index('class="imgsim-filter"') :]
        part = re.sub(r"\s+", " ", part[: part.index("</div>")])
        body = html[html.index("<body") :]
        assert body.count("imilar to 2.jpg, closer than 50 % of random pairs") == 1
        assert body.count("<code>id>1</code>") == 1
        assert f'src="{GALLERY}/thumbnail/3.jpg" alt="2.jpg"' in part
        clear = "Show all rows" if name == "Rows" else "clear"
        assert f'<a href="{base}?_facet=format">{clear}</a>' in part
        if name != "Rows":  # where Datasette says so
            assert f"<strong>{count}</strong> of 24 images where" in part


@pytest.mark.asyncio
async def test_without_a_filter_nothing_is_to_be_cleared(mapped):
    ds = serve(mapped / "photos.db")
    for base in (*VIEWS.values(), f"{GALLERY}?_facet=format"):
        html = (await ds.client.get(base)).text
        assert 'class="imgsim-filter"' not in html and 'class="imgsim-views"' in html
    assert 'class="imgsim-views"' not in (await ds.client.get("/photos/imgsim_spaces")).text
    assert 'class="imgsim-views"' not in (await ds.client.get("/photos")).text


@pytest.mark.asyncio
async def test_facets_stand_beside_the_gallery(colourful):
    ds = serve(colourful / "photos.db")
    answer = await get_json(ds, f"{GALLERY}.json?_facet=color&path__contains=c")
    count = answer["filtered"]
    (facet,) = answer["facets"]
    assert facet["name"] == "color" and not facet["truncated"]
    assert {each["label"] for each in facet["values"]} == {"red", "blue"}
    assert sum(each["count"] for each in facet["values"]) == count
    html = (await ds.client.get(f"{GALLERY}?_facet=color&path__contains=c")).text
    url = unescape(re.search(r'<a href="([^"]+)">red</a>', html)[1])
    # A bare `color` would be the map's own parameter.
    assert "color__exact=red" in url and "path__contains=c" in url
    found = await ids(ds, url)
    wanted = "select id from images where color = 'red' and path like '%c%'"
    assert sorted(found) == sorted(rows(colourful / "photos.db", wanted))
    html = (await ds.client.get(url)).text
    assert "<strong>red</strong>" in html
    out = unescape(re.search(r'href="([^"]+)" title="Take red out', html)[1])
    assert len(await ids(ds, out)) == count


@pytest.mark.asyncio
async def test_facets_count_the_same_on_each_page(colourful):
    ds = serve(colourful / "photos.db")
    path = f"{GALLERY}.json?_facet=color&_size=10"
    first = await get_json(ds, path)
    second = await get_json(ds, path + f"&_next={first['next']}")
    assert first["facets"] == second["facets"] and first["filtered"] == second["filtered"] == 24


@pytest.mark.asyncio
async def test_what_is_configured_for_the_table_holds_for_the_gallery(colourful):
    table = {"facets": ["color"], "sort_desc": "id"}
    ds = serve(colourful / "photos.db", databases={"photos": {"tables": {"images": table}}})
    answer = await get_json(ds, f"{GALLERY}.json")
    assert [row["id"] for row in answer["rows"]] == list(range(24, 0, -1))
    assert [facet["name"] for facet in answer["facets"]] == ["color"]
    html = (await ds.client.get(GALLERY)).text
    assert "Remove the facet" not in html


@pytest.mark.asyncio
async def test_facets_are_suggested_for_a_small_table_only(colourful, monkeypatch):
    ds = serve(colourful / "photos.db")
    link = f'<a href="{GALLERY}?_facet=color">color</a>'
    assert link in (await ds.client.get(GALLERY)).text
    monkeypatch.setattr(LIMITS, "rows_for_facets", 23)
    assert link not in (await ds.client.get(GALLERY)).text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query, status, error",
    [
        ("_sort=nope", 400, "Cannot sort table by nope"),
        ("_facet=nope", 400, "nope"),
        ("_where=nope(", 400, "syntax error"),
        ("_similar_to=99", 404, "There is no image '99'"),
        ("_similar_to=3&_similar_min=x", 400, "_similar_min is a percentile"),
        ("_similar_to=3&_next=x", 400, "_next is a whole number"),
    ],
)
async def test_what_datasette_refuses_is_one_sentence(mapped, query, status, error):
    ds = serve(mapped / "photos.db")
    answer = await get_json(ds, f"{GALLERY}.json?{query}", status)
    assert answer["ok"] is False and error in answer["error"]
    response = await ds.client.get(f"{GALLERY}?{query}")
    assert response.status_code == status and error in unescape(response.text)
    if "_next" not in query and "_sort" not in query and "_facet" not in query:
        for path in (f"{MAP}?", f"{MAP}.json?", f"{GALLERY}/tiles/0/0/0.jpg?"):
            response = await ds.client.get(path + query)
            assert response.status_code == status and error in unescape(response.text)


@pytest.mark.asyncio
async def test_an_endless_filter_is_ended(mapped, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_of_selection", 0.1)
    ds = serve(mapped / "photos.db", settings={"sql_time_limit_ms": 100})
    endless = (
        "_where=id+in+(with+recursive+n(i)+as+(select+1+union+all+select+i%2B1+from+n)"
        "+select+i+from+n+where+i=-1)"
    )
    for path in (f"{GALLERY}.json", f"{MAP}.json"):
        answer = await get_json(ds, f"{path}?{endless}", 400)
        assert "takes longer than 0.1 s" in answer["error"]


@pytest.mark.asyncio
async def test_a_slow_read_of_all_selected_images_is_ended(mapped, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_of_selection", 0)
    ds = serve(mapped / "photos.db")
    answer = await get_json(ds, f"{MAP}.json?id__lt=20", 400)
    assert "takes longer than 0 s" in answer["error"]


@pytest.mark.asyncio
async def test_who_may_not_run_sql_may_not_select_with_it(mapped):
    ds = serve(mapped / "photos.db", databases={"photos": {"allow_sql": {"id": "ann"}}})
    for path in (f"{GALLERY}.json", f"{MAP}.json", f"{GALLERY}/tiles/0/0/0.jpg"):
        ann = await ds.client.get(f"{path}?_where=id%3C3", cookies=cookies(ds, "ann"))
        assert ann.status_code == 200
        # Also right after somebody who may has asked for the same.
        assert (await ds.client.get(f"{path}?_where=id%3C3")).status_code == 403


@pytest.mark.asyncio
async def test_a_private_table_is_filtered_for_those_who_may_see_it(mapped):
    private = {"photos": {"tables": {"images": {"allow": {"id": "ann"}}}}}
    ds = serve(mapped / "photos.db", databases=private)
    for base in (GALLERY, MAP):
        path = f"{base}.json?id__lt=4"
        assert (await ds.client.get(path)).status_code == 403
        answer = await ds.client.get(path, cookies=cookies(ds, "ann"))
        assert [row["id"] for row in answer.json()["rows"]] == [1, 2, 3]


@pytest.mark.asyncio
async def test_text_keys_and_a_prefix_of_all_urls(mapped):
    database = mapped / "photos.db"
    keys = renamed(database, "our pictures", lambda id: f"no. {id}/ä,")
    change(database, "update imgsim_atlas set image_key = 'no. ' || image_key || '/ä,'")
    ds = serve(database, settings={"base_url": "/pre/"})
    base = "/photos/our+pictures/-/imgsim"
    query = "path__contains=circles&_sort_desc=path"
    found = await all_pages(ds, f"{base}.json?{query}&_size=4", "/pre/")
    paths = rows(database, 'select "the key", path from "our pictures" order by path desc')
    assert [row["id"] for row in found] == [key for key, path in paths if "circles" in path]
    assert {row["id"] for row in found} < set(keys.values())
    selected = await all_pages(ds, f"{base}/map.json?{query}&_size=4", "/pre/")
    assert {row["id"] for row in selected} == {row["id"] for row in found}
    html = unescape((await ds.client.get(f"{base}?{query}")).text)
    assert f'href="/pre/photos/our+pictures?{query}"' in html


# The map


@pytest.mark.asyncio
async def test_a_cell_shows_what_is_selected_and_dims_the_rest(mapped):
    ds = serve(mapped / "photos.db")
    database = mapped / "photos.db"
    circles = rows(database, "select id from images where path like '%circles%' order by id")
    for chosen in circles:
        answer = await get_json(ds, f"{MAP}.json?z=0&id__exact={chosen}")
        shown = {row["id"]: row["wanted"] for row in answer["rows"]}
        assert len(shown) == 4 and shown.pop(chosen) == 1 and set(shown.values()) == {0}
    answer = await get_json(ds, f"{MAP}.json?z=0&path__contains=circles")
    assert sorted(row["wanted"] for row in answer["rows"]) == [0, 0, 0, 6]
    plain = opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg"))
    dimmed = opened(await ds.client.get(f"{GALLERY}/tiles/0/0/0.jpg?path__contains=circles"))
    ((x, y),) = rows(database, "select x, y from imgsim_atlas where image_key = ?", circles[0])
    dark = plain.getpixel((128, 128))
    for corner in CORNERS:
        centre = tuple(int(c // 64 * 64 + 32) for c in corner)
        here = [abs(a - b) for a, b in zip(dimmed.getpixel(centre), dark)]
        if (int(x // 64), int(y // 64)) == (corner[0] // 64, corner[1] // 64):
            assert sum(here) > 60
        else:
            assert sum(here) < sum(abs(a - b) for a, b in zip(plain.getpixel(centre), dark))


@pytest.mark.asyncio
async def test_a_tile_of_another_filter_is_another_tile(mapped):
    ds = serve(mapped / "photos.db")
    tile = f"{GALLERY}/tiles/0/0/0.jpg"
    etags = {
        (await ds.client.get(tile + query)).headers["etag"]
        for query in ("", "?id__lt=9", "?id__gt=9", "?id=1000")
    }
    # On the map, `id` opens an image and is no filter.
    assert len(etags) == 3
    first = await ds.client.get(tile + "?path__contains=circles")
    change(mapped / "photos.db", "update images set path = 'x' || id where path like '%circles%'")
    second = await ds.client.get(tile + "?path__contains=circles")
    assert first.headers["etag"] != second.headers["etag"]


@pytest.mark.asyncio
async def test_an_area_holds_what_is_selected(mapped):
    ds = serve(mapped / "photos.db")
    inside = await get_json(ds, f"{MAP}.json?bbox=0,0,128,128")
    some = [row["id"] for row in inside["rows"]][:2]
    answer = await get_json(ds, f"{MAP}.json?bbox=0,0,128,128&id__lte={some[1]}&_size=1")
    assert answer["count"] == 2 and answer["next"] == "1"
    assert "id__lte" in answer["next_url"] and "bbox=0,0,128,128" in answer["next_url"]


@pytest.mark.asyncio
async def test_which_images_are_selected_is_read_once(mapped, monkeypatch):
    reads, read = [], selection.read_keys
    from datasette_imgsim.web.pages import selected

    async def counted(*args):
        reads.append(args)
        return await read(*args)

    monkeypatch.setattr(selected, "read_keys", counted)
    ds = serve(mapped / "photos.db")
    for _ in range(2):
        for x in range(2):
            await ds.client.get(f"{GALLERY}/tiles/1/{x}/0.jpg?id__lt=9")
        await ds.client.get(f"{MAP}?id__lt=9")
    assert len(reads) == 1


@pytest.mark.asyncio
async def test_while_the_space_loads_the_pages_wait(mapped, gate):
    ds = serve(mapped / "photos.db")
    for path in (GALLERY, MAP):
        response = await ds.client.get(f"{path}?_similar_to=3")
        assert response.status_code == 200 and 'data-then="reload"' in response.text
        assert "is loading" in response.text and "no-store" in response.headers["cache-control"]
        answer = await get_json(ds, f"{path}.json?_similar_to=3", 503)
        assert answer["loading"] is True
    answer = await get_json(ds, f"{GALLERY}.json?id__lt=3")
    assert len(answer["rows"]) == 2


# The query itself


@pytest.mark.parametrize(
    "text, own, rows_query, page_query",
    [
        ("format=JPEG&_size=3&_next=9", OWN_OF_GALLERY, "format=JPEG", "format=JPEG"),
        ("bbox=0,0,1,1&x=", OWN_OF_GALLERY, "_in_atlas=0,0,1,1&x=", "_in_atlas=0,0,1,1&x="),
        ("bbox=0,0,1,1&id=3&at=1/2/3&z=2", OWN_OF_MAP, "", ""),
        ("space=a&plus=3&color=red", OWN_OF_GALLERY, "_space=a&color=red",
         "space=a&color__exact=red"),
        ("space=a&space__exact=b&color=red", OWN_OF_MAP, "_space=a&space=b",
         "space=a&space__exact=b"),
        ("space=&_facet=id&_sort=id", OWN_OF_MAP, "_facet=id&_sort=id", "_facet=id&_sort=id"),
    ],
)  # fmt: skip
def test_a_query_in_both_spellings(text, own, rows_query, page_query):
    query = Query.of_page(text, own)
    assert (query.for_rows, query.for_pages) == (rows_query, page_query)
    assert Query.of_page(query.for_pages, OWN_OF_MAP) == query == Query.of_table(query.for_rows)


@pytest.mark.parametrize(
    "text, is_filter, cleared",
    [
        ("", False, ""),
        ("_space=a&_facet=x&_facet_size=3", False, "_space=a&_facet=x&_facet_size=3"),
        ("_sort=x", False, ""),
        ("_space=a&_similar_min=9", False, "_space=a"),
        ("_facet=x&x=1&_search=y", True, "_facet=x"),
        ("_sort__gt=1&_facet__exact=3", True, ""),
        ("_other=1", True, ""),
    ],
)
def test_what_a_query_leaves_out(text, is_filter, cleared):
    query = Query.of_table(text)
    assert query.is_filter == is_filter and query.cleared.for_rows == cleared
