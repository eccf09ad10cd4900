"""A Datasette that serves a folder's database, and requests to it."""

import re
import sqlite3
from html import unescape

from conftest import rows
from datasette.app import Datasette
from datasette.utils import tilde_encode
from made import set_source

IS_1 = hasattr(Datasette, "allowed")
GALLERY = "/photos/images/-/imgsim"
ROW_KEYS = {"id", "key", "score", "percentile", "href", "thumbnail"}


def serve(database, plugin=None, immutable=False, settings=None, **config):
    """`plugin` is the plugin's configuration; `config` more of Datasette's own."""
    if plugin is not None:
        config["plugins"] = {"datasette-imgsim": plugin}
    files = {"immutables": [str(database)]} if immutable else {"files": [str(database)]}
    name = "config" if IS_1 else "metadata"
    return Datasette(**{"files": [], **files, name: config}, settings=settings or {})


def cookies(ds, id):
    return {"ds_actor": ds.sign({"a": {"id": id}}, "actor")}


async def get_json(ds, path, status=200):
    response = await ds.client.get(path)
    assert response.status_code == status, response.text
    return response.json()


async def all_pages(ds, path):
    """The rows of a page and of all that follow it."""
    found = []
    while path:
        answer = await get_json(ds, path)
        found += answer["rows"]
        path = answer["next_url"] and answer["next_url"].removeprefix("http://localhost")
    return found


def links(html):
    """Everything a page of ours links to or loads, without Datasette's own scripts."""
    body = html[html.index('<section class="content">') : html.index("</section>\n</div>")]
    return {unescape(url) for url in re.findall(r'(?:href|src)="([^"#]+)', body)}


def group(database, id):
    """The folder a drawn picture came from."""
    return rows(database, "select path from images where id = ?", id)[0].split("/")[1]


def renamed(database, table, key_of):
    """Makes `images` another table, with other keys: a dict of the old to the new ones."""
    quoted = '"{}"'.format(table.replace('"', '""'))
    conn = sqlite3.connect(database)
    ids = [id for (id,) in conn.execute("select id from images")]
    keys = {id: key_of(id) for id in ids}
    kind = "text" if isinstance(keys[ids[0]], str) else "integer"
    conn.execute(f'create table {quoted} ("the key" {kind} primary key, path text)')
    for id, key in keys.items():
        conn.execute(f"insert into {quoted} select ?, path from images where id = ?", [key, id])
    # From the last one on, so that no new key meets an old one.
    for id, key in sorted(keys.items(), reverse=True):
        for name in ("imgsim_vectors", "imgsim_thumbnails"):
            conn.execute(f"update {name} set image_id = ? where image_id = ?", [key, id])
    conn.execute("drop table images")
    conn.commit()
    conn.close()
    set_source(database, table)
    return keys


def gallery_of(database, table):
    return f"/{tilde_encode(database)}/{tilde_encode(table)}/-/imgsim"
