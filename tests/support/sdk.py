"""The real SDK with an exporter that keeps what it gets."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.decode import Batch, Reading, Report, decode
from tracelet_otel.protocol.encode import encode
from tracelet_otel.protocol.requests import parse


def points_of(reader: InMemoryMetricReader, name: str, scope: str = semconv.SCOPE_RUN) -> list[Any]:
    """Points of one metric, collected now."""
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data else [])
        for found in resource.scope_metrics
        if found.scope.name == scope
        for metric in found.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


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
        return [batch for data in self.exports for batch in decoded(data)]

    @property
    def readings(self) -> list[Reading]:
        return [reading for batch in self.batches for reading in batch.readings]


def decoded(data: MetricsData) -> list[Batch]:
    """What a relay reads of an export."""
    return list(decode(parse(encode(data)).resource_metrics))


def reader(exporter: MetricExporter, interval_ms: float = 3_600_000) -> PeriodicExportingMetricReader:
    return PeriodicExportingMetricReader(
        exporter, export_interval_millis=interval_ms, cardinality_limits=samples.cardinality_limits()
    )


def provider(*readers: PeriodicExportingMetricReader, **attributes: Any) -> MeterProvider:
    return MeterProvider(readers, Resource(attributes), shutdown_on_exit=False)


def exported(rows: Iterable[Mapping[str, Any]], run_id: str = "r1", *, end: bool = False) -> MetricsData:
    """What one collection exports after some rows, and hyperparameters."""
    keeping = KeepingExporter()
    metrics = provider(only := reader(keeping), **{semconv.RUN_ID: run_id})
    signals = make_signals(metrics, Guard(), math.inf)
    signals.hparams.update({"lr": 0.1, "model": {"name": "cnn"}})
    for step, values in enumerate(rows):
        signals.recorder.record(Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", step // 2))
    if end:
        signals.outcome.end()
    only.collect()
    (data,) = keeping.exports
    metrics.shutdown()
    return data


Comparable = tuple[dict[str, Any], list[tuple[Any, ...]], tuple[Report, ...], str | None, bool | None]
"""Resource, readings, hyperparameters and outcome of a batch, and whether it is the last."""


def comparable(batches: Iterable[Batch]) -> list[Comparable]:
    """What of each batch can be compared: NaN, which equals nothing, by its name."""
    return [
        (
            dict(batch.resource.items()),
            [
                (*(getattr(reading, name) for name in reading._fields if name != "value"), str(reading.value))
                for reading in batch.readings
            ],
            batch.reports,
            batch.outcome,
            batch.ended,
        )
        for batch in batches
    ]
