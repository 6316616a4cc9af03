"""Encodes exports in OTLP's protobuf form. Pure.

OpenTelemetry's stock encoder makes a message object of each attribute of each exemplar, which costs more than all else
that we do with a value. So metrics whose exemplars are `Samples` are written as bytes here. All others are left to the
stock encoder.

Source of the form: opentelemetry-proto, `metrics.proto`, `resource.proto` and `common.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, Sum

from tracelet_otel.protocol.sample_encoding import SampleEncoder, key_values
from tracelet_otel.protocol.samples import Samples
from tracelet_otel.protocol.wire import (
    FIXED64,
    LENGTH_DELIMITED,
    delimited,
    number,
    tag,
    tagged_unsigned,
)

_Written = list[list[list[list[bytes] | None]]]
"""Encoded pieces of each metric, by resource and scope; None for one that is left to the stock encoder."""


def encode(data: MetricsData) -> bytes:
    """Encode an export as an OTLP request. It reads as that of the stock encoder, with fields in another order."""
    encoder = SampleEncoder()
    written: _Written = [
        [[_metric(metric, encoder) for metric in scope.metrics] for scope in resource.scope_metrics]
        for resource in data.resource_metrics
    ]
    others = encode_metrics(_others(data, written))
    if not _have_same_places(others, data):
        # The stock encoder has joined equal resources or scopes, so the pieces do not fit: it encodes everything.
        whole: bytes = encode_metrics(data).SerializeToString()
        return whole
    pieces: list[bytes] = []
    for resource, of_scopes in zip(others.resource_metrics, written, strict=True):
        scopes = [
            piece
            for scope, of_metrics in zip(resource.scope_metrics, of_scopes, strict=True)
            for piece in delimited(_SCOPE_METRICS, list(_scope(scope, of_metrics)))
        ]
        del resource.scope_metrics[:]
        pieces += delimited(_RESOURCE_METRICS, [resource.SerializeToString(), *scopes])
    return b"".join(pieces)


def _others(data: MetricsData, written: _Written) -> MetricsData:
    """A copy of an export, with only those metrics that are left to the stock encoder."""
    return MetricsData(
        [
            replace(
                resource,
                scope_metrics=[
                    replace(
                        scope,
                        metrics=[metric for metric, one in zip(scope.metrics, of_metrics, strict=True) if one is None],
                    )
                    for scope, of_metrics in zip(resource.scope_metrics, of_scopes, strict=True)
                ],
            )
            for resource, of_scopes in zip(data.resource_metrics, written, strict=True)
        ]
    )


def _have_same_places(request: ExportMetricsServiceRequest, data: MetricsData) -> bool:
    """Whether both have the same number of resources, and of scopes in each."""
    scopes = [len(resource.scope_metrics) for resource in request.resource_metrics]
    return scopes == [len(resource.scope_metrics) for resource in data.resource_metrics]


def _scope(scope: metrics_pb2.ScopeMetrics, written: Sequence[list[bytes] | None]) -> Iterator[bytes]:
    others = iter([metric.SerializeToString() for metric in scope.metrics])
    del scope.metrics[:]
    yield scope.SerializeToString()
    for pieces in written:
        yield from delimited(_METRICS, [next(others)] if pieces is None else pieces)


def _metric(metric: Metric, encoder: SampleEncoder) -> list[bytes] | None:
    """Encode a gauge or sum of samples; None for another metric, or an attribute that is neither text nor integer."""
    is_sum = isinstance(metric.data, Sum)
    if not (is_sum or isinstance(metric.data, Gauge)) or not metric.data.data_points:
        return None
    points: list[bytes] = []
    for point in metric.data.data_points:
        if not isinstance(point, NumberDataPoint) or not isinstance(point.exemplars, Samples):
            return None
        attributes = _attributes(point.attributes or {})
        if attributes is None:
            return None
        start = tagged_unsigned(_START, point.start_time_unix_nano or 0) if is_sum else b""
        time = tagged_unsigned(_TIME, point.time_unix_nano)
        own = attributes + start + time + number(point.value, _DOUBLE, _INT)
        points += delimited(_POINTS[is_sum], [own, encoder.exemplars(point.exemplars)])
    header = _header(metric.name, metric.description, metric.unit)
    if isinstance(metric.data, Sum):
        kind = metrics_pb2.Sum(
            aggregation_temporality=metric.data.aggregation_temporality,  # type: ignore[arg-type]
            is_monotonic=metric.data.is_monotonic,
        )
        return [header, *delimited(_SUM, [kind.SerializeToString(), *points])]
    return [header, *delimited(_GAUGE, points)]


@lru_cache(4096)
def _header(name: str, description: str, unit: str) -> bytes:
    written: bytes = metrics_pb2.Metric(name=name, description=description, unit=unit).SerializeToString()
    return written


def _attributes(attributes: Mapping[str, Any]) -> bytes | None:
    """Encode attributes of a point; None where some are neither text nor integers."""
    pairs = tuple(attributes.items())
    # The cache cannot tell True from 1: values of type bool are not passed to it.
    return _plain_attributes(pairs) if {type(value) for _, value in pairs} <= _PLAIN else None


@lru_cache(4096)
def _plain_attributes(pairs: tuple[tuple[str, str | int], ...]) -> bytes:
    written: bytes = metrics_pb2.NumberDataPoint(attributes=key_values(pairs)).SerializeToString()
    return written


_PLAIN: Final = {str, int}
_RESOURCE_METRICS: Final = tag(ExportMetricsServiceRequest, "resource_metrics", LENGTH_DELIMITED)
_SCOPE_METRICS: Final = tag(metrics_pb2.ResourceMetrics, "scope_metrics", LENGTH_DELIMITED)
_METRICS: Final = tag(metrics_pb2.ScopeMetrics, "metrics", LENGTH_DELIMITED)
_GAUGE: Final = tag(metrics_pb2.Metric, "gauge", LENGTH_DELIMITED)
_SUM: Final = tag(metrics_pb2.Metric, "sum", LENGTH_DELIMITED)
_POINTS: Final = (
    tag(metrics_pb2.Gauge, "data_points", LENGTH_DELIMITED),
    tag(metrics_pb2.Sum, "data_points", LENGTH_DELIMITED),
)
"""The field of a gauge, and that of a sum."""
_START: Final = tag(metrics_pb2.NumberDataPoint, "start_time_unix_nano", FIXED64)
_TIME: Final = tag(metrics_pb2.NumberDataPoint, "time_unix_nano", FIXED64)
_INT: Final = tag(metrics_pb2.NumberDataPoint, "as_int", FIXED64)
_DOUBLE: Final = tag(metrics_pb2.NumberDataPoint, "as_double", FIXED64)
