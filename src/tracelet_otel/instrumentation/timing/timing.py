"""Where the time of this process's trainings goes, as measurements: phases, and steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from time import perf_counter_ns

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.account import Spent, TimeAccount
from tracelet_otel.instrumentation.timing.actions import Actions
from tracelet_otel.instrumentation.timing.marks import RowLogged


class Timing:
    """Sums the time of each phase when metrics are collected. The training thread only notes actions.

    In a forked child it reports nothing: what was noted belongs to the process that made it.

    Args:
        meter_provider: where the instruments are created.
    """

    def __init__(self, meter_provider: MeterProvider) -> None:
        self.actions = Actions(self._sum_up)
        self._pid = os.getpid()
        self._account = TimeAccount()
        self._lock = threading.Lock()
        meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        self._duration = meter.create_histogram(
            semconv.STEP_DURATION,
            unit=semconv.STEP_DURATION_UNIT,
            description="Time of one batch of a training, without validations and checkpoints in between",
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

    @property
    def spent_s(self) -> dict[Spent, float]:
        """Seconds by phase and stage, up to now."""
        # Several metric readers may ask at a time.
        with self._lock:
            now_ns = perf_counter_ns()
            self._take()
            self._account.settle(now_ns)
            return {spent: ns / 1e9 for spent, ns in self._account.spent_ns.items()}

    def times_of(self, row: RowLogged) -> dict[str, float]:
        """What the time went to before a row, by metric name; empty for a row that is to have no times."""
        if row.values is None:
            with self._lock:
                self._take()
        return row.values or {}

    def _take(self) -> None:
        """Must be called with `_lock` held."""
        self._account.take(self.actions.events)
        durations_s, self._account.steps.durations_s = self._account.steps.durations_s, []
        for duration_s in durations_s:
            self._duration.record(duration_s)

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
        return [Observation(seconds, _attributes(spent)) for spent, seconds in self.spent_s.items()]

    def _observe_count(self, count: int) -> Iterable[Observation]:
        # Nothing before the first one, as 0 would also stand for batches whose samples cannot be counted.
        return [Observation(count)] if count and os.getpid() == self._pid else []


def _attributes(spent: Spent) -> dict[str, str]:
    phase = spent.phase
    owner = {semconv.PHASE_OWNER: phase.owner} if phase.owner else {}
    return {semconv.PHASE: phase.name, semconv.STAGE: spent.stage, **owner}
