"""Parses OTLP requests, divides them by run, and splits those that are too large. Pure.

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
"""A time has to be below this, to fit a signed integer of 64 bits."""
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
"""Attributes of data points that have to be strings if they are present."""


class MalformedError(ValueError):
    """A body is no OTLP metrics request, or has content that is not in the form of this package."""


def parse(body: bytes) -> ExportMetricsServiceRequest:
    """Parse a request from its protobuf form.

    Raises:
        MalformedError: the body is no OTLP metrics request.
    """
    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise MalformedError(f"no OTLP metrics request: {error}") from None
    return request


def by_run(request: ExportMetricsServiceRequest) -> dict[str, ExportMetricsServiceRequest]:
    """Divide a request by run; resources without a run id are left out.

    Returns:
        For each run id, a request with the resources of that run.
    """
    parts: dict[str, ExportMetricsServiceRequest] = {}
    for resource_metrics in request.resource_metrics:
        run_id = _attributes(resource_metrics.resource.attributes).get(semconv.RUN_ID)
        if isinstance(run_id, str) and run_id:
            parts.setdefault(run_id, ExportMetricsServiceRequest()).resource_metrics.append(resource_metrics)
    return parts


def resource_of(part: ExportMetricsServiceRequest) -> dict[str, Any]:
    """Resource attributes of the first process in a request; there has to be one."""
    return _attributes(part.resource_metrics[0].resource.attributes)


def metrics_data(request: ExportMetricsServiceRequest) -> MetricsData:
    """Convert a request to the types of the SDK.

    Scopes of other packages are left out. Gauges and sums are converted, which are all that we emit.

    Raises:
        MalformedError: an attribute of a point or of a sample is missing or of another type, or a time is too large.
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
    """Split a request into several with the same content, none larger than a limit.

    The metrics that report the end of a run or rank are in the last one.

    Args:
        request: is changed, and becomes the first of them.
        limit_bytes: largest size of each; what cannot be divided, as a single sample, may be larger.
    """
    if request.ByteSize() > limit_bytes:
        _move_end_to_end(request)
    yield from _halves(request, limit_bytes)


def count_samples(request: ExportMetricsServiceRequest) -> int:
    """How many samples (exemplars) a request has, in metrics of every kind."""
    return sum(
        len(point.exemplars)
        for resource_metrics in request.resource_metrics
        for scope in resource_metrics.scope_metrics
        for metric in scope.metrics
        for point in _points_of_any_kind(metric)
    )


def count_points(request: ExportMetricsServiceRequest) -> int:
    """How many data points the gauges and sums of a request have."""
    return sum(1 for _ in _all_points(request))


def earliest_unix_nano(request: ExportMetricsServiceRequest) -> int | None:
    """The earliest time of a point or sample, in nanoseconds since the epoch; None where there is none."""
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
    # A relay closes the run when it reads that the run has ended, so nothing may come after that.
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
        # Only one item here: the other half gets a copy of it without its content, and the next level is divided.
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
"""The nested lists of a request, from the outermost in: each function gets an item of the list before."""


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
        # The SDK's resources have neither of the two kinds.
        return str(value)
    return getattr(value, kind)
