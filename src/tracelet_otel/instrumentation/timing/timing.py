"""Where the time of this process's trainings goes, as measurements: phases, and steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from time import monotonic, perf_counter_ns
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.timing.account import FIT, Spent, TimeAccount
from tracelet_otel.instrumentation.timing.actions import Actions
from tracelet_otel.instrumentation.timing.device import DeviceTimes, StreamEvent
from tracelet_otel.instrumentation.timing.marks import RowLogged
from tracelet_otel.instrumentation.timing.slow import slow_step_span
from tracelet_otel.instrumentation.timing.summary import summary
from tracelet_otel.instrumentation.timing.verdict import FitTime, Judge, TrainingVerdict
from tracelet_otel.instrumentation.tracing.tracing import Tracing
from tracelet_otel.protocol.spans import context_of

_BOUNDARIES_S: Final = [digit * 10**power for power in (-3, -2, -1, 0, 1, 2) for digit in (1, 2, 5)]
"""Of the buckets of step durations, where a receiver's are not exponential: from a millisecond to minutes."""
VERDICT_EVERY_S: Final = 120.0
"""Seconds between two verdicts while a training goes on."""


class Timing:
    """Sums the time of each phase when metrics are collected. The training thread only notes actions.

    In a forked child it reports nothing: what was noted belongs to the process that made it.

    Args:
        meter_provider: where the instruments are created.
        guard: where errors are reported.
        tell: called with each verdict that differs from the one before, and with that of the end.
        verdict_every_s: seconds between two verdicts while a training goes on.
    """

    def __init__(
        self,
        meter_provider: MeterProvider,
        guard: Guard,
        tell: Callable[[TrainingVerdict], None] = lambda _: None,
        verdict_every_s: float = VERDICT_EVERY_S,
    ) -> None:
        self._tell = tell
        self._guard = guard
        self.tracing: Tracing | None = None
        """Where slow steps become spans; None where there are none."""
        self._device: DeviceTimes | None = None
        self._judge = Judge(verdict_every_s)
        self.actions = Actions(self._sum_up)
        self._pid = os.getpid()
        self._account = TimeAccount()
        self.table = ""
        """Where the time went, as lines of text, once `conclude` was called; empty where no step was made."""
        self._lock = threading.Lock()
        meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        self._duration = meter.create_histogram(
            semconv.STEP_DURATION,
            unit=semconv.STEP_DURATION_UNIT,
            description="Time of one batch of a training, without validations and checkpoints in between",
            explicit_bucket_boundaries_advisory=_BOUNDARIES_S,
        )
        meter.create_observable_counter(
            semconv.PHASE_TIME,
            callbacks=[self._observe_phases],
            unit=semconv.PHASE_TIME_UNIT,
            description="Time of the thread that trains, by what it was spent on",
        )
        meter.create_observable_counter(
            semconv.TRAINER_STEPS,
            callbacks=[lambda _: self._observe_count(self._account.steps.count)],
            unit=semconv.TRAINER_STEPS_UNIT,
            description="Batches that were trained with",
        )
        meter.create_observable_counter(
            semconv.TRAINER_SAMPLES,
            callbacks=[lambda _: self._observe_count(self._account.steps.samples)],
            unit=semconv.TRAINER_SAMPLES_UNIT,
            description="Samples in the batches that were trained with",
        )
        meter.create_observable_counter(
            semconv.PHASE_DEVICE_TIME,
            callbacks=[self._observe_device_time],
            unit=semconv.PHASE_DEVICE_TIME_UNIT,
            description="Time of the device in those steps in which it was measured",
        )
        meter.create_observable_counter(
            semconv.PHASE_DEVICE_STEPS,
            callbacks=[lambda _: self._observe_count(0 if self._device is None else self._device.steps)],
            unit=semconv.PHASE_DEVICE_STEPS_UNIT,
            description="Steps in which the device's time was measured",
        )
        meter.create_observable_gauge(
            semconv.RUN_VERDICT,
            callbacks=[self._observe_verdict],
            unit=semconv.RUN_VERDICT_UNIT,
            description="Share of the time that goes to what bounds the training",
        )

    @property
    def spent_s(self) -> dict[Spent, float]:
        """Seconds by phase and stage, up to now."""
        # Several metric readers may ask at a time.
        with self._lock:
            now_ns = perf_counter_ns()
            self._take()
            self._account.settle(now_ns)
            return {spent: ns / 1e9 for spent, ns in self._account.spent_ns.items()}

    @property
    def fit_time(self) -> FitTime:
        """What the trainings of this process have spent their time on, up to now."""
        seconds = {spent.phase: of_spent for spent, of_spent in self.spent_s.items() if spent.stage == FIT}
        steps = self._account.steps
        on_device, measured = self._on_device()
        device_s = {phase: of_phase / measured for phase, of_phase in on_device.items()} if measured else {}
        return FitTime(seconds, steps.count, None if steps.uncounted else steps.samples, device_s)

    @property
    def verdict(self) -> TrainingVerdict | None:
        """What bounds the training, as far as that has been judged yet."""
        return self._judge.verdict

    def conclude(self) -> None:
        """Judge the trainings as a whole, at the end of the run."""
        fit = self.fit_time
        self._judge.conclude(fit)
        if self._judge.verdict is not None:
            self._tell(self._judge.verdict)
        self.table = summary(fit)

    def device_times(self, make_event: Callable[[], StreamEvent], is_capturing: Callable[[], bool]) -> DeviceTimes:
        """What measures steps on a device; the same for all trainers of this process.

        Args:
            make_event: makes an event that can measure time.
            is_capturing: whether the device's stream only records its work now, for a graph.
        """
        if self._device is None:
            self._device = DeviceTimes(self.actions, make_event, is_capturing, self._guard)
        return self._device

    def times_of(self, row: RowLogged) -> dict[str, float]:
        """What the time went to before a row, by metric name; empty for a row that is to have no times."""
        if row.values is None:
            with self._lock:
                self._take()
        return row.values or {}

    def _take(self) -> None:
        """Must be called with `_lock` held."""
        self._account.take(self.actions.events)
        slow, self._account.slow = self._account.slow, []
        durations_s, self._account.steps.durations_s = self._account.steps.durations_s, []
        around = None
        if durations_s and self.tracing is not None:
            added = [self.tracing.add(slow_step_span(one)) for one in slow]
            # One span stands for all of these steps: all are of one trace.
            spans = added or [self.tracing.context_at(self._account.last_step_ns)]
            around = next((context_of(span) for span in spans if span is not None), None)
        for duration_s in durations_s:
            self._duration.record(duration_s, context=around)

    def _sum_up(self) -> None:
        # Whoever has the lock is doing it already.
        if self._lock.acquire(blocking=False):
            try:
                self._take()
            finally:
                self._lock.release()

    def _observe_phases(self, _options: CallbackOptions) -> Iterable[Observation]:
        if os.getpid() != self._pid:
            return []
        return [Observation(seconds, spent.attributes) for spent, seconds in self.spent_s.items()]

    def _on_device(self) -> tuple[dict[str, float], int]:
        """Seconds by phase of those steps that were measured on a device, and how many these are."""
        if self._device is None:
            return {}, 0
        with self._lock:
            return self._device.take(), self._device.steps

    def _observe_device_time(self, _options: CallbackOptions) -> Iterable[Observation]:
        if os.getpid() == self._pid:
            for phase, seconds in self._on_device()[0].items():
                yield Observation(seconds, {semconv.PHASE: phase})

    def _observe_verdict(self, _options: CallbackOptions) -> Iterable[Observation]:
        if os.getpid() != self._pid:
            return
        before, now_s = self._judge.verdict, monotonic()
        if self._judge.is_due(now_s):
            self._judge.look(now_s, self.fit_time)
        verdict = self._judge.verdict
        if verdict is not None:
            if before is None or (verdict.name, verdict.owner) != (before.name, before.owner):
                self._tell(verdict)
            yield Observation(verdict.share, verdict.attributes)

    def _observe_count(self, count: int) -> Iterable[Observation]:
        # Nothing before the first one, as 0 would also stand for batches whose samples cannot be counted.
        return [Observation(count)] if count and os.getpid() == self._pid else []
