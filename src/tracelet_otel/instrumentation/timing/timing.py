"""The phases of the trainings of this process, as a counter."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from time import perf_counter_ns

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.account import Spent, TimeAccount
from tracelet_otel.instrumentation.timing.actions import Actions


class Timing:
    """Sums the time of each phase when the counter is collected. The training thread only notes actions.

    In a forked child it reports nothing: what was noted belongs to the process that made it.

    Args:
        meter_provider: where the counter is created.
    """

    def __init__(self, meter_provider: MeterProvider) -> None:
        self.actions = Actions(self._sum_up)
        self._pid = os.getpid()
        self._account = TimeAccount()
        self._lock = threading.Lock()
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_counter(
            semconv.PHASE_TIME,
            callbacks=[self._observe],
            unit=semconv.PHASE_TIME_UNIT,
            description="Time of the thread that trains, by what it was spent on",
        )

    @property
    def spent_s(self) -> dict[Spent, float]:
        """Seconds by phase and stage, up to now."""
        # Several metric readers may ask at a time.
        with self._lock:
            now_ns = perf_counter_ns()
            self._account.take(self.actions.events)
            self._account.settle(now_ns)
            return {spent: ns / 1e9 for spent, ns in self._account.spent_ns.items()}

    def _sum_up(self) -> None:
        # Whoever has the lock is doing it already.
        if self._lock.acquire(blocking=False):
            try:
                self._account.take(self.actions.events)
            finally:
                self._lock.release()

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        if os.getpid() != self._pid:
            return []
        return [Observation(seconds, _attributes(spent)) for spent, seconds in self.spent_s.items()]


def _attributes(spent: Spent) -> dict[str, str]:
    phase = spent.phase
    owner = {semconv.PHASE_OWNER: phase.owner} if phase.owner else {}
    return {semconv.PHASE: phase.name, semconv.STAGE: spent.stage, **owner}
