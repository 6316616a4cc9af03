"""The real SDK with an exporter that keeps what it gets."""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from tracelet_otel import samples
from tracelet_otel.exporters.reading import Batch, Reading, decode


class KeepingExporter(MetricExporter):
    """Keeps every export; asks for samples as our exporters do, unless told otherwise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{
                "preferred_aggregation": samples.preferred_aggregation(),
                "preferred_temporality": samples.preferred_temporality(),
                **options,
            }
        )
        self._lock = threading.Lock()
        self.exports: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        with self._lock:
            self.exports.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass

    @property
    def batches(self) -> list[Batch]:
        return [batch for data in self.exports for batch in decode(data)]

    @property
    def readings(self) -> list[Reading]:
        return [reading for batch in self.batches for reading in batch.readings]


def reader(exporter: MetricExporter, interval_ms: float = 3_600_000) -> PeriodicExportingMetricReader:
    return PeriodicExportingMetricReader(
        exporter, export_interval_millis=interval_ms, cardinality_limits=samples.cardinality_limits()
    )


def provider(*readers: PeriodicExportingMetricReader, **attributes: Any) -> MeterProvider:
    return MeterProvider(readers, Resource(attributes), shutdown_on_exit=False)
