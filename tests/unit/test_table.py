"""Rows that become columns."""

from __future__ import annotations

import pytest

from tracelet_otel import semconv
from tracelet_otel.instrumentation.series import Series
from tracelet_otel.instrumentation.table import Table
from tracelet_otel.protocol.samples import Moment

MOMENTS = [Moment(1, step, semconv.AXIS_TRAINER) for step in range(3)]


def taken(table):
    return [
        (series.name, [moment.step for moment in samples.moments], list(samples.sequences), list(samples.values))
        for series, samples in table.take()
    ]


def series_of(name, kind):
    return Series(f"{name} {kind or 'finite'}", lambda samples: None)


def filled(table):
    rows = [[1.0, float("nan")], [float("inf"), 2.0], [3.0, float("-inf")]]
    for moment, sequence, numbers in zip(MOMENTS, (1, 3, 5), rows, strict=True):
        table.add(moment, sequence, numbers)
    return table


EXPECTED = [
    ("loss finite", [0, 2], [1, 5], [1.0, 3.0]),
    ("loss +Inf", [1], [3], [1]),
    ("accuracy NaN", [0], [2], [1]),
    ("accuracy finite", [1], [4], [2.0]),
    ("accuracy -Inf", [2], [6], [1]),
]


def test_each_kind_of_value_of_a_column_is_a_series():
    table = filled(Table(("loss", "accuracy"), series_of))
    assert len(table) == 3
    assert taken(table) == EXPECTED
    assert taken(table) == []


def test_finite_values_whose_sum_is_not_are_finite():
    table = Table(("loss",), series_of)
    table.add(MOMENTS[0], 1, [1.7e308])
    table.add(MOMENTS[1], 2, [1.7e308])
    assert taken(table) == [("loss finite", [0, 1], [1, 2], [1.7e308, 1.7e308])]


def test_who_is_interrupted_has_taken_nothing():
    interrupts = iter([KeyboardInterrupt])

    def interrupted(name, kind):
        if kind == "NaN":
            for interrupt in interrupts:
                raise interrupt
        return series_of(name, kind)

    table = filled(Table(("loss", "accuracy"), interrupted))
    with pytest.raises(KeyboardInterrupt):
        table.take()
    assert taken(table) == EXPECTED
