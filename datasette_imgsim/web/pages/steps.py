"""Steps of a scale that end at round numbers or at round dates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

MOST_STEPS = 7
ROUND = (1, 2, 5)
JULIAN_DAY_0 = 1721424.5
"""The Julian day number of the day before the first one that Python counts."""


@dataclass(frozen=True)
class Step:
    """The values start <= value < stop."""

    start: float
    stop: float
    label: str

    def holds(self, sql: str) -> tuple[str, list[float]]:
        """(the SQL condition that a value is in this step, its parameters)"""
        bounds = {f"{sql} >= ?": self.start, f"{sql} < ?": self.stop}
        finite = {part: bound for part, bound in bounds.items() if math.isfinite(bound)}
        return " and ".join(finite), list(finite.values())


def steps_between(edges: list[float], in_words: Callable[[float], str]) -> tuple[Step, ...]:
    """The steps below, between and above ascending edges, of which there is at least one."""
    words = [in_words(edge) for edge in edges]
    labels = [f"under {words[0]}"]
    labels += [f"{low} – {high}" for low, high in zip(words, words[1:])]
    labels.append(f"{words[-1]} and more")
    bounds = [-math.inf, *edges, math.inf]
    return tuple(Step(*each) for each in zip(bounds, bounds[1:], labels))


def number_edges(low: float, high: float) -> tuple[list[float], Callable[[float], str]]:
    """(round numbers between two, how to write them)"""
    step = _round_step((high - low) / MOST_STEPS)
    first = math.floor(low / step) + 1
    count = math.ceil(high / step) - first
    return [(first + place) * step for place in range(count)], _number


def date_edges(low: float, high: float) -> tuple[list[float], Callable[[float], str]]:
    """(beginnings of years, months or days between two Julian day numbers, how to write them)"""
    days = high - low
    first, last = _date(low), _date(high)
    if days >= 3 * 365:
        step = int(max(1, _round_step(days / 365 / MOST_STEPS)))
        dates = [
            date(year, 1, 1)
            for year in range(first.year, min(last.year, date.max.year) + 1)
            if year % step == 0
        ]
        form = "%Y"
    elif days >= 90:
        months = range(12 * first.year + first.month - 1, 12 * last.year + last.month)
        step = next(step for step in (1, 2, 3, 6) if len(months) / step <= MOST_STEPS)
        dates = [date(m // 12, m % 12 + 1, 1) for m in months if m % step == 0]
        form = "%Y-%m"
    else:
        # Within less than a day, only the next day is an edge.
        step = int(max(1, _round_step(days / MOST_STEPS)))
        start, stop = first.toordinal() + 1, last.toordinal() + 1
        dates = [date.fromordinal(day) for day in range(start, max(stop, start + 1), step)]
        form = "%Y-%m-%d"
    edges = [each.toordinal() + JULIAN_DAY_0 for each in dates]
    between = [edge for edge in edges if low < edge <= high] or edges[-1:]
    return between, lambda edge: _date(edge).strftime(form)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, 50 ... (or 0.5, 0.2 ...) that is not smaller."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((step * power for step in ROUND if step * power >= least), 10 * power)


def _date(julian_day: float) -> date:
    last = date.max.toordinal()
    return date.fromordinal(min(last, max(1, math.floor(julian_day - JULIAN_DAY_0))))


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        # Years have no comma.
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    return f"{value:.6g}"
