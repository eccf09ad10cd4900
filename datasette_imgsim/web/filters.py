"""`?_similar_to=42` on a source table's own page: only rows whose image is like another."""

from __future__ import annotations

import contextvars
import json
import sqlite3
from dataclasses import dataclass

from datasette.filters import FilterArguments
from datasette.views.base import DatasetteError

from .. import store
from ..errors import ImgsimError
from ..search import calibration, index, ranking
from .common import (
    Refused,
    Source,
    find_key,
    label_of,
    similar_sql,
    source_of,
    sql_options,
    vectors_of,
)

DEFAULT_MINIMUM = 99
RESULTS_AT_FIRST = 100
SECONDS_FOR_LOADING = 2


@dataclass(frozen=True)
class Likeness:
    """The images that a filter lets pass: {id: (score, percentile)}, best first."""

    scores: dict
    options: dict
    text: str
    sql: str


# For the cells of the same page, whose hook is not told of the request.
current: contextvars.ContextVar[Likeness | None] = contextvars.ContextVar("likeness", default=None)


async def filters_from_request(datasette, request):
    """The where clause for `_similar_to`, if the request has it. Raises DatasetteError."""
    current.set(None)
    text = request.args.get("_similar_to")
    if not text:
        return None
    try:
        source = await source_of(datasette, request)
        minimum = _minimum(request.args.get("_similar_min"))
        found = await source.db.execute_fn(lambda conn: _like(conn, source, text, minimum))
    except Refused as ex:
        raise DatasetteError(ex.message, status=ex.status) from ex
    except index.Loading as ex:
        raise DatasetteError(f"{ex}: load the page again in a moment", status=503) from ex
    except ImgsimError as ex:
        raise DatasetteError(str(ex), status=400) from ex
    except sqlite3.Error as ex:
        raise DatasetteError(f"The database cannot be read just now ({ex})", status=503) from ex
    current.set(found)
    return FilterArguments(
        [
            f"{store.quoted(source.key)} in (select json_extract(value, '$.id') from "
            "json_each(similar_to(:imgsim_similar_to, :imgsim_k, :imgsim_options)))"
        ],
        params={
            "imgsim_similar_to": text,
            "imgsim_k": len(found.scores),
            "imgsim_options": json.dumps(found.options),
        },
        human_descriptions=[found.text],
    )


def _minimum(text: str | None) -> float:
    try:
        minimum = float(text or DEFAULT_MINIMUM)
    except ValueError:
        minimum = -1
    if not 0 <= minimum <= 100:
        raise Refused(400, f"_similar_min is a percentile from 0 to 100, not {text!r:.60}")
    return minimum


def _like(conn, source: Source, text: str, minimum: float) -> Likeness:
    space = store.choose_space(conn, None, source.table, source.config.space)
    id = find_key(conn, source, text)
    vectors = vectors_of(conn, source, space, SECONDS_FOR_LOADING)
    row = vectors.row(id)
    if row is None:
        raise Refused(404, f"The image {text!r} has no vector in the space {space.name!r}")
    weights = ranking.weights(space)
    query = ranking.of_image(vectors, row, weights)
    scale = calibration.of(conn, vectors, weights)
    if scale is None:
        raise Refused(400, "There are too few images to say which are alike: embed three or more")
    scores = _reaching(vectors, query, scale, minimum, id)
    return Likeness(
        scores,
        sql_options(conn, source, space),
        f"similar to {label_of(conn, source, id)}, closer than {minimum:g} % of random pairs",
        similar_sql(conn, source, space, id, len(scores), {}),
    )


def _reaching(vectors, query, scale, minimum: float, id) -> dict:
    """{id: (score, percentile)} of all images whose percentile is at least `minimum`."""
    wanted = RESULTS_AT_FIRST
    while True:
        scored = ranking.rank(vectors, query, wanted, exclude=[id])
        found = {each: (score, scale.percentile(score)) for each, score in scored}
        reaching = {each: both for each, both in found.items() if both[1] >= minimum}
        if len(reaching) < len(found) or len(found) < wanted:
            return reaching
        wanted *= 4
