"""Parses OTLP requests, divides them by run, and splits those that are too large. Pure.

Source: opentelemetry-proto, `ExportMetricsServiceRequest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tracelet_otel import semconv

_RESOURCES: Final = 8192
"""Resources that are remembered, so that each of so many processes has its own read once."""


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


def by_run(request: ExportMetricsServiceRequest) -> dict[str, list[metrics_pb2.ResourceMetrics]]:
    """Divide a request by run. Resources without a run id are left out.

    So are those of relays: a collector may send us our own metrics, and a relay is no process of a run.

    Returns:
        For each run id, what the processes of that run have sent.
    """
    parts: dict[str, list[metrics_pb2.ResourceMetrics]] = {}
    for one in request.resource_metrics:
        resource = resource_of(one)
        run_id = resource.get(semconv.RUN_ID)
        if isinstance(run_id, str) and run_id and resource.get(semconv.SERVICE_NAME) != semconv.RELAY_SERVICE:
            parts.setdefault(run_id, []).append(one)
    return parts


def resource_of(one: metrics_pb2.ResourceMetrics) -> Mapping[str, Any]:
    """Resource attributes of a process."""
    return _resource(one.resource.SerializeToString())


@lru_cache(_RESOURCES)
def _resource(content: bytes) -> Mapping[str, Any]:
    return attributes(Resource.FromString(content).attributes)


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
    """How many samples a request has: exemplars of gauges and sums."""
    return sum(
        len(point.exemplars)
        for resource_metrics in request.resource_metrics
        for scope in resource_metrics.scope_metrics
        for metric in scope.metrics
        for point in points(metric)
    )


def count_points(part: Iterable[metrics_pb2.ResourceMetrics]) -> int:
    """How many data points the gauges and sums of a part of a request have."""
    return sum(1 for _ in _all_points(part))


def earliest_unix_nano(part: Iterable[metrics_pb2.ResourceMetrics]) -> int | None:
    """The earliest time of a point or sample, in nanoseconds since the epoch; None where there is none."""
    times = (
        time_unix_nano
        for point in _all_points(part)
        for time_unix_nano in (point.time_unix_nano, *(exemplar.time_unix_nano for exemplar in point.exemplars))
    )
    return min(filter(None, times), default=None)


def _all_points(part: Iterable[metrics_pb2.ResourceMetrics]) -> Iterator[metrics_pb2.NumberDataPoint]:
    for one in part:
        for scope in one.scope_metrics:
            for metric in scope.metrics:
                yield from points(metric)


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


def protobuf_size(content: bytes, *, is_gzip: bool) -> int:
    """Size of a request when it is not compressed, in bytes, as its sender says.

    Args:
        content: the request.
        is_gzip: whether it is compressed.
    """
    # Source: RFC 1952: the last four bytes of a gzip member are the size of what it holds.
    return int.from_bytes(content[-4:], "little") if is_gzip else len(content)


def points(metric: metrics_pb2.Metric) -> Sequence[metrics_pb2.NumberDataPoint]:
    """The data points of a gauge or sum; none of another kind of metric, which we do not emit."""
    found: Sequence[metrics_pb2.NumberDataPoint] = []
    if metric.HasField("gauge"):
        found = metric.gauge.data_points
    elif metric.HasField("sum"):
        found = metric.sum.data_points
    return found


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


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes in the form in which the SDK has them."""
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
