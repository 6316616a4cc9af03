"""How long a device works in each phase, with a stream of work in the place of the device's."""

from __future__ import annotations

from collections import deque

import pytest

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.timing.actions import Actions
from tracelet_otel.instrumentation.timing.device import DeviceTimes

FETCH = "[_TrainingEpochLoop].train_dataloader_next"
STEP = (
    ("[Strategy]S.batch_to_device", 1),
    ("[LightningModule]M.optimizer_step", 2),
    ("[Strategy]S.training_step", 4),
    ("[Strategy]S.backward", 8),
)


class Stream:
    """Work that is put in order, and that a device does later. As in CUDA, an event not yet passed has no time."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.work: deque[float | Event] = deque()
        self.made = 0
        self.is_capturing = False
        self.breaks = False

    def event(self) -> Event:
        self.made += 1
        return Event(self)

    def catch_up(self) -> None:
        while self.work:
            one = self.work.popleft()
            if isinstance(one, Event):
                one.passed_ms = self.now_ms
            else:
                self.now_ms += one


class Event:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.passed_ms: float | None = None

    def record(self) -> None:
        if self._stream.is_capturing or self._stream.breaks:
            raise RuntimeError("operation not permitted")
        self.passed_ms = None
        self._stream.work.append(self)

    def query(self) -> bool:
        return self.passed_ms is not None

    def elapsed_time(self, end_event: Event) -> float:
        assert self.passed_ms is not None
        assert end_event.passed_ms is not None
        return end_event.passed_ms - self.passed_ms


class Training:
    """One whose steps put work on a stream, forward and backward within the optimizer's step."""

    def __init__(self, every: int = 3) -> None:
        self.stream, self.guard = Stream(), Guard()
        self.actions = Actions(lambda: None)
        self.times = DeviceTimes(self.actions, self.stream.event, lambda: self.stream.is_capturing, self.guard, every)
        self.actions.device = self.times

    def step(self) -> None:
        with self.actions[FETCH]:
            pass
        (move, move_ms), (optimize, optimize_ms), *inner = STEP
        with self.actions[move]:
            self.stream.work.append(move_ms)
        with self.actions[optimize]:
            for name, ms in inner:
                with self.actions[name]:
                    self.stream.work.append(ms)
            self.stream.work.append(optimize_ms)
        self.actions.batch_ended(1)

    def validation(self) -> None:
        with self.actions["[Strategy]S.batch_to_device"], self.actions["[Strategy]S.validation_step"]:
            self.stream.work.append(1_000)


def test_one_step_in_three_is_measured_and_no_validation():
    training = Training()
    for _ in range(10):
        training.step()
        training.validation()
    assert (training.times.take(), training.times.steps) == ({}, 0)
    training.stream.catch_up()
    found = training.times.take()
    assert training.times.steps == 3
    assert found == pytest.approx({"transfer": 0.003, "optimizer": 0.006, "forward": 0.012, "backward": 0.024})
    # What the training notes by itself is the same in each step.
    names = [one.name for one in training.actions.events if hasattr(one, "name")]
    assert names.count("[Strategy]S.backward") == 2 * 10
    assert not training.guard.counts


def test_events_are_used_again():
    training = Training(every=1)
    for _ in range(100):
        training.step()
        training.stream.catch_up()
        training.times.take()
    assert training.times.steps == 99
    assert training.stream.made == 2 * len(STEP)


def test_steps_that_the_device_has_not_done_are_read_later_and_in_order():
    training = Training(every=1)
    for _ in range(4):
        training.step()
    queued = list(training.stream.work)
    middle = len(queued) // 2
    training.stream.work = deque(queued[:middle])
    training.stream.catch_up()
    training.times.take()
    assert 0 < training.times.steps < 3
    training.stream.work = deque(queued[middle:])
    training.stream.catch_up()
    training.times.take()
    assert training.times.steps == 3


def test_a_step_in_which_a_graph_is_captured_is_left_out():
    training = Training(every=1)
    training.step()
    training.stream.is_capturing = True
    training.step()
    training.stream.is_capturing = False
    training.step()
    training.stream.catch_up()
    training.times.take()
    assert training.times.steps == 1
    assert not training.guard.counts


def test_an_error_of_the_device_is_said_once_and_ends_the_measurement():
    training = Training(every=1)
    training.step()
    training.stream.breaks = True
    for _ in range(5):
        training.step()
    assert training.guard.counts == {"the device's time is no longer measured": 1}
    assert training.times.take() == {}
