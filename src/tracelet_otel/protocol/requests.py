"""OTLP requests: read, divided by run, and split where they are too large. Pure.

Source: opentelemetry-proto, `ExportMetricsServiceRequest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracelet_otel import semconv

_INTEGERS = 2**63
_TEXTS: Final = (
    semconv.METRIC_NAME,
    semconv.NONFINITE_KIND,
    semconv.STAGE,
    semconv.REDUCTION,
    semconv.HPARAM_NAME,
    semconv.HPARAM_VALUE,
    semconv.HPARAM_TYPE,
    semconv.OUTCOME,
)
"""Attributes of points that have to be text where they are there."""


class MalformedError(ValueError):
    """A body is no OTLP metrics request, or not one that a run can be read from."""


def parse(body: bytes) -> ExportMetricsServiceRequest:
    """A request from its protobuf form.

    Raises:
        MalformedError: the body is none.
    """
    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedError(f"no OTLP metrics request: {error}") from None
    return request


def by_run(request: ExportMetricsServiceRequest) -> dict[str, ExportMetricsServiceRequest]:
    """The parts of a request by the run that they belong to; what names no run is left out."""
    parts: dict[str, ExportMetricsServiceRequest] = {}
    for resource_metrics in request.resource_metrics:
        run_id = _attributes(resource_metrics.resource.attributes).get(semconv.RUN_ID)
        if isinstance(run_id, str) and run_id:
            parts.setdefault(run_id, ExportMetricsServiceRequest()).resource_metrics.append(resource_metrics)
    return parts


def resource_of(part: ExportMetricsServiceRequest) -> dict[str, Any]:
    """Resource attributes of the first process in a part that has at least one."""
    return _attributes(part.resource_metrics[0].resource.attributes)


def metrics_data(request: ExportMetricsServiceRequest) -> MetricsData:
    """A request in the terms of the SDK; only gauges and sums, which are all that we emit.

    Raises:
        MalformedError: a sample lacks something, or has it in another form.
    """
    return MetricsData(
        [
            ResourceMetrics(
                Resource(_attributes(resource_metrics.resource.attributes)),
                [_scope_metrics(scope) for scope in resource_metrics.scope_metrics if _is_ours(scope)],
                resource_metrics.schema_url,
            )
            for resource_metrics in request.resource_metrics
        ]
    )


def split(request: ExportMetricsServiceRequest, limit_bytes: int) -> Iterator[ExportMetricsServiceRequest]:
    """Requests that together say the same, each below a size as far as it can be divided.

    That the run has ended is in the last one.
    """
    if request.ByteSize() > limit_bytes:
        _move_end_to_end(request)
    yield from _halves(request, limit_bytes)


def count_samples(request: ExportMetricsServiceRequest) -> int:
    """How many samples a request has."""
    return sum(
        len(point.exemplars)
        for resource_metrics in request.resource_metrics
        for scope in resource_metrics.scope_metrics
        for metric in scope.metrics
        for point in _points_of_any_kind(metric)
    )


def count_points(request: ExportMetricsServiceRequest) -> int:
    """How many data points a request has, of what we read."""
    return sum(1 for _ in _all_points(request))


def earliest_unix_nano(request: ExportMetricsServiceRequest) -> int | None:
    """The first time that a request has of anything, in nanoseconds since the epoch; None where it has no points."""
    times = (
        time_unix_nano
        for point in _all_points(request)
        for time_unix_nano in (point.time_unix_nano, *(exemplar.time_unix_nano for exemplar in point.exemplars))
    )
    return min(filter(None, times), default=None)


def _all_points(request: ExportMetricsServiceRequest) -> Iterator[metrics_pb2.NumberDataPoint]:
    for resource_metrics in request.resource_metrics:
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                yield from _points(metric)


def _move_end_to_end(request: ExportMetricsServiceRequest) -> None:
    # Whoever reads that a run has ended closes it.
    for resource_metrics in request.resource_metrics:
        resource_metrics.scope_metrics.sort(key=lambda scope: scope.scope.name == semconv.SCOPE_RUN)
        for scope in resource_metrics.scope_metrics:
            scope.metrics.sort(key=lambda metric: metric.name in (semconv.RUN_ENDED, semconv.RANK_ENDED))


def _halves(request: ExportMetricsServiceRequest, limit_bytes: int) -> Iterator[ExportMetricsServiceRequest]:
    other = ExportMetricsServiceRequest()
    if request.ByteSize() > limit_bytes and _move_half(request, other):
        yield from _halves(request, limit_bytes)
        yield from _halves(other, limit_bytes)
    else:
        yield request


def _move_half(request: ExportMetricsServiceRequest, other: ExportMetricsServiceRequest) -> bool:
    """Move half of the outermost list that has several items; returns whether there is one."""
    here, there = request, other
    for depth, items_of in enumerate(_LEVELS):
        items, others = items_of(here), items_of(there)
        if len(items) > 1:
            half = len(items) // 2
            others.extend(items[half:])
            del items[half:]
            return True
        if not items:
            return False
        # Both halves are in the same resource, scope, metric and point.
        shell = others.add()
        shell.CopyFrom(items[0])
        here, there = items[0], shell
        if depth + 1 < len(_LEVELS):
            del _LEVELS[depth + 1](shell)[:]
    return False


def _points(metric: metrics_pb2.Metric) -> Any:
    return _points_of_any_kind(metric) if metric.WhichOneof("data") in ("gauge", "sum") else []


def _points_of_any_kind(metric: metrics_pb2.Metric) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind is not None else []


_LEVELS: Final[tuple[Callable[[Any], Any], ...]] = (
    lambda request: request.resource_metrics,
    lambda resource_metrics: resource_metrics.scope_metrics,
    lambda scope: scope.metrics,
    _points_of_any_kind,
    # A summary's points have none.
    lambda point: getattr(point, "exemplars", ()),
)


def _is_ours(scope: metrics_pb2.ScopeMetrics) -> bool:
    return scope.scope.name in (semconv.SCOPE_LOGGED, semconv.SCOPE_RUN, semconv.SCOPE_SYSTEM)


def _scope_metrics(scope: metrics_pb2.ScopeMetrics) -> ScopeMetrics:
    metrics = [
        Metric(
            metric.name, metric.description, metric.unit, _data(metric, [_point(point) for point in _points(metric)])
        )
        for metric in scope.metrics
    ]
    return ScopeMetrics(InstrumentationScope(scope.scope.name), metrics, scope.schema_url)


def _data(metric: metrics_pb2.Metric, points: list[NumberDataPoint]) -> Gauge | Sum:
    if metric.HasField("gauge"):
        return Gauge(points)
    return Sum(points, AggregationTemporality.CUMULATIVE, metric.sum.is_monotonic)


def _point(point: metrics_pb2.NumberDataPoint) -> NumberDataPoint:
    attributes = _attributes(point.attributes)
    for name in _TEXTS:
        if not isinstance(attributes.get(name, ""), str):
            raise MalformedError(f"{name} is no text")
    return NumberDataPoint(
        attributes,
        point.start_time_unix_nano,
        point.time_unix_nano,
        _number(point),
        [_exemplar(exemplar) for exemplar in point.exemplars],
    )


def _exemplar(exemplar: metrics_pb2.Exemplar) -> Exemplar:
    attributes = _attributes(exemplar.filtered_attributes)
    if semconv.STEP in attributes:
        numbers = [attributes[semconv.STEP], attributes.get(semconv.SEQUENCE)]
        numbers += [attributes.get(name, 0) for name in (semconv.EPOCH, semconv.TRAINING, semconv.WORLD_SIZE)]
        if not all(type(number) is int for number in numbers) or not isinstance(attributes.get(semconv.AXIS), str):
            raise MalformedError(
                "a sample's step, sequence, epoch, axis, training or world size is missing or of another type"
            )
        if exemplar.time_unix_nano >= _INTEGERS:
            raise MalformedError("a sample's time is beyond 64 bits")
    return Exemplar(attributes, _number(exemplar), exemplar.time_unix_nano)


def _number(holder: metrics_pb2.NumberDataPoint | metrics_pb2.Exemplar) -> float:
    return holder.as_int if holder.WhichOneof("value") == "as_int" else holder.as_double


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind in (None, "kvlist_value"):
        # Resources of the SDK hold neither.
        return str(value)
    return getattr(value, kind)
