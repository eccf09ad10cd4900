"""Colours of the images' frames on the map, by a column of the source table."""

from __future__ import annotations

import functools
import math
import posixpath
from dataclasses import dataclass
from typing import TypeAlias

from ...db.tables import SourceTable, quoted, without_blobs
from ..refused import Refused

# "Tableau 10" without its grey.
PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1",
    "#76b7b2", "#edc948", "#ff9da7", "#9c755f",
)  # fmt: skip
OTHER = "#a9b1ba"
# Viridis (van der Walt & Smith 2015) at nine even steps.
SCALE = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c",
    "#28ae80", "#5ec962", "#addc30", "#fde725",
)  # fmt: skip
LARGEST = 1e300
"""The number that replaces infinity, which JSON lacks."""
DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
LOW, HIGH = 0.02, 0.98
"""The quantiles at the ends of a scale, so that outliers do not stretch it."""


@dataclass(frozen=True)
class Categories:
    """A colour for each of the most frequent values, and one for all others."""

    sql: str
    """The expression whose value is coloured."""
    counts: dict[str, int]
    """How often each value with its own colour occurs, the most frequent first."""
    others: int
    """How often other values occur."""
    shared: str = ""
    """What all these values begin with, which the legend leaves out."""

    def color(self, value) -> str | None:
        """The colour of a value; None for null, which has no frame."""
        return None if value is None else self._colours.get(value, OTHER)

    @functools.cached_property
    def _colours(self) -> dict[str, str]:
        return dict(zip(self.counts, PALETTE))

    def legend(self) -> dict:
        entries = [
            {"label": value.removeprefix(self.shared), "color": self.color(value), "count": count}
            for value, count in self.counts.items()
        ]
        if self.others:
            entries.append({"label": "all others", "color": OTHER, "count": self.others})
        return {"kind": "text", "entries": entries}


@dataclass(frozen=True)
class Scale:
    """Colours from dark to bright for numbers from `low` to `high`."""

    sql: str
    """The expression whose value is coloured."""
    low: float
    high: float
    ends: tuple
    """`low` and `high` as the legend shows them: numbers or dates."""

    def color(self, value) -> str | None:
        """The colour of a value; None if it is not a finite number."""
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        share = (value - self.low) / (self.high - self.low)
        return mixed(min(1.0, max(0.0, share)))

    def legend(self) -> dict:
        low, high = self.ends
        return {"kind": "number", "low": low, "high": high, "colors": SCALE}


Legend: TypeAlias = "Categories | Scale"


def mixed(share: float) -> str:
    """The colour at a place of the scale, 0..1."""
    place = share * (len(SCALE) - 1)
    first = min(int(place), len(SCALE) - 2)
    ends = (bytes.fromhex(colour[1:]) for colour in SCALE[first : first + 2])
    parts = (round(a + (b - a) * (place - first)) for a, b in zip(*ends))
    return "#{:02x}{:02x}{:02x}".format(*parts)


def columns(conn, table: SourceTable) -> list[str]:
    """The columns that frames can be coloured by: all but the key and BLOBs."""
    rows = conn.execute(
        "select name from pragma_table_xinfo(?) where hidden <> 1 and upper(type) <> 'BLOB'",
        [table.name],
    )
    return [name for (name,) in rows if name != table.key]


def check_column(conn, table: SourceTable, column: str) -> None:
    """Raises Refused unless frames can be coloured by this column."""
    known = columns(conn, table)
    if column not in known:
        raise Refused(
            400, f"The table {table.name!r} has no column {column!r}: there is {', '.join(known)}"
        )


def choose_colours(conn, table: SourceTable, column: str) -> Categories | Scale:
    """The colours for a column.

    They are a scale if all values are numbers, or all are dates (ISO 8601 text), and the palette
    has too few colours; else categories. A path is coloured by its folder. Raises Refused.
    """
    check_column(conn, table, column)
    sql, shared = without_blobs(f"t.{quoted(column)}"), ""
    are_paths = column == "path" == table.label
    if are_paths:
        sql = f"rtrim(rtrim({sql}, replace({sql}, '/', '')), '/')"
    rows = table.rows_sql
    distinct, count, numbers, dates = conn.execute(
        f"""
        select count(distinct {sql}), count({sql}),
        coalesce(sum(typeof({sql}) in ('integer', 'real')), 0),
        coalesce(sum({sql} glob '{DATE}' and julianday({sql}) is not null), 0) from {rows}
        """
    ).fetchone()
    if distinct > len(PALETTE) and count in (numbers, dates):
        value = sql if numbers else f"julianday({sql})"
        low, high = (_quantile(conn, value, rows, count, share) for share in (LOW, HIGH))
        if low < high:
            return Scale(value, low, high, (low, high) if numbers else _days(conn, low, high))
    sql = f"cast({sql} as text)"
    frequent = conn.execute(
        f"""
        select {sql}, count(*) from {rows} where {sql} is not null
        group by 1 order by 2 desc, 1 limit {len(PALETTE)}
        """
    ).fetchall()
    if are_paths and len(frequent) > 1:
        common = posixpath.commonprefix([folder for folder, _ in frequent])
        shared = common[: common.rfind("/") + 1]
    others = count - sum(occurrences for _, occurrences in frequent)
    return Categories(sql, dict(frequent), others, shared)


def _days(conn, *numbers: float) -> tuple[str, ...]:
    """The dates of Julian day numbers."""
    return tuple(conn.execute("select date(?)", [number]).fetchone()[0] for number in numbers)


def _quantile(conn, sql: str, rows: str, count: int, share: float) -> float:
    place = int(share * (count - 1))
    (value,) = conn.execute(
        f"select {sql} from {rows} where {sql} is not null order by {sql} limit 1 offset {place}"
    ).fetchone()
    return max(-LARGEST, min(LARGEST, value))
