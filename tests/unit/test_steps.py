"""The steps of a training: how long each took, and what rows say of the time before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelet_otel import semconv
from tracelet_otel.instrumentation.progress import Advance, Remaining
from tracelet_otel.instrumentation.timing.account import TimeAccount
from tracelet_otel.instrumentation.timing.actions import Actions
from tracelet_otel.instrumentation.timing.batch import samples_in
from tracelet_otel.instrumentation.timing.marks import BatchEnds, EpochBegins, Mark, RowLogged
from tracelet_otel.instrumentation.timing.slow import Durations
from tracelet_otel.instrumentation.timing.steps import Steps

S = 1_000_000_000


class Fit:
    """A fit whose clock a test moves."""

    def __init__(self) -> None:
        self.actions = Actions(lambda: None)
        self.account = TimeAccount()
        self.now_ns = S
        self._call = self.actions.call("fit")
        self._note(self._call, self.now_ns)

    def _note(self, what: object, time_ns: int) -> None:
        self.actions.events.extend((what, time_ns))

    def during(self, action: str, seconds: float) -> None:
        self._note(self.actions[action], self.now_ns)
        self.wait(seconds)
        self._note(self.actions[action], -self.now_ns)

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)

    def mark(self, mark: Mark) -> None:
        self._note(mark, -self.now_ns)

    def step(self, data_s: float, forward_s: float, samples: int | None = 4) -> None:
        self.during("[_TrainingEpochLoop].train_dataloader_next", data_s)
        self.during("[Strategy]S.training_step", forward_s)
        self.mark(BatchEnds(samples))

    def row(self, step: int) -> dict[str, float]:
        mark = RowLogged(step)
        self.mark(mark)
        self.take()
        assert mark.values is not None
        return mark.values

    def take(self) -> Steps:
        self.account.take(self.actions.events)
        return self.account.steps


def test_a_step_is_a_batch_without_what_is_between_two_of_them():
    fit = Fit()
    fit.during("[Callback]C.on_fit_start", 5)
    fit.mark(EpochBegins())
    fit.step(0.5, 1)
    fit.step(0.25, 1)
    fit.during("[_EvaluationLoop].run", 7)
    fit.during("save_checkpoint", 3)
    fit.during("[Callback]C.on_train_batch_end", 0.125)
    fit.step(0.25, 1)
    fit.wait(9)
    fit.mark(EpochBegins())
    fit.step(0, 1)
    steps = fit.take()
    assert (steps.count, steps.samples) == (4, 16)
    assert steps.durations_s == [1.5, 1.25, 1.375, 1.0]


def test_a_row_says_what_the_time_went_to_since_the_last_one():
    fit = Fit()
    fit.mark(EpochBegins())
    fit.step(1, 2)
    fit.step(3, 4)
    first = fit.row(1)
    assert fit.row(1) == {}
    fit.step(0.5, 1)
    fit.during("[_EvaluationLoop].run", 3)
    fit.wait(0.5)
    second = fit.row(2)
    none = {f"time/{phase}": 0.0 for phase in semconv.PHASES}
    assert first == {**none, "time/data_wait": 2.0, "time/forward": 3.0, "time/samples_per_second": 8 / 10}
    assert second == {
        **none,
        "time/data_wait": 0.5,
        "time/forward": 1.0,
        "time/validation": 3.0,
        "time/lightning": 0.5,
        "time/samples_per_second": 4 / 1.5,
    }


def test_no_rate_of_samples_is_said_where_a_batch_cannot_be_counted():
    fit = Fit()
    fit.mark(EpochBegins())
    fit.step(1, 1)
    fit.step(1, 1, samples=None)
    assert semconv.TIME_SAMPLES_PER_SECOND not in fit.row(1)
    fit.step(1, 1)
    assert fit.row(2)[semconv.TIME_SAMPLES_PER_SECOND] == 2
    assert fit.take().samples == 8


def test_a_long_training_has_times_at_some_of_its_rows_and_they_leave_out_no_time():
    fit = Fit()
    fit.mark(EpochBegins())
    timed, forward_s = [], 0.0
    for step in range(5_000):
        fit.step(0, 1)
        times = fit.row(step)
        if times:
            forward_s += times["time/forward"] * (step - (timed[-1] if timed else -1))
            timed.append(step)
    assert timed[:256] == list(range(256))
    assert timed[256:512] == [*range(256, 512, 2), *range(512, 1024, 4)]
    assert len(timed) < 1_000
    assert forward_s == pytest.approx(timed[-1] + 1)
    # Another training begins anew.
    fit.mark(EpochBegins())
    fit.step(0, 1)
    assert fit.row(0)


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.booleans()), min_size=1, max_size=400))
def test_times_of_rows_add_up_to_the_time_of_the_training(steps):
    fit = Fit()
    fit.mark(EpochBegins())
    told_s, expected_s, untold, since_s = 0.0, 0, 0, 0
    for number, (data_s, forward_s, is_logged) in enumerate(steps):
        fit.step(data_s, forward_s)
        untold, since_s = untold + 1, since_s + data_s + forward_s
        times = fit.row(number) if is_logged else {}
        if times:
            told_s += untold * sum(s for name, s in times.items() if name != semconv.TIME_SAMPLES_PER_SECOND)
            expected_s, untold, since_s = expected_s + since_s, 0, 0
    assert told_s == pytest.approx(expected_s)
    assert sum(fit.take().durations_s) == sum(data_s + forward_s for data_s, forward_s, _ in steps)


def test_a_step_that_takes_far_longer_is_told_of_with_its_phases():
    fit = Fit()
    fit.mark(EpochBegins())
    for number in range(1, 101):
        fit.during("[_EvaluationLoop].run", 9 if number % 10 == 0 else 0)
        fit.step(0.5 if number == 50 else 0.01, 1.5 if number == 70 else 0.1)
    assert fit.take().count == 100
    # A validation makes no step slow, and the second one comes within a minute.
    [slow] = fit.account.slow
    assert (slow.number, slow.duration_ns, slow.median_ns) == (50, 600_000_000, 110_000_000)
    assert {phase.name: ns for phase, ns in slow.phases.items()} == {"data_wait": 500_000_000, "forward": 100_000_000}


def test_slow_is_what_is_far_above_the_steps_before_it():
    durations = Durations()
    minute = 60_000_000_000
    assert [durations.add(1, number) for number in range(20)] == [None] * 20
    # Three times as long, and nobody notices.
    assert durations.add(40_000_000, minute) is None
    assert durations.add(60_000_000, minute) == 1
    assert durations.add(60_000_000, 2 * minute - 1) is None
    assert durations.add(60_000_000, 2 * minute) == 1
    # Where all steps have become slow, none is.
    for number in range(200):
        durations.add(60_000_000, 3 * minute + number * minute)
    assert durations.add(60_000_000, 999 * minute) is None


@given(st.lists(st.integers(0, 1_000_000_000), max_size=300))
def test_the_median_is_that_of_the_last_steps(values):
    durations, minute = Durations(), 60_000_000_000
    for number, value in enumerate(values):
        before = sorted(values[max(number - 200, 0) : number])
        median = before[len(before) // 2] if len(before) >= 20 else None
        is_slow = median is not None and value > 3 * median and value > median + 50_000_000
        assert durations.add(value, number * minute) == (median if is_slow else None)


class Shaped:
    """A tensor or an array, of which only the shape counts."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape


class Unlike:
    """Somebody's own type of a batch."""


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (Shaped(3, 2), 3),
        ([Shaped(5, 2), Shaped(5)], 5),
        (({"x": Shaped(), "y": Shaped(7, 1)}, None), 7),
        ([None, [], {}, (Shaped(2),)], 2),
        (Shaped(), None),
        (Unlike(), None),
        (["a", "b"], None),
        ([], None),
    ],
    ids=range(8),
)
def test_samples_of_a_batch(batch, samples):
    assert samples_in(batch) == samples


def test_time_that_remains():
    remaining = Remaining()
    assert remaining.estimate_s(0, Advance(0.2, is_running=True)) is None
    # What comes before the first step is no pace.
    assert remaining.estimate_s(100, Advance(0.3, is_running=True)) is None
    assert remaining.estimate_s(110, Advance(0.4, is_running=True)) == pytest.approx(60)
    assert remaining.estimate_s(110, Advance(0.4, is_running=True, limit_s=5)) == 5
    assert remaining.estimate_s(120, Advance(1.0, is_running=True)) == 0
