"""Every query that the pages hand out gives the same with its parameters as text."""

import json
import re
from html import unescape
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import sqlite_utils
from datasette.utils import tilde_encode
from helpers.commands import imgsim
from helpers.databases import KEYS, mapped_space
from helpers.serving import ask, ask_one, get_json, ready, started

pytestmark = pytest.mark.datasette

TABLE = "/photos/images"
LINKS = re.compile(r'<a[^>]* href="([^"]+\?sql=[^"]+)"')


@pytest.fixture(params=KEYS)
def served(request, tmp_path):
    """(path of a database whose key is of this kind, its keys); its images lie on a map."""
    return mapped_space(tmp_path / "photos.db", request.param)


async def rows_of(ds, link):
    """The rows of a query as its link runs it: all its parameters are text."""
    parts = dict(parse_qsl(urlsplit(unescape(link)).query, keep_blank_values=True))
    status, body = await ask(ds, parts.pop("sql"), **parts)
    assert status == 200, body
    return body["rows"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query",
    [
        "_similar_to={}&_similar_min=50",
        "_similar_to={}&_similar_min=97.5",
        "_in_atlas=0,0,100,100",
        "_similar_to={}&_similar_min=9&_in_atlas=16,16,100.5,1e2",
    ],
)
async def test_view_and_edit_sql_gives_the_rows_of_the_page(served, query):
    path, keys = served
    ds = await ready(await started(path))
    query = query.format(quote(str(keys[2]), safe=""))
    shown = await get_json(ds, f"{TABLE}.json?_shape=arrays&_size=100&{query}")
    assert shown["rows"]
    links = LINKS.findall((await ds.client.get(f"{TABLE}?_size=100&{query}")).text)
    assert links
    for link in links:
        found = [row[-2:] for row in await rows_of(ds, link)]
        if "imgsim_" in link or "_in_atlas" not in query:  # "Order by likeness" is about that alone
            assert sorted(found, key=repr) == sorted(shown["rows"], key=repr)


@pytest.mark.asyncio
async def test_the_same_in_sql_gives_the_images_of_the_page(served):
    path, keys = served
    ds = await ready(await started(path))
    page = f"{TABLE}/-/imgsim/similar/{tilde_encode(str(keys[2]))}"
    examples = f"plus={quote(str(keys[4]))}&minus={quote(str(keys[6]))}"
    for query in ("?_weaker=1", f"?{examples}&_weaker=1"):
        shown = await get_json(ds, f"{page}.json{query}")
        (link,) = LINKS.findall((await ds.client.get(page + query)).text)
        found = await rows_of(ds, link)
        assert [row[-2] for row in found] == [row["id"] for row in shown["rows"]]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "expression, arguments",
    [
        ("similar_to(:id, :k, :options)", {"k": 5, "options": "{}"}),
        ("similar_to(:id, :k, :options)", {"k": 5, "options": '{"plus": [:other]}'}),
        ("imgsim_score(:id, :other, :options)", {"options": "{}"}),
        ("imgsim_distance(:id, :other)", {}),
        ("hex(imgsim_vector(:id))", {}),
        ("imgsim_percentile(:score)", {"score": 0.25}),
    ],
)
async def test_arguments_of_functions_may_be_text(served, expression, arguments):
    path, (_, id, other, *_) = served
    arguments = {"id": id, "other": other, **arguments}
    if "options" in arguments:
        options = arguments["options"].replace(":other", json.dumps(other))
        arguments["options"] = options
    arguments = {name: value for name, value in arguments.items() if f":{name}" in expression}
    ds = await ready(await started(path))
    texts = {name: str(value) for name, value in arguments.items()}
    given = await ask_one(ds, f"select {expression}", **texts)
    with sqlite_utils.Database(path) as db:
        ((typed,),) = db.execute(f"select {expression}", arguments).fetchall()
    assert given == typed and given not in (None, "[]")


@pytest.mark.asyncio
async def test_the_map_finds_an_image_by_its_key_as_text(served):
    path, keys = served
    ds = await ready(await started(path))
    for name in ("id", "find"):
        answer = await get_json(ds, f"{TABLE}/-/imgsim/map.json?{name}={quote(str(keys[2]))}")
        assert answer["rows"][0]["id"] == keys[2]


def test_the_command_line_finds_an_image_by_its_key_as_text(served):
    path, keys = served
    found = json.loads(imgsim("similar", path, keys[2], "-k", 3, "--json"))
    assert {row["id"] for row in found} < set(keys) - {keys[2]}
