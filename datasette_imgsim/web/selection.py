"""The rows that a query selects, as Datasette itself filters, sorts and counts them.

Our pages ask Datasette's own JSON of the table, for the same actor. So they take all filters that
Datasette and its plugins know, and show nobody what they may not see.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from datasette.database import QueryInterrupted
from datasette.utils import sqlite_timelimit

from .. import sqlite_errors
from ..db.tables import quoted
from ..limits import LIMITS
from ..search.results import Hit
from . import compat
from .query import Query
from .refused import Refused
from .source import Source
from .table.filters import Likeness, find_likeness

Result = TypeVar("Result")


@dataclass(frozen=True)
class Choice:
    """A value of a facet."""

    label: str
    count: int
    query: Query
    """The query with this value chosen, or no longer."""
    selected: bool


@dataclass(frozen=True)
class Facet:
    """How often each value of a column occurs among the selected rows."""

    name: str
    type: str
    """'column', or another kind of facet that Datasette has, such as 'date'."""
    choices: list[Choice]
    is_cut: bool
    """Whether there are more values."""
    without: Query | None
    """The query without this facet; None if it is configured."""

    def json(self) -> dict:
        values = [
            {"label": each.label, "count": each.count, "selected": each.selected}
            for each in self.choices
        ]
        return {"name": self.name, "type": self.type, "values": values, "truncated": self.is_cut}


@dataclass(frozen=True)
class Selection:
    """The rows that a query selects."""

    keys: list
    """The keys of one page of them, in the order that was asked for."""
    next: str | None
    """Datasette's `_next` of the page that follows, if there is one."""
    count: int | None
    """How many there are on all pages; None if they were too many to count."""
    words: str
    """The filters and the order in words; empty without."""
    likeness: Likeness | None
    facets: list[Facet]
    suggested: list[tuple[str, Query]]
    """(name, query with this facet) of facets that Datasette suggests."""
    sql: str
    """The SQL for the keys of all of them, and its parameters."""
    parameters: dict


async def select(
    source: Source,
    actor: dict | None,
    query: Query,
    size: int = 0,
    next: str | None = None,
    with_facets: bool = False,
) -> Selection:
    """A page of `size` rows that a query selects. Raises Refused and Loading."""
    likeness = await find_likeness(source, query)  # a space that is loading is no error
    size = min(size, source.datasette.setting("max_returned_rows"))
    asked = {"_size": size, "_col": source.table.key}
    if next is not None:
        asked["_next"] = next
    if not with_facets:
        asked |= {"_nocount": "on", "_nofacet": "on", "_nosuggest": "on"}
    status, answer = await compat.table_json(
        source.datasette, actor, source.db.name, source.table.name, asked, query.for_rows
    )
    if status != 200:
        if answer["too_long"]:
            if with_facets:  # Datasette may have been guessing which facets to suggest
                return await select(source, actor, query, size, next)
            raise _too_slow(source.datasette.setting("sql_time_limit_ms") / 1000)
        # What Datasette 0.65 cannot sort by is a server error there.
        raise Refused(400 if status == 500 else status, answer["error"].rstrip("."))
    sql, parameters = answer["query"]["sql"], answer["query"]["params"]
    return Selection(
        keys=[row[0] for row in answer["rows"]],
        next=answer["next"],
        count=answer["count"] if with_facets else None,
        words=answer["human_description_en"],
        likeness=likeness,
        facets=[_facet(facet) for facet in answer["facet_results"].values()],
        suggested=[
            (_name(facet), _query_of(facet["toggle_url"])) for facet in answer["suggested_facets"]
        ],
        # Datasette 0.65 selects the key twice.
        sql=f"select {quoted(source.table.key)} from ({sql[: sql.rindex(' limit ')]})",
        parameters=parameters,
    )


async def best_first(source: Source, selection: Selection) -> list[Hit]:
    """The selected images in order of likeness. The selection has a filter by likeness."""
    keys = await read_keys(source, selection, set)
    return [hit for hit in selection.likeness.hits.values() if hit.id in keys]


async def count_all(source: Source, selection: Selection) -> int | None:
    """How many rows are selected; None if counting them takes too long."""
    sql = f"select count(*) from ({selection.sql})"
    try:
        return (await source.db.execute(sql, selection.parameters)).single_value()
    except QueryInterrupted:
        return None


async def read_keys(
    source: Source, selection: Selection, collect: Callable[[Iterator], Result]
) -> Result:
    """What `collect` makes of the keys of all selected rows. Raises Refused."""
    return await read_selected(
        source, selection, selection.sql, lambda rows: collect(row[0] for row in rows)
    )


async def read_selected(
    source: Source, selection: Selection, sql: str, collect: Callable[[Iterator], Result]
) -> Result:
    """What `collect` makes of the rows of a query that holds the selection's. Raises Refused."""

    def read(conn):
        # They may be a million: these may take longer than Datasette gives to a page of rows.
        with sqlite_timelimit(conn, 1000 * LIMITS.seconds_of_selection):
            return collect(conn.execute(sql, selection.parameters))

    try:
        return await source.db.execute_fn(read)
    except sqlite_errors.OperationalError as ex:
        if ex.args != ("interrupted",):
            raise
        raise _too_slow(LIMITS.seconds_of_selection) from ex


def _too_slow(seconds: float) -> Refused:
    return Refused(
        400, f"This filter or order takes longer than {seconds:g} s: an index on its column helps"
    )


def _facet(facet: dict) -> Facet:
    return Facet(
        facet["name"],
        facet["type"],
        [
            Choice(
                "-" if value["label"] in (None, "") else str(value["label"]),
                value["count"],
                _query_of(value["toggle_url"]),
                value["selected"],
            )
            for value in facet["results"]
        ],
        facet["truncated"],
        _query_of(facet["toggle_url"]) if facet["hideable"] else None,
    )


def _name(facet: dict) -> str:
    return facet["name"] + (f" ({facet['type']})" if facet.get("type") else "")


def _query_of(url: str) -> Query:
    return Query.of_table(urllib.parse.urlsplit(url).query)
