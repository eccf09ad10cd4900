"""Colours of the images' frames on the map, by a column of the source table."""

from __future__ import annotations

import functools
import posixpath
from bisect import bisect_right
from dataclasses import dataclass
from typing import TypeAlias

from ...atlas.tiles import Frame
from ...db.tables import SourceTable, quoted, without_blobs
from ..refused import Refused
from .steps import Step, date_edges, number_edges, steps_between

# Each can be told from all others and from OTHER, also by who sees no red, no green or no blue
# (colours as Machado et al. 2009 simulate them are at least 0.099 apart in OKLab), and from the
# background of the map (contrast of at least 3). The most different ones come first.
PALETTE = (
    "#44ee99", "#cc00ee", "#ffff00", "#ee1100", "#ccccff", "#008855",
    "#ee8811", "#bbffff", "#9955aa", "#99bbbb", "#ffbb00", "#cc77ee",
)  # fmt: skip
STYLES = tuple(Frame(color, dashed) for dashed in (False, True) for color in PALETTE)
OTHER = "#8b949e"
# The upper part of Viridis (van der Walt & Smith 2015): darker colours do not stand out.
SCALE = ("#277f8e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725")
LARGEST = 1e300
"""The number that replaces infinity, which JSON lacks."""
DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
LOW, HIGH = 0.02, 0.98
"""The quantiles at the ends of a scale, so that outliers do not stretch it."""
MOST_LISTED = 500
"""How many values a legend lists, those without a colour of their own included."""


@dataclass(frozen=True)
class Categories:
    """A frame for each of the most frequent values, and one for all others."""

    sql: str
    """The expression whose value is coloured."""
    counts: dict[str, int]
    """How often each listed value occurs, the most frequent first."""
    others: int
    """How often other values occur."""
    shared: str = ""
    """What all these values begin with, which the legend leaves out."""

    def frame(self, value) -> Frame | None:
        """The frame of a value; None for null, which has none."""
        return None if value is None else self._frames.get(value, Frame(OTHER))

    @functools.cached_property
    def _frames(self) -> dict[str, Frame]:
        return dict(zip(self.counts, STYLES))

    def entry(self, value) -> int | None:
        """Which entry of the legend a value belongs to; None for null."""
        return None if value is None else self._entries.get(value, len(self.counts))

    @functools.cached_property
    def _entries(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.counts)}

    def condition(self, value: str) -> tuple[str, list]:
        """(SQL, its parameters) for the rows with a value of the legend."""
        return f"{self.sql} = ?", [value]

    def legend(self) -> dict:
        entries = [
            {
                "value": value,
                "label": value.removeprefix(self.shared),
                "count": count,
                **self.frame(value)._asdict(),
            }
            for value, count in self.counts.items()
        ]
        if self.others:
            entries.append(
                {
                    "value": None,
                    "label": "all others",
                    "count": self.others,
                    **Frame(OTHER)._asdict(),
                }
            )
        return {"kind": "text", "entries": entries}


@dataclass(frozen=True)
class Scale:
    """Colours from dark to bright for numbers or dates, in steps."""

    sql: str
    """The expression whose value is coloured."""
    steps: tuple[Step, ...]
    counts: tuple[int, ...]
    """How many values are in each step."""
    ends: tuple
    """The numbers or dates between which nearly all values lie."""

    @functools.cached_property
    def _colours(self) -> list[str]:
        last = max(1, len(self.steps) - 1)
        return [SCALE[round(place * (len(SCALE) - 1) / last)] for place in range(len(self.steps))]

    @functools.cached_property
    def _edges(self) -> list[float]:
        return [step.start for step in self.steps[1:]]

    def frame(self, value) -> Frame | None:
        """The frame of a value; None if it is not a number."""
        entry = self.entry(value)
        return None if entry is None else Frame(self._colours[entry])

    def entry(self, value) -> int | None:
        """Which entry of the legend a value belongs to; None if it is not a number."""
        return bisect_right(self._edges, value) if isinstance(value, (int, float)) else None

    def condition(self, value: str) -> tuple[str, list]:
        """(SQL, its parameters) for the rows in the step with this label."""
        for step in self.steps:
            if step.label == value:
                return step.holds(self.sql)
        return "0", []

    def legend(self) -> dict:
        low, high = self.ends
        entries = [
            {
                "value": step.label,
                "label": step.label,
                "count": count,
                **Frame(color)._asdict(),
            }
            for step, count, color in zip(self.steps, self.counts, self._colours)
        ]
        return {"kind": "number", "low": low, "high": high, "entries": entries}


Legend: TypeAlias = "Categories | Scale"


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


def are_paths(table: SourceTable, column: str) -> bool:
    """Whether a column holds the paths of the images, of which the folder counts."""
    return column == "path" == table.label


def value_sql(table: SourceTable, column: str) -> str:
    """The expression whose value is coloured: the column, or the folder of a path."""
    sql = without_blobs(f"t.{quoted(column)}")
    return f"rtrim(rtrim({sql}, replace({sql}, '/', '')), '/')" if are_paths(table, column) else sql


def is_date(sql: str) -> str:
    """The SQL condition that an expression is a date in ISO 8601."""
    return f"({sql} glob '{DATE}' and julianday({sql}) is not null)"


def choose_colours(conn, table: SourceTable, column: str) -> Categories | Scale:
    """The colours for a column.

    They are a scale if all values are numbers, or all are dates (ISO 8601 text), and there are
    too few frames for them; else categories. A path is coloured by its folder. Raises Refused.
    """
    check_column(conn, table, column)
    sql, rows = value_sql(table, column), table.rows_sql
    distinct, count, numbers, dates = conn.execute(
        f"""
        select count(distinct {sql}), count({sql}),
        coalesce(sum(typeof({sql}) in ('integer', 'real')), 0),
        coalesce(sum({is_date(sql)}), 0) from {rows}
        """
    ).fetchone()
    if distinct > len(PALETTE) and count in (numbers, dates):
        scale = _scale(conn, rows, sql if numbers else f"julianday({sql})", count, bool(dates))
        if scale:
            return scale
    sql = f"cast({sql} as text)"
    frequent = conn.execute(
        f"""
        select {sql}, count(*) from {rows} where {sql} is not null
        group by 1 order by 2 desc, 1 limit {MOST_LISTED}
        """
    ).fetchall()
    shared = ""
    if are_paths(table, column) and len(frequent) > 1:
        common = posixpath.commonprefix([folder for folder, _ in frequent])
        shared = common[: common.rfind("/") + 1]
    others = count - sum(occurrences for _, occurrences in frequent)
    return Categories(sql, dict(frequent), others, shared)


def _scale(conn, rows: str, value: str, count: int, are_dates: bool) -> Scale | None:
    """A scale for the numbers or Julian days that `value` gives; None if nearly all are one."""
    low, high = (_quantile(conn, value, rows, count, share) for share in (LOW, HIGH))
    if not low < high:
        return None
    steps = steps_between(*(date_edges if are_dates else number_edges)(low, high))
    conditions = [step.holds(value) for step in steps]
    counts = conn.execute(
        f"select {', '.join(f'sum({sql})' for sql, _ in conditions)} from {rows} "
        f"where {value} is not null",
        [bound for _, bounds in conditions for bound in bounds],
    ).fetchone()
    ends = _days(conn, low, high) if are_dates else (low, high)
    return Scale(value, steps, counts, ends)


def _days(conn, *numbers: float) -> tuple[str, ...]:
    """The dates of Julian day numbers."""
    return tuple(conn.execute("select date(?)", [number]).fetchone()[0] for number in numbers)


def _quantile(conn, sql: str, rows: str, count: int, share: float) -> float:
    place = int(share * (count - 1))
    (value,) = conn.execute(
        f"select {sql} from {rows} where {sql} is not null order by {sql} limit 1 offset {place}"
    ).fetchone()
    return max(-LARGEST, min(LARGEST, value))
