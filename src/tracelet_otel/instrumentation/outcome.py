"""How the run stands, as a point of an observable gauge."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv


class Outcome:
    """The run's outcome so far; starts as running.

    Args:
        meter_provider: where the instrument is created.
    """

    def __init__(self, meter_provider: MeterProvider) -> None:
        self.value: str = semconv.OUTCOME_RUNNING
        """One of `semconv.OUTCOME_*`."""
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            semconv.RUN_OUTCOME,
            callbacks=[self._observe],
            unit=semconv.RUN_OUTCOME_UNIT,
            description="1 for the outcome that the run has at this moment",
        )

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(1, {semconv.OUTCOME: self.value})
