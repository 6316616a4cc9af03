from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.exporters.wandb.mapping import STEP, TIME, column_names, nested, rows
from tracelet_otel.protocol.decode import Param, Reading

NAMES = st.one_of(st.text(max_size=3), st.sampled_from(["_step", "_timestamp", STEP, f"metric/{STEP}", "metric/_step"]))
READINGS = st.lists(
    st.builds(
        Reading,
        name=NAMES,
        value=st.floats(),
        step=st.integers(-2, 2),
        time_unix_nano=st.integers(1, 3),
        axis=st.sampled_from([semconv.AXIS_TRAINER, semconv.AXIS_USER, semconv.AXIS_NONE]),
        sequence=st.just(0),
        is_system=st.booleans(),
    )
)


def reading(name, value, step, time_s, axis=semconv.AXIS_TRAINER):
    return Reading(name, value, step, time_s * 1_000_000_000, axis, 0)


def named(readings):
    return {(one.name, one.is_system): one.name for one in readings}


def test_what_was_logged_together_is_one_row():
    readings = [reading("a", 1, 5, 1), reading("b", 2, 5, 1), reading("a", 3, 6, 2), reading("late", 4, 1, 3)]
    assert rows(readings, named(readings)) == [
        {TIME: 1.0, STEP: 5, "a": 1, "b": 2},
        {TIME: 2.0, STEP: 6, "a": 3},
        {TIME: 3.0, STEP: 1, "late": 4},
    ]


def test_what_was_logged_without_a_step_is_where_the_row_before_it_is():
    readings = [
        reading("a", 1, 0, 1, semconv.AXIS_NONE),
        reading("b", 2, 7, 2),
        reading("a", 3, 0, 3, semconv.AXIS_NONE),
    ]
    assert rows(readings, named(readings)) == [
        {TIME: 1.0, "a": 1},
        {TIME: 2.0, STEP: 7, "b": 2},
        {TIME: 3.0, STEP: 7, "a": 3},
    ]
    assert rows(readings[:1], named(readings), 4) == [{TIME: 1.0, STEP: 4, "a": 1}]


@given(READINGS)
def test_each_value_is_in_one_row_under_a_column_of_its_own(readings):
    names = column_names()

    kinds = {(reading.name, reading.is_system) for reading in readings}
    by_kind = {(name, is_system): names.key(name, is_system=is_system) for name, is_system in kinds}
    made = rows(readings, by_kind, last_step=9)
    columns = {column: name for (name, _), column in by_kind.items()}
    assert len(columns) == len({(reading.name, reading.is_system) for reading in readings})
    found = Counter(
        (columns[column], repr(value)) for row in made for column, value in row.items() if column not in (STEP, TIME)
    )
    assert found == Counter((reading.name, repr(reading.value)) for reading in readings)
    assert all(STEP in row and TIME in row for row in made)


@pytest.mark.parametrize(
    ("params", "config"),
    [
        ({"lr": Param("0.1", "float"), "n": Param("3", "int")}, {"lr": 0.1, "n": 3}),
        ({"a/b/c": Param("x"), "a/d": Param("True", "bool")}, {"a": {"b": {"c": "x"}, "d": True}}),
        ({"none": Param("None", "none"), "text": Param("None")}, {"none": None, "text": "None"}),
        ({"a/b": Param("1", "int"), "a": Param("2", "int")}, {"a": 2, "a/b": 1}),
        ({"a/b/c": Param("1", "int"), "a/b": Param("2", "int")}, {"a": {"b": 2}, "a/b/c": 1}),
    ],
)
def test_config_is_nested_and_typed(params, config):
    assert nested(params) == config


def test_a_value_that_is_not_what_its_type_says_stays_text():
    broken = [Param("many", "int"), Param("1,5", "float"), Param("maybe", "bool")]
    assert [param.value for param in broken] == ["many", "1,5", "maybe"]
    assert math.isnan(Param("nan", "float").value)
