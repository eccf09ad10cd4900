"""The steps of a scale end at round numbers and dates."""

import math
from datetime import date

import pytest

from datasette_imgsim.web.pages.steps import date_edges, number_edges, steps_between


def julian(text):
    return date.fromisoformat(text).toordinal() + 1721424.5


def labels(edges):
    return [step.label for step in steps_between(*edges)]


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (1900, 1999, ["under 1920", "1920 – 1940", "1960 – 1980", "1980 and more"]),
        (0, 1, ["under 0.2", "0.2 – 0.4", "0.8 and more"]),
        (0, 90_000, ["under 20,000", "20,000 – 40,000", "80,000 and more"]),
        (-5, 5, ["under -4", "-4 – -2", "-2 – 0", "4 and more"]),
        (3, 3.0001, ["under 3.00002"]),
        (-1e300, 1e300, ["under -5e+299", "0 – 5e+299"]),
    ],
)
def test_numbers(low, high, expected):
    found = labels(number_edges(low, high))
    assert [label for label in expected if label not in found] == []
    assert 2 <= len(found) <= 9


@pytest.mark.parametrize(
    "low, high, expected",
    [
        ("1890-05-01", "1999-01-01", ["under 1900", "1900 – 1920", "1980 and more"]),
        ("2015-02-01", "2019-08-01", ["under 2016", "2016 – 2017", "2019 and more"]),
        ("2020-01-05", "2020-12-30", ["under 2020-03", "2020-03 – 2020-05", "2020-11 and more"]),
        ("2020-01-02", "2020-01-24", ["under 2020-01-03", "2020-01-03 – 2020-01-08"]),
        ("2020-01-02", "2020-01-03", ["under 2020-01-03", "2020-01-03 and more"]),
        ("0001-01-01", "9999-12-31", ["under 2000", "8000 and more"]),
    ],
)
def test_dates(low, high, expected):
    found = labels(date_edges(julian(low), julian(high)))
    assert [label for label in expected if label not in found] == []
    assert 2 <= len(found) <= 9


def test_within_a_day_the_next_day_is_the_only_edge():
    assert labels(date_edges(julian("2020-01-02") + 0.2, julian("2020-01-02") + 0.6)) == [
        "under 2020-01-03",
        "2020-01-03 and more",
    ]


def test_steps_follow_each_other_without_a_gap():
    steps = steps_between(*number_edges(0, 100))
    assert steps[0].start == -math.inf and steps[-1].stop == math.inf
    assert all(before.stop == after.start for before, after in zip(steps, steps[1:]))
    assert steps[0].holds("x") == ("x < ?", [20.0])
    assert steps[-1].holds("x") == ("x >= ?", [80.0])
