"""Prints, as JSON, what a database answers where Datasette uses another module than sqlite3."""

import asyncio
import json
import sys

import sqlite_utils
from click.testing import CliRunner
from datasette.utils.sqlite import sqlite3
from sqlite_utils.cli import cli

from .commands import imgsim
from .databases import make_space, random_vectors
from .serving import GALLERY, ask, ready, started

SLOW = "select max(imgsim_score(a.id, b.id)) from images a, images b, images c, images d"


async def served(path):
    """{what was asked: its answer}"""
    ds = await ready(await started(path, settings={"sql_time_limit_ms": 200}))
    found = {}
    for page in (".json", "/similar/1.json", "/thumbnail/1.jpg"):
        found[page] = (await ds.client.get(GALLERY + page)).status_code
    found["filter"] = (await ds.client.get("/photos/images.json?_similar_to=1")).status_code
    found["time limit"], _ = await ask(ds, SLOW)
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("begin exclusive")
    for page in (".json", "/similar/1.json"):
        response = await ds.client.get(GALLERY + page)
        found[f"locked {page}"] = [response.status_code, response.json()["error"]]
    conn.close()
    return found


def main(path):
    make_space(path, random_vectors(30))
    query = ["query", path, "select imgsim_status() as status, similar_to(1) as hits"]
    result = {
        "module": sqlite3.__name__,
        "sqlite-utils": json.loads(CliRunner().invoke(cli, query).output),
        "spaces": imgsim("spaces", path),
        **asyncio.run(served(path)),
    }
    broken = f"{path}.broken"
    with open(broken, "wb") as file:
        file.write(b"not a database" * 999)
    result["broken"] = imgsim("similar", broken, 1, exit_code=1)
    with sqlite_utils.Database(path) as db:
        result["in Python"] = json.loads(db.execute("select similar_to(1, 2)").fetchone()[0])
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
