"""Responses of views: HTML, JSON, a picture, or an error of one sentence."""

from __future__ import annotations

import functools
from http import HTTPStatus

from datasette import Forbidden, Response

from ..errors import ImgsimError
from ..search.engine import EngineError
from ..search.indexes import Loading
from . import compat, scripts
from .options import Options
from .refused import Refused
from .source import Source, requested_source

NOT_KEPT = {"cache-control": "no-store"}
"""The headers of an answer that is true only for a moment, such as while a space is loading."""
MAX_AGE = 600
"""How many seconds a browser may keep a picture."""


def is_json(request) -> bool:
    return request.url_vars.get("format") == ".json"


def json_answer(datasette, body: dict, status: int = 200, headers: dict | None = None) -> Response:
    headers = {**_cors(datasette), **(headers or {})}
    return Response.json(body, status=status, headers=headers)


def _cors(datasette) -> dict[str, str]:
    return compat.cors_headers() if datasette.cors else {}


def common_context(source: Source, options: Options) -> dict:
    """The variables that the templates of all pages need."""
    return {
        "database": source.db.name,
        "table": source.table.name,
        "color": compat.color(source.db),
        "source": source,
        "options": options,
    }


async def html_answer(
    datasette, request, template: str, context: dict, status=200, headers: dict | None = None
) -> Response:
    context = {
        "imgsim_static": functools.partial(compat.static, datasette),
        "imgsim_script": functools.partial(scripts.script, datasette),
        **context,
    }
    body = await datasette.render_template(template, context, request=request, view_name="imgsim")
    return Response.html(body, status=status, headers=headers)


def picture_answer(datasette, request, etag: str, jpeg: bytes, max_age=MAX_AGE) -> Response:
    """A JPEG file, or the status 304 if the browser's copy is still valid."""
    headers = {
        # Datasette itself makes this private for users who are logged in.
        "cache-control": f"max-age={max_age}",
        "etag": f'"{etag}"',
        "x-content-type-options": "nosniff",
    }
    headers |= _cors(datasette)
    if matches(request, etag):
        return Response(b"", status=304, headers=headers, content_type="image/jpeg")
    return Response(jpeg, headers=headers, content_type="image/jpeg")


def matches(request, etag: str) -> bool:
    """Whether the browser has a copy with this ETag."""
    header = request.headers.get("if-none-match", "")
    return header == "*" or etag in [part.strip().strip('W/"') for part in header.split(",")]


def next_link(source: Source, request, next: str | None, url: str) -> dict:
    """The keys 'next' and 'next_url' of a JSON answer; `url` leads there if there is a `next`."""
    return {"next": next, "next_url": source.datasette.absolute_url(request, url) if next else None}


def page(view):
    """Wraps a view(datasette, request, source): its errors become a page, or JSON if asked for."""
    return _with_errors(view, is_json)


def json_only(view):
    """Wraps a view(datasette, request, source): errors become {"ok": false, "error": ...}."""
    return _with_errors(view, lambda request: True)


def _with_errors(view, wants_json):
    # No functools.wraps: Datasette passes arguments by the names that `answer` has.
    async def answer(datasette, request):
        if request.method == "OPTIONS":  # a browser asks before it sends to another site
            return Response.text("ok", headers=_cors(datasette))
        source = None
        try:
            source = await requested_source(datasette, request)
            return await view(datasette, request, source)
        except Forbidden:
            if not wants_json(request):
                raise  # Datasette's own page, which plugins may turn into a login form
            refused = Refused(403, "You may not view this table: log in as somebody who may")
        except Refused as ex:
            refused = ex
        except Loading as ex:
            waiting = {"ok": False, "error": str(ex), "loading": True}
            return json_answer(datasette, waiting, 503, {"retry-after": "1", **NOT_KEPT})
        except EngineError as ex:
            refused = Refused(503, str(ex))
        except ImgsimError as ex:
            refused = Refused(400, str(ex))
        except compat.UNREADABLE as ex:
            refused = Refused(503, f"{compat.unreadable(ex)}: try again later")
        if wants_json(request):
            error = {"ok": False, "error": refused.message}
            return json_answer(datasette, error, refused.status, refused.headers)
        context = {
            "title": HTTPStatus(refused.status).phrase,
            "message": refused.message,
            "source": source,
            "database": source and source.db.name,
            "table": source and source.table.name,
        }
        return await html_answer(datasette, request, "imgsim_error.html", context, refused.status)

    return answer
