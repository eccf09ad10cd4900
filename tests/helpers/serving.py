"""A Datasette of a test's database, and requests to it."""

import re
from html import unescape

from datasette import handle_exception
from datasette.app import Datasette
from datasette.utils import tilde_encode

from .waiting import eventually

# Where rich is installed, Datasette prints each error with it, which takes longer than most tests.
handle_exception.rich = None

IS_1 = hasattr(Datasette, "allowed")
GALLERY = "/photos/images/-/imgsim"
ROW_KEYS = {"id", "key", "score", "percentile", "word", "href", "thumbnail"}


def serve(database, plugin=None, immutable=False, settings=None, **config):
    """A Datasette of a file; `plugin` is the plugin's configuration, `config` Datasette's own."""
    if plugin is not None:
        config["plugins"] = {"datasette-imgsim": plugin}
    files = {"immutables": [str(database)]} if immutable else {"files": [str(database)]}
    name = "config" if IS_1 else "metadata"
    return Datasette(**{"files": [], **files, name: config}, settings=settings or {})


async def started(paths, **options):
    """A Datasette of these files that has started."""
    paths = paths if isinstance(paths, list) else [paths]
    ds = Datasette([str(path) for path in paths], **options)
    await ds.invoke_startup()
    return ds


def cookies(ds, id):
    """What the browser of somebody who has logged in sends."""
    return {"ds_actor": ds.sign({"a": {"id": id}}, "actor")}


async def get_json(ds, path, status=200):
    """The JSON of a page that answers with this status."""
    response = await ds.client.get(path)
    assert response.status_code == status, response.text
    return response.json()


def below(link, base_url="/"):
    """The path that the test client wants of a link: the client adds the base_url itself."""
    return "/" + link.removeprefix("http://localhost").removeprefix(base_url)


async def all_pages(ds, path, base_url="/"):
    """The rows of a page and of all that follow it."""
    found = []
    while path:
        answer = await get_json(ds, path)
        found += answer["rows"]
        path = answer["next_url"] and below(answer["next_url"], base_url)
    return found


def links(html):
    """Everything a page of ours links to or loads, without Datasette's own scripts."""
    body = html[html.index('<section class="content">') : html.index("</section>\n</div>")]
    return {unescape(url) for url in re.findall(r'(?:href|src)="([^"#]+)', body)}


def gallery_of(database, table):
    """The address of a table's gallery."""
    return f"/{tilde_encode(database)}/{tilde_encode(table)}/-/imgsim"


async def ask(ds, sql, database="photos", **parameters):
    """(status, JSON) of a query over HTTP."""
    response = await ds.client.get(
        f"/{database}.json",
        params={"sql": sql, "_shape": "arrays", **parameters},
        follow_redirects=True,
    )
    return response.status_code, response.json()


async def ask_one(ds, sql, database="photos", **parameters):
    """The one value of a query over HTTP."""
    status, body = await ask(ds, sql, database, **parameters)
    assert status == 200, body
    return body["rows"][0][0]


async def until(ds, sql, good, database="photos"):
    """Asks a query again and again until its one value is good; gives it."""

    async def answer():
        status, body = await ask(ds, sql, database)
        if status == 200 and good(body["rows"][0][0]):
            return body["rows"][0]

    (value,) = await eventually(answer)
    return value


async def ready(ds, database="photos"):
    """The Datasette, once the default space of a database is loaded."""
    await until(ds, "select imgsim_status()", lambda text: "is loaded" in text, database)
    return ds
