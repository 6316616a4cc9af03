"""The exporters by the names of `OTEL_METRICS_EXPORTER`. Importing them imports little: a script may not need them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, ClassVar

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel.protocol import samples
from tracelet_otel.zero_code.run import ZeroCodeRun, run_of_this_process


class ZeroCodeExporter(MetricExporter):
    """Exports to the run of this process, of which it names a backend.

    Imports, launches and creates nothing before the first training. With several in one
    process, all of them are of one run, and the first hands on the stream.
    """

    backend: ClassVar[str | None] = None
    """Which it names; None for those of `TRACELET_BACKEND`."""

    def __init__(self) -> None:
        super().__init__(
            preferred_temporality=samples.preferred_temporality(),
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self._run: ZeroCodeRun = run_of_this_process()
        self._is_first = self._run.join(self.backend)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Hand on an export; waits for nothing."""
        return self._run.export(metrics_data) if self._is_first else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the run has what was exported."""
        return not self._is_first or self._run.flush(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Deliver what is left and end the run; takes `stop_timeout` at most where a backend takes nothing."""
        if self._is_first:
            self._run.close()


class TraceletMetricExporter(ZeroCodeExporter):
    """`OTEL_METRICS_EXPORTER=tracelet`: the backends of `TRACELET_BACKEND`."""


def __getattr__(name: str) -> type[ZeroCodeExporter]:
    """The exporter of a tracker, by the tracker's name: what an entry point names, as in `exporters:mlflow`."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise AttributeError(name)
    return _exporter_of(name)


@cache
def _exporter_of(backend: str) -> type[ZeroCodeExporter]:
    return type(f"{backend.title()}MetricExporter", (ZeroCodeExporter,), {"backend": backend})
