"""Senseless parameters on every route, and senseless arguments of every SQL function.

`python benchmarks/reliability fuzz` tries many more of them.
"""

import asyncio
import json
import re
import sqlite3
import sys
import time
import urllib.parse
from pathlib import Path

import pytest
from datasette.database import QueryInterrupted
from datasette.plugins import pm
from helpers import toy as toy_plugin
from helpers.commands import embed_toy, imgsim
from helpers.databases import lay_out, rows
from helpers.maps import places_of
from helpers.pictures import as_jpeg, draw_groups
from helpers.routes import PATTERNS, hold, paths_of
from helpers.serving import serve
from helpers.waiting import LONG
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import datasette_imgsim
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.search import arguments, functions
from datasette_imgsim.web.table.filters import FILTERS

pytestmark = pytest.mark.datasette

WEB = Path(datasette_imgsim.__file__).parent / "web"
OF_TABLE = sorted({*FILTERS, "_similar_min"})
PARAMETERS = sorted(
    {
        name
        for file in WEB.rglob("*.py")
        for name in re.findall(r"args(?:\.get|\.getlist)?[(\[]\"(\w+)\"", file.read_text())
    }.union(OF_TABLE)
)
ODD = (
    *("", " ", "0", "-0", "-1", "3", "03", "3.0", "1e3", "1e999", "nan", "inf", "-inf", "max"),
    *("9" * 19, "9" * 5000, "٣", "²", "½", "1_0", "0x1", "null", "true", "[]", "{}", "\0"),
    *("%", "'", '"', ";", "~", "~2F", "~zz", "..", "../../etc/passwd", "<script>", "\ud7ff", "😀"),
    *("pool1:1", "pool1:nan", "pool1:1e999", "pool1:1,pool2:-1", "pool1:0", ":", ",,,", "pool1"),
    *("0,0,256,256", "1,0,0,1", "nan,0,1,1", "0,0,1e999,1", "1,2,3", "1,2,3,4,5"),
    *("0,0,.5,.5", ".5,.5,.4,.6", "0,0,.001,1", "nan,0,1,1", "0,0,1,1e999"),
    *("toy-pool1-flatten", "images", "path", "taken_at", "id", "no such", "x" * 10_000),
)
texts = st.sampled_from(ODD) | st.text(max_size=30)
numbers = st.integers(-(10**20), 10**20) | st.floats()
values = (
    texts
    | st.binary(max_size=20)
    | numbers.map(str)
    | st.lists(numbers.map(str), max_size=5).map(",".join)
    | st.lists(st.tuples(st.sampled_from(["pool1", "pool2", ""]), numbers.map(str)).map(":".join))
    .map(",".join)
)  # fmt: skip


def parameters(names):
    """Strategy: a query string of some of these parameters."""
    pairs = st.lists(st.tuples(st.sampled_from(names), values), max_size=5)
    return pairs.map(urllib.parse.urlencode)


def paths(pattern):
    """Strategy: addresses that a route takes, of the table images: sensible ones, and any."""
    sensible = st.sampled_from(paths_of(pattern))
    for group, value in (("database", "photos"), ("table", "images")):
        pattern = re.sub(rf"\(\?P<{group}>[^)]+\)", value, pattern)
    return sensible | st.from_regex(pattern, fullmatch=True).map(urllib.parse.quote)


class Server:
    """A Datasette of 24 images with a map, whose network is quick, and its event loop."""

    def __init__(self, folder):
        draw_groups(folder / "images")
        embed_toy(folder, "--quiet")
        database = folder / "photos.db"
        lay_out(database, places_of(rows(database, "select id from images order by path")))
        imgsim("neighbours", database)
        self.loop = asyncio.new_event_loop()
        self.datasette = serve(database, {"images_root": str(folder)})
        self.run(self.datasette.invoke_startup())
        hold(self.datasette, database)

    def run(self, coroutine):
        """What it gives, once it has come to its end in time."""
        started = time.monotonic()
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            # Datasette's own limit is one second, but the machine may be busy.
            assert time.monotonic() - started < LONG

    def ask(self, method, path, query, **options):
        """Requests a page, which must be well-formed, and no failure of the server."""
        request = self.datasette.client.request(method, f"{path}?{query}", **options)
        response = self.run(request)
        assert response.status_code < 500, response.text
        kind = response.headers.get("content-type", "")
        if "image" not in kind:
            assert "Traceback" not in response.text
        if "json" in kind and response.content:
            json.loads(response.text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pm.register(toy_plugin, name="toy")
    server = Server(tmp_path_factory.mktemp("malformed"))
    yield server
    server.loop.close()
    pm.unregister(toy_plugin)


def test_the_parameters_are_found():
    assert {"_size", "_next", "level_weights", "plus", "color", "_similar_to"} <= set(PARAMETERS)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
def test_our_routes(server, pattern, data):
    path, query = data.draw(paths(pattern)), data.draw(parameters(PARAMETERS))
    method = data.draw(st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "PUT"]))
    headers = {"accept": data.draw(st.sampled_from(["text/html", "application/json", "*/*", ""]))}
    server.ask(method, path, query, headers=headers)


JPEG = as_jpeg(Image.new("RGB", (20, 20), "red"))


@given(
    page=st.sampled_from(["search", "upload"]),
    body=st.binary(max_size=100) | st.just(JPEG),
    query=parameters(PARAMETERS),
)
def test_uploads(server, page, body, query):
    server.ask("POST", f"/photos/images/-/imgsim/{page}", query, content=body)


@given(suffix=st.sampled_from(["", ".json", ".csv"]), query=parameters(OF_TABLE))
def test_filters_of_datasettes_own_pages(server, suffix, query):
    server.ask("GET", f"/photos/images{suffix}", query)


of_json = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
options = st.dictionaries(st.sampled_from(arguments.STATUS_OPTIONS) | texts, of_json, max_size=3)
arguments = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 25)
    | st.floats()
    | texts
    | st.binary(max_size=20)
    | options.map(json.dumps)
)


@pytest.mark.parametrize("name", functions.ARITIES)
@given(data=st.data())
def test_our_functions(server, name, data):
    count = data.draw(st.sampled_from(functions.ARITIES[name]))
    given = data.draw(st.lists(arguments, min_size=count, max_size=count))
    names = [f"a{number}" for number in range(count)]
    sql = f"select {name}({', '.join(':' + name for name in names)})"
    raised = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda args: raised.append(args.exc_value))
        try:
            server.run(
                server.datasette.get_database("photos").execute(sql, dict(zip(names, given)))
            )
        except (sqlite3.OperationalError, QueryInterrupted):
            pass
    # Whatever a function raises is the same error of SQLite's; only the server's log tells more.
    assert all(isinstance(ex, ImgsimError) for ex in raised), raised
