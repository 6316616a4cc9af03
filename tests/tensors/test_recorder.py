from __future__ import annotations

import logging
import math
import multiprocessing
import weakref
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Recorder, Row
from tracelet_otel.instrumentation.series import instrument_name

QUEUE = 200_000


class Setup:
    def __init__(self, readers: int = 1, interval_ms: float = 3_600_000) -> None:
        self.exporters = [KeepingExporter() for _ in range(readers)]
        self.meters = provider(*(reader(exporter, interval_ms) for exporter in self.exporters))
        self.guard = Guard()
        self.recorder = Recorder(self.meters, self.guard)

    def stop(self):
        self.recorder.drain()
        self.meters.force_flush()
        self.meters.shutdown()
        return [
            [(reading.name, reading.step, reading.value) for reading in exporter.readings]
            for exporter in self.exporters
        ]


def row(values, step=0, time_unix_nano=1_000_000, stage="fit"):
    return Row(time_unix_nano, values, step, semconv.AXIS_TRAINER, stage, 0)


def test_a_long_queue_is_delivered_at_stop_to_each_reader():
    setup = Setup(readers=2)
    for step in range(QUEUE):
        setup.recorder.record(row({"loss": float(step)}, step))
    expected = [("loss", step, float(step)) for step in range(QUEUE)]
    assert setup.stop() == [expected, expected]


def test_one_collection_drains_for_a_bounded_time_only():
    setup = Setup()
    for step in range(QUEUE):
        setup.recorder.record(row({"loss": 1.0}, step))
    setup.meters.force_flush()
    assert 0 < len(setup.exporters[0].readings) < QUEUE
    (sizes,) = [
        metric.data.data_points[0].value
        for scope in setup.exporters[0].exports[0].resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == semconv.QUEUE_SIZE
    ]
    assert sizes == QUEUE - len(setup.exporters[0].readings)
    setup.stop()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(0.1), torch.tensor(0.1).item()),
        (torch.tensor([[2.5]]), 2.5),
        (torch.tensor(3), 3.0),
        (torch.tensor(True), 1.0),
        (torch.tensor(0.1, dtype=torch.bfloat16), torch.tensor(0.1, dtype=torch.bfloat16).item()),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (7, 7.0),
        (True, 1.0),
        (Decimal("0.25"), 0.25),
        (0.1, 0.1),
    ],
)
def test_a_value_is_converted_as_lightning_converts_it(value, expected):
    setup = Setup()
    setup.recorder.record(row({"metric": value}))
    assert setup.stop() == [[("metric", 0, expected)]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_nonfinite_value_is_a_sample_of_the_counter(value, caplog):
    setup = Setup()
    setup.recorder.record(row({"metric": value}, 3))
    setup.stop()
    (reading,) = setup.exporters[0].readings
    assert (reading.name, reading.step, str(reading.value)) == ("metric", 3, str(value))
    assert not caplog.records


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1.0, 2.0]),
        np.zeros(2),
        "0.5",
        np.array("0.5"),
        None,
        object(),
        np.ma.masked,
        np.ma.array(3.0, mask=True),
        10**400,
    ],
)
def test_a_value_that_is_no_number_is_dropped_alone_and_said_once(value, caplog):
    setup = Setup()
    for step in range(3):
        setup.recorder.record(row({"bad": value, "good": 1.0}, step))
    assert setup.stop() == [[("good", step, 1.0) for step in range(3)]]
    (record,) = [record for record in caplog.records if record.name == "tracelet_otel"]
    assert "'bad'" in record.getMessage()
    assert record.levelno == logging.WARNING
    assert setup.guard.counts == {"a value of metric 'bad' was dropped": 3}


def test_a_row_whose_step_is_no_number_is_dropped_and_said(caplog):
    setup = Setup()
    setup.recorder.record(row({"loss": 1.0}, step=torch.tensor(math.nan)))
    setup.recorder.record(row({"loss": 2.0}, step=torch.tensor(5.0)))
    setup.recorder.record(row({"loss": 3.0}, step=2**63))
    assert setup.stop() == [[("loss", 5, 2.0)]]
    assert "a row was dropped for its step" in caplog.text
    assert setup.guard.counts == {"a row was dropped for its step": 2}


def test_a_row_that_cannot_be_made_is_dropped_alone_and_said_once(caplog):
    def failing(_):
        raise ValueError("not as expected")

    def made(handed):
        return row({"loss": 1.0}, step=handed[1])

    setup = Setup()
    for step in range(3):
        setup.recorder.record((failing, step))
        setup.recorder.record((made, step))
    assert setup.stop() == [[("loss", step, 1.0) for step in range(3)]]
    (record,) = [record for record in caplog.records if record.name == "tracelet_otel"]
    assert record.getMessage().startswith("a row was dropped: not as expected")
    assert setup.guard.counts == {"a row was dropped": 3}


@pytest.mark.parametrize("value", [1.0, math.nan])
def test_equal_values_within_a_millisecond_keep_distinct_times(value):
    setup = Setup()
    for _ in range(3):
        setup.recorder.record(row({"epoch": value}, step=9, time_unix_nano=5_000_001))
    setup.recorder.record(row({"epoch": value}, step=10, time_unix_nano=5_000_001))
    setup.stop()
    assert [reading.time_unix_nano for reading in setup.exporters[0].readings] == [
        5_000_001,
        6_000_000,
        7_000_000,
        5_000_001,
    ]


class Nameless:
    """A key that cannot be written."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = object.__repr__


def test_a_name_that_cannot_be_written_is_dropped_alone_and_said_once(caplog):
    setup = Setup()
    bad = Nameless()
    for step in range(3):
        setup.recorder.record(row({"first": 1.0, bad: 2.0, "last": torch.tensor(3.0)}, step))
    assert setup.stop() == [
        [(name, step, value) for step in range(3) for name, value in (("first", 1.0), ("last", 3.0))]
    ]
    assert [reading.sequence for reading in setup.exporters[0].readings] == [1, 2, 3, 4, 5, 6]
    (record,) = [record for record in caplog.records if record.name == "tracelet_otel"]
    assert "no text" in record.getMessage()
    assert setup.guard.counts == {f"a value of metric {bad!r} was dropped": 3}


NUMBERS = st.floats() | st.integers(-(2**53), 2**53) | st.booleans()
MADE = [
    lambda number: number,
    lambda number: torch.tensor(number, dtype=torch.float64),
    lambda _: "text",
    lambda _: 10**400,
]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.tuples(NUMBERS, st.sampled_from(range(len(MADE)))), min_size=1)
        | st.sampled_from([None])
    )
)
def test_whatever_rows_follow_each_other_each_value_is_recorded_in_its_turn(rows):
    """Rows of any names, numbers and what is none, drained wherever there is a None."""
    setup = Setup()
    expected = []
    for step, values in enumerate(rows):
        if values is None:
            setup.recorder.drain()
            continue
        setup.recorder.record(row({name: MADE[how](number) for name, (number, how) in values.items()}, step))
        expected += [(name, step, repr(float(number))) for name, (number, how) in values.items() if how < 2]
    found = [(name, step, repr(value)) for name, step, value in setup.stop()[0]]
    assert found == expected
    assert [reading.sequence for reading in setup.exporters[0].readings] == [*range(1, len(expected) + 1)]


class Interrupting(float):
    """A number at which somebody presses Ctrl-C, once."""

    pressed = False

    def __float__(self) -> float:
        if not Interrupting.pressed:
            Interrupting.pressed = True
            raise KeyboardInterrupt
        return 1.0


def test_an_interrupt_takes_one_row_at_most():
    setup = Setup()
    for step in range(10):
        setup.recorder.record(row({"loss": Interrupting() if step == 5 else float(step), "accuracy": 0.5}, step))
    with pytest.raises(KeyboardInterrupt):
        setup.recorder.drain()
    expected = [(name, step, value) for step in range(10) for name, value in (("loss", float(step)), ("accuracy", 0.5))]
    assert setup.stop() == [[one for one in expected if one[1] != 5]]


def test_what_was_logged_is_let_go_of():
    setup = Setup()
    value = torch.tensor(1.0)
    alive = weakref.ref(value)
    setup.recorder.record(row({"loss": value}))
    del value
    setup.recorder.drain()
    assert alive() is None
    setup.stop()


def test_rows_of_many_sets_of_names():
    setup = Setup()
    sets = [[f"metric {number}", f"metric {number + 1}"] for number in range(300)]
    for step, names in enumerate(sets * 2):
        setup.recorder.record(row(dict.fromkeys(names, float(step)), step))
    assert setup.stop() == [[(name, step, float(step)) for step, names in enumerate(sets * 2) for name in names]]


def test_names_that_share_an_instrument_stay_apart():
    setup = Setup()
    setup.recorder.record(row({"Loss": 1.0, "loss": 2.0, "lo@ss": 3.0, "lo#ss": 4.0, "4": 5.0}))
    assert sorted(setup.stop()[0]) == sorted(
        [("Loss", 0, 1.0), ("loss", 0, 2.0), ("lo@ss", 0, 3.0), ("lo#ss", 0, 4.0), ("4", 0, 5.0)]
    )


def test_more_names_than_the_sdk_would_keep():
    setup = Setup()
    names = [f"metric@{number}" for number in range(5_000)]
    setup.recorder.record(row(dict.fromkeys(names, 1.0)))
    assert sorted(setup.stop()[0]) == sorted((name, 0, 1.0) for name in names)


def _drain_in_child(setup, found):
    setup.recorder.drain()
    setup.meters.force_flush()
    found.put(len(setup.exporters[0].readings))


def test_a_forked_child_does_not_drain_its_parents_queue():
    setup = Setup()
    setup.recorder.record(row({"loss": 1.0}))
    fork = multiprocessing.get_context("fork")
    found = fork.SimpleQueue()
    child = fork.Process(target=_drain_in_child, args=(setup, found))
    child.start()
    child.join(30)
    assert found.get() == 0
    assert setup.stop() == [[("loss", 0, 1.0)]]


@given(st.text())
def test_every_name_gives_a_valid_instrument(name):
    meters = provider(reader(KeepingExporter()))
    meters.get_meter("test").create_gauge(instrument_name(name))
    meters.shutdown()
