"""An example address for each of our routes, below a table's gallery."""

import re

from datasette_imgsim.web.pages import routes

from .serving import GALLERY

EXAMPLES = (
    "",
    "/similar/3",
    "/map",
    "/duplicates",
    "/tiles/1/0/0.jpg",
    "/tiles/1/0/0@2x.jpg",
    "/search",
    "/thumbnail/3.jpg",
    "/large/3.jpg",
)
PATTERNS = [pattern for pattern, _view in routes.ROUTES]


def paths_of(pattern):
    """The examples of a route, with `.json` where it has that, too."""
    paths = [GALLERY + path + suffix for path in EXAMPLES for suffix in ("", ".json")]
    return [path for path in paths if re.match(pattern, path)]


def is_upload(path):
    """Whether an example wants a picture sent to it."""
    return "/search" in path
