"""The metric exporters that `OTEL_METRICS_EXPORTER` can name.

The SDK imports this module in each process, also where nothing is trained. So it imports little.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, ClassVar

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.protocol import samples
from tracelet_otel.zero_code.run import ZeroCodeRun

_run: ZeroCodeRun | None = None


def run_of_this_process() -> ZeroCodeRun:
    """Return the run that all exporters of this process share; a forked child gets a new one."""
    global _run
    if _run is None or not _run.is_of_this_process:
        _run = ZeroCodeRun()
        LightningInstrumentor().own_run = _run
    return _run


class ZeroCodeExporter(MetricExporter):
    """Exports to the run of this process. Its class names a backend of that run.

    Nothing is imported, launched or created before the first training. A process may have several of these exporters,
    and all of them share one run. Only the first passes on what it exports, since each of them gets the same.
    """

    backend: ClassVar[str | None] = None
    """Name of the backend; None for those of `TRACELET_BACKEND`."""

    def __init__(self) -> None:
        super().__init__(
            preferred_temporality=samples.preferred_temporality(),
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self._run: ZeroCodeRun = run_of_this_process()
        self._is_first = self._run.join(self.backend)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Pass an export on to the run, without waiting."""
        return self._run.export(metrics_data) if self._is_first else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until everything that was exported is delivered, or accepted by a relay."""
        return not self._is_first or self._run.flush(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Deliver what is left and end the run; waits at most `stop_timeout` for a backend that takes nothing."""
        if self._is_first:
            self._run.close()


class TraceletMetricExporter(ZeroCodeExporter):
    """The exporter for `OTEL_METRICS_EXPORTER=tracelet`. It exports to the backends of `TRACELET_BACKEND`."""


def __getattr__(name: str) -> type[ZeroCodeExporter]:
    """Return the exporter class of a tracker, by the tracker's name. Entry points name it, as in `exporters:mlflow`."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise AttributeError(name)
    return _exporter_of(name)


@cache
def _exporter_of(backend: str) -> type[ZeroCodeExporter]:
    return type(f"{backend.title()}MetricExporter", (ZeroCodeExporter,), {"backend": backend})
