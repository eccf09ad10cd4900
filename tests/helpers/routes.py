"""An example address for each of our routes, below a table's gallery."""

import re
import sqlite3
from contextlib import closing

import numpy as np
from PIL import Image

from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.ingest.facts import Facts
from datasette_imgsim.ingest.query import EmbeddedPicture
from datasette_imgsim.web.held import Held
from datasette_imgsim.web.pages import routes
from datasette_imgsim.web.state import get_state

from .pictures import as_jpeg
from .serving import GALLERY

TOKEN = "held"

EXAMPLES = (
    "",
    "/similar/3",
    "/map",
    "/duplicates",
    "/groups",
    "/tiles/1/0/0.jpg",
    "/tiles/1/0/0@2x.jpg",
    "/search",
    "/upload",
    f"/upload/{TOKEN}",
    f"/upload/{TOKEN}.jpg",
    "/why/3/4",
    "/why/3/4/first.png",
    f"/upload/{TOKEN}/why/4",
    f"/upload/{TOKEN}/why/4/second.png",
    "/thumbnail/3.jpg",
    "/large/3.jpg",
)
PATTERNS = [pattern for pattern, _view in routes.ROUTES]


def paths_of(pattern):
    """The examples of a route, with `.json` where it has that, too."""
    paths = [GALLERY + path + suffix for path in EXAMPLES for suffix in ("", ".json")]
    return [path for path in paths if re.match(pattern, path)]


def is_upload(path):
    """Whether an example only takes a picture that is sent to it."""
    return "/search" in path


def hold(ds, database):
    """Lets a server hold a picture for the table images, under the token of the examples."""
    with closing(sqlite3.connect(database)) as conn:
        space = choose_space(conn, table="images")
    facts = Facts(50, 40, "JPEG", None, None, None, None)
    vector = np.random.default_rng(0).random(space.dimensions, np.float32)
    picture = EmbeddedPicture(vector, as_jpeg(Image.new("RGB", (50, 40), "red")), facts)
    held = get_state(ds.get_database("photos")).held
    held._pictures[TOKEN] = Held("images", space, "red.jpg", picture)
