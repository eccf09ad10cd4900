"""Scripts of pages, with all that they import: else a browser finds one after the other."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import datasette_leaflet
from markupsafe import Markup

from . import compat

STATIC = Path(__file__).parents[1] / "static"
IMPORTED = re.compile(r'(?:from|import) "\./([\w-]+\.js)"')


def script(datasette, *names: str) -> Markup:
    """The tags that run scripts of ours."""
    preload = Markup('<link rel="modulepreload" href="{}">\n')
    links = [preload.format(compat.imported(datasette, each)) for each in imports(*names)]
    tag = Markup('<script type="module" src="{}"></script>\n')
    tags = [tag.format(compat.static(datasette, name)) for name in names]
    return Markup("").join([*links, *tags])


@functools.cache
def imports(*names: str) -> tuple[str, ...]:
    """The names of the scripts that these import, and of those that they import."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        text = (STATIC / waiting.pop(0)).read_text(encoding="utf-8")
        new = [each for each in IMPORTED.findall(text) if each not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return tuple(found)


def leaflet(datasette) -> str:
    """The address of Leaflet: half as long where datasette-leaflet has it minified."""
    name = datasette_leaflet.JS_FILE
    minified = re.sub(r"(?<!\.min)\.js$", ".min.js", name)
    if (Path(datasette_leaflet.__file__).parent / "static" / minified).is_file():
        name = minified
    return datasette.urls.static_plugins("datasette-leaflet", name)
