from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fed import FedDelivery
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.pauses import spread
from tracelet_otel.errors import (
    ConfigurationError,
    RefusedError,
    RunLostError,
    TraceletError,
    TrackerUnavailableError,
)
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.decode import Batch, Reading
from tracelet_otel.testing import ListQueue


class ListTracker:
    """A tracker whose store is a list, and that fails on demand."""

    name = "list"
    batch_size = 10

    def __init__(self):
        self.stored, self.params, self.batches, self.outcome, self.run = [], {}, [], "never closed", None
        self.refused: set[float] = set()
        self.never_taken: set[float] = set()
        self.refused_params: set[str] = set()
        self.param_calls = []
        self.takes_params = True
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def open(self, run):
        self._fail()
        self.run = run
        return RunLocation("memory")

    def refusals(self, readings):
        return {place: "it is never taken" for place, one in enumerate(readings) if one.value in self.never_taken}

    def log_readings(self, readings):
        self.gate.wait()
        self._fail()
        if any(reading.value in self.refused for reading in readings):
            raise RefusedError("the value is refused")
        self.stored += [reading.value for reading in readings]
        self.batches.append(len(readings))

    def log_params(self, params):
        self._fail()
        if not self.takes_params:
            raise TrackerUnavailableError("down for hyperparameters")
        if self.refused_params & params.keys():
            raise RefusedError("the hyperparameter is refused")
        self.params.update(params)
        self.param_calls.append(dict(params))

    def close(self, outcome, end_unix_nano=None):
        self.outcome = outcome

    def _fail(self):
        if self.failures:
            raise self.failures.pop(0)


def batch(*values, outcome=None):
    readings = tuple(Reading("loss", value, 0, 1, semconv.AXIS_USER, 0) for value in values)
    return Batch({semconv.RUN_ID: "1", semconv.PROJECT_NAME: "p"}, readings, (), outcome)


def put(delivery, *values, params, outcome=None):
    """Values, and hyperparameters that are new."""
    delivery.put(batch(*values, outcome=outcome), params.items())


@pytest.fixture
def tracker():
    return ListTracker()


@pytest.fixture
def delivery(tracker):
    delivery = FedDelivery(tracker, Guard())
    yield delivery
    tracker.gate.set()
    delivery.close(1)


@given(st.floats(0, 1e6))
def test_pauses_are_spread_and_leave_the_trainings_random_numbers_alone(pause_s):
    before = random.getstate()
    assert pause_s / 2 <= spread(pause_s) <= pause_s
    assert random.getstate() == before


def test_everything_arrives_in_order_in_batches_of_bounded_size(tracker, delivery):
    for start in range(0, 100, 5):
        delivery.put(batch(*range(start, start + 5), outcome=semconv.OUTCOME_FINISHED))
    account = delivery.close(5)
    assert tracker.stored == list(range(100))
    assert max(tracker.batches) <= tracker.batch_size
    assert (account.delivered, account.refused, account.pending) == (100, 0, 0)
    assert (tracker.outcome, tracker.run.run_id, tracker.run.project) == (semconv.OUTCOME_FINISHED, "1", "p")


def test_nothing_is_opened_before_the_first_reading(tracker, delivery):
    put(delivery, params={"a": "1"}, outcome=semconv.OUTCOME_RUNNING)
    assert delivery.wait(0.05) is False
    assert tracker.run is None
    delivery.put(batch(1))
    delivery.wait(5)
    assert (tracker.stored, tracker.params) == ([1], {"a": "1"})


def test_a_refused_reading_takes_no_other_with_it_and_is_said_once(tracker, delivery, caplog):
    tracker.refused = {3, 17}
    delivery.put(batch(*range(20)))
    account = delivery.close(5)
    assert tracker.stored == [value for value in range(20) if value not in {3, 17}]
    assert (account.delivered, account.refused, account.pending) == (18, 2, 0)
    assert [r.getMessage() for r in caplog.records if "refused metric" in r.getMessage()] == [
        "list refused metric 'loss': the value is refused (said once, counted from now on)"
    ]


def test_what_a_tracker_never_takes_is_not_sent_and_is_counted_in_its_order(tracker, caplog):
    class Watched(ListQueue):
        def take(self, delivered, refused):
            super().take(delivered, refused)
            taken.append((self.delivered, self.refused))

    taken, queue = [], Watched()
    queue.put(batch(*range(13)).readings)
    delivery = Delivery(tracker, Guard(), queue)
    tracker.never_taken = {0, 3, 12}
    tracker.refused = {5}
    delivery.open({semconv.RUN_ID: "1"})
    account = delivery.close(5)
    assert tracker.stored == [1, 2, 4, 6, 7, 8, 9, 10, 11]
    assert (account.delivered, account.refused, account.pending) == (9, 4, 0)
    # A queue lets go of readings in the order in which they came: none may be counted ahead of one before it.
    assert [counts[1] for counts in taken] == [
        sum(one in {0, 3, 5, 12} for one in range(sum(counts))) for counts in taken
    ]
    assert taken[-1] == (9, 4)
    assert caplog.text.count("list refused metric 'loss': it is never taken") == 1


def test_a_queue_that_cannot_be_read_is_read_again(tracker):
    class Ill(ListQueue):
        failures = 2

        def first(self, most):
            if self.failures:
                self.failures -= 1
                raise TraceletError("the disk does not answer")
            return super().first(most)

    queue = Ill()
    queue.put(batch(1, 2).readings)
    delivery = Delivery(tracker, Guard(), queue)
    delivery.begin({semconv.RUN_ID: "1"})
    account = delivery.close(30)
    assert (tracker.stored, account.delivered, delivery.lost) == ([1, 2], 2, None)


def test_a_delivery_goes_on_where_what_waited_was_dropped(tracker):
    class Dropping(ListQueue):
        """Drops what waits at the moment at which it is asked for."""

        drops = True

        def first(self, most):
            if self.drops:
                self.drops = False
                super().first(most)
                self.take(0, self.pending)
            return super().first(most)

    queue = Dropping()
    delivery = Delivery(tracker, Guard(), queue)
    delivery.begin({semconv.RUN_ID: "1"})
    queue.put(batch(1, 2).readings)
    delivery.wake()
    wait_until(lambda: queue.refused == 2, 30, "the drop")
    queue.put(batch(3).readings)
    delivery.wake()
    delivery.close(30)
    assert (tracker.stored, tracker.outcome) == ([3], None)
    assert delivery.complete


def test_an_unavailable_tracker_is_tried_again_until_it_answers(tracker, delivery, caplog):
    tracker.failures = [TrackerUnavailableError("down")] * 3
    delivery.put(batch(1, 2))
    account = delivery.close(30)
    assert tracker.stored == [1, 2]
    assert account.pending == 0
    assert caplog.text.count("list does not answer") == 1


def test_the_end_gives_up_on_a_tracker_that_takes_nothing_and_says_what_is_left(tracker, delivery, caplog):
    tracker.gate.clear()
    delivery.put(batch(1, 2, 3))
    account = delivery.close(0.05)
    assert (account.delivered, account.pending) == (0, 3)
    assert "list: 0 readings delivered, 0 refused, 3 not delivered" in caplog.text
    assert "it took nothing for 0.05 s" in caplog.text


def test_the_end_takes_no_longer_than_it_says(tracker, delivery):
    tracker.gate.clear()
    delivery.put(batch(1))
    start = time.monotonic()
    delivery.close(0.5)
    assert 0.5 <= time.monotonic() - start < 0.9


def test_hyperparameters_that_were_not_delivered_are_said(tracker, delivery, caplog):
    tracker.failures = [TrackerUnavailableError("down")] * 100
    put(delivery, 1, params={"a": "1", "b": "2"})
    delivery.close(0.2)
    assert "1 not delivered, 2 hyperparameters and tags not delivered: down" in caplog.text


def test_an_interrupted_end_says_what_is_missing(tracker, delivery, caplog):
    tracker.gate.clear()
    delivery.put(batch(1, 2))
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        delivery.close(30)
    assert "2 not delivered" in caplog.text


def test_the_end_waits_for_a_slow_tracker_that_takes_something(tracker, delivery):
    tracker.gate.clear()
    delivery.put(batch(*range(30)))
    threading.Timer(0.3, tracker.gate.set).start()
    assert delivery.close(5).delivered == 30


def test_a_lost_run_refuses_all_that_comes_without_trying_each(tracker, delivery, caplog):
    tracker.failures = [RunLostError("the run was deleted")]
    put(delivery, 1, 2, params={"a": "1"})
    # Nothing is left then, and nobody waits for what will never be taken.
    assert delivery.wait(5)
    assert not delivery.reports_pending
    delivery.put(batch(3))
    account = delivery.close(5)
    assert tracker.stored == []
    assert (account.delivered, account.refused, account.pending) == (0, 3, 0)
    assert account.problem == "the run was deleted"
    assert "list takes no more readings: the run was deleted" in caplog.text


def test_a_tracker_that_breaks_down_is_said_and_loses_nothing_silently(tracker, delivery, caplog):
    tracker.failures = [ZeroDivisionError("a bug")]
    delivery.put(batch(1))
    account = delivery.close(5)
    assert (account.refused, account.pending) == (1, 0)
    assert "the delivery to list broke down: a bug" in caplog.text


def test_each_value_of_a_hyperparameter_arrives_in_its_order(tracker, delivery):
    delivery.put(batch(1), [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "1")])
    delivery.wait(5)
    assert tracker.param_calls == [{"a": "1", "b": "2"}, {"a": "3", "c": "4"}, {"a": "1"}]


def test_a_refused_hyperparameter_takes_no_other_with_it_and_is_said(tracker, delivery, caplog):
    tracker.refused_params = {"b", "e"}
    put(delivery, 1, params={name: name.upper() for name in "abcdefg"})
    account = delivery.close(5)
    assert tracker.params == {name: name.upper() for name in "acdfg"}
    assert not delivery.reports_pending
    assert (account.delivered, account.refused, account.pending) == (1, 0, 0)
    assert [r.getMessage() for r in caplog.records] == [
        f"list refused hyperparameter {name!r}: the hyperparameter is refused (said once, counted from now on)"
        for name in "be"
    ]


def test_readings_do_not_wait_for_hyperparameters_that_the_tracker_does_not_take(tracker, delivery, monkeypatch):
    monkeypatch.setattr("tracelet_otel.exporters.writer._REPORT_ATTEMPTS", 2)
    tracker.takes_params = False
    put(delivery, 1, params={"a": "1"})
    wait_until(lambda: tracker.stored == [1], 5, "the reading before the hyperparameter")
    # From here on it is the hyperparameter's turn.
    delivery.put(batch(2))
    wait_until(lambda: tracker.stored == [1, 2], 5, "the reading behind the hyperparameter")
    assert delivery.reports_pending
    tracker.takes_params = True
    assert delivery.wait(5)
    assert tracker.params == {"a": "1"}


def test_an_error_while_opening_is_raised_to_who_opens(tracker, delivery):
    tracker.failures = [ConfigurationError("no such project")]
    with pytest.raises(ConfigurationError, match="no such project"):
        delivery.open({})


def test_an_error_of_the_network_while_opening_may_pass(tracker, delivery):
    tracker.failures = [ConnectionResetError("by peer")]
    with pytest.raises(TrackerUnavailableError, match="list: ConnectionResetError: by peer"):
        delivery.open({})


def test_an_error_of_the_disk_is_tried_again(tracker, delivery):
    tracker.failures = [OSError("no space left")]
    delivery.put(batch(1))
    assert delivery.close(30).delivered == 1


def test_what_comes_while_a_delivery_rests_goes_together(tracker, delivery):
    tracker.gate.clear()
    delivery.put(batch(1))
    # It rests for three times as long as this call takes.
    threading.Timer(0.3, tracker.gate.set).start()
    wait_until(lambda: tracker.batches == [1], 5, "the first call")
    for value in range(2, 8):
        delivery.put(batch(value))
    wait_until(lambda: len(tracker.stored) == 7, 5, "the rest")
    assert tracker.batches == [1, 6]


def test_who_waits_for_the_end_waits_for_no_rest(tracker, delivery):
    tracker.gate.clear()
    delivery.put(batch(1))
    threading.Timer(0.6, tracker.gate.set).start()
    wait_until(lambda: tracker.batches == [1], 5, "the first call")
    delivery.put(batch(2))
    began_s = time.monotonic()
    assert delivery.close(5).delivered == 2
    assert time.monotonic() - began_s < 1
