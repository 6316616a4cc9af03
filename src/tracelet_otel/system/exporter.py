"""The `MetricExporter` between the SDK's metric reader for GPU and host and the exporters of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.guard import Guard
from tracelet_otel.system.tracker_view import SystemReadings


class SystemExporter(MetricExporter):
    """Passes metrics of GPU and host to a run's exporters, which outlive this one.

    The exporters of trackers get them converted to the names and units that trackers show.

    Args:
        exporters: all exporters of the run.
        streams: those of them that take every metric as it is measured.
        step: returns the current step of the training.
        guard: where errors are reported.
    """

    def __init__(
        self,
        exporters: Sequence[MetricExporter],
        streams: Sequence[MetricExporter],
        step: Callable[[], int],
        guard: Guard,
    ) -> None:
        super().__init__()
        self._streams = streams
        self._trackers = [one for one in exporters if one not in streams]
        self._step = step
        self._guard = guard
        self._readings = SystemReadings()
        self._pid = os.getpid()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Pass on the metrics of one collection; in a forked process, nothing."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        try:
            readings = self._readings.of(metrics_data, self._step())
        except Exception as error:
            self._guard.report("readings of GPU and host were dropped", error)
            return MetricExportResult.FAILURE
        results = [exporter.export(readings, timeout_millis) for exporter in self._trackers]
        results += [exporter.export(metrics_data, timeout_millis) for exporter in self._streams]
        failed = MetricExportResult.FAILURE in results
        return MetricExportResult.FAILURE if failed else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Return True: nothing is buffered here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: nothing is buffered here, and the exporters belong to the run."""
