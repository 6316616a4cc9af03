from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.exporters.wandb.mapping import EXACT_NAME, STEP, TIME, column_names
from tracelet_otel.exporters.wandb.rows import RowBuilder
from tracelet_otel.protocol.decode import Reading

# Few names, steps and times, so that they come again.
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


def reading(name, value, step, time_s, axis=semconv.AXIS_TRAINER, *, is_system=False):
    return Reading(name, value, step, time_s * 1_000_000_000, axis, 0, is_system=is_system)


def made_of(*batches):
    """Rows of batches that are written one after the other."""
    rows = RowBuilder(column_names())
    made = []
    for batch in batches:
        made += rows.made_of(batch)
        rows.passed(batch)
    return made


def test_what_was_logged_together_is_one_row():
    readings = [reading("a", 1, 5, 1), reading("b", 2, 5, 1), reading("a", 3, 6, 2), reading("late", 4, 1, 3)]
    assert made_of(readings) == [
        {TIME: 1.0, STEP: 5, "a": 1, "b": 2},
        {TIME: 2.0, STEP: 6, "a": 3},
        {TIME: 3.0, STEP: 1, "late": 4},
    ]


def test_a_name_that_comes_again_begins_a_row():
    assert made_of([reading("a", 1, 5, 1), reading("b", 2, 5, 1), reading("a", 3, 5, 1)]) == [
        {TIME: 1.0, STEP: 5, "a": 1, "b": 2},
        {TIME: 1.0, STEP: 5, "a": 3},
    ]


def test_what_was_logged_without_a_step_is_where_the_row_before_it_is():
    readings = [
        reading("a", 1, 0, 1, semconv.AXIS_NONE),
        reading("b", 2, 7, 2),
        reading("gpu", 9, 8, 3, is_system=True),
        reading("a", 3, 0, 4, semconv.AXIS_NONE),
    ]
    expected = [
        {TIME: 1.0, "a": 1},
        {TIME: 2.0, STEP: 7, "b": 2},
        {TIME: 3.0, STEP: 8, "gpu": 9},
        {TIME: 4.0, STEP: 7, "a": 3},
    ]
    assert made_of(readings) == expected
    assert made_of(*([one] for one in readings)) == expected


def test_a_batch_that_is_sent_again_makes_the_same_rows():
    rows = RowBuilder(column_names())
    rows.passed([reading("a", 1, 4, 1)])
    batch = [reading("a", 2, 0, 2, semconv.AXIS_NONE), reading("a", 3, 9, 3)]
    expected = [{TIME: 2.0, STEP: 4, "a": 2}, {TIME: 3.0, STEP: 9, "a": 3}]
    assert (rows.made_of(batch), rows.made_of(batch)) == (expected, expected)


def test_a_column_with_another_name_is_a_fact_of_its_run():
    rows = RowBuilder(column_names())
    readings = [reading("_step", 1, 1, 1), reading("a", 2, 1, 1), reading("a", 3, 1, 1, is_system=True)]
    (row,) = rows.made_of(readings)
    _, _, changed, same, of_gpu = row
    assert (changed, same) == ("metric/_step", "a")
    assert rows.renamed == {EXACT_NAME + changed: "_step", EXACT_NAME + of_gpu: "a"}


def straightforward(batches):
    """The rows of batches, each rule of its own in the plainest way."""
    names = column_names()
    flat = [one for batch in batches for one in batch]
    columns = [names.key(one.name, is_system=one.is_system) for one in flat]
    steps, at = [], None
    for one in flat:
        steps.append(at if one.axis == semconv.AXIS_NONE else one.step)
        at = at if one.is_system else steps[-1]
    # A batch begins a row.
    begins = {sum(map(len, batches[:count])) for count in range(len(batches))}
    rows, together = [], []
    for place, (one, column, step) in enumerate(zip(flat, columns, steps, strict=True)):
        moment = one.time_unix_nano, one.step, one.axis
        if place in begins or moment != together[0] or column in together[1:]:
            rows.append({TIME: one.time_unix_nano / 1e9} | ({} if step is None else {STEP: step}))
            together = [moment]
        together.append(column)
        rows[-1][column] = one.value
    return rows


@given(st.lists(READINGS, max_size=3))
def test_rows_are_those_of_a_straightforward_construction(batches):
    # Compared as text, in which NaN is equal to NaN and zero has a sign.
    assert list(map(repr, made_of(*batches))) == list(map(repr, straightforward(batches)))


@given(READINGS)
def test_each_value_is_in_one_row_under_a_column_of_its_own(readings):
    rows = RowBuilder(column_names())
    made = rows.made_of(readings)
    columns = {column for row in made for column in row} - {STEP, TIME}
    names = {column: rows.renamed.get(EXACT_NAME + column, column) for column in columns}
    assert len(columns) == len({(one.name, one.is_system) for one in readings})
    found = Counter(
        (names[column], repr(value)) for row in made for column, value in row.items() if column not in (STEP, TIME)
    )
    assert found == Counter((one.name, repr(one.value)) for one in readings)
