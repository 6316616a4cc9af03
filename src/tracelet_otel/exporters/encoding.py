"""Exports in OTLP's protobuf form. Pure.

The stock encoder makes a message object of each attribute of each exemplar, which costs more than all else that we do
with a value. Here exemplars that are samples are written as bytes and read by protobuf's own parser; everything
else is the stock encoder's.

Source of the form: opentelemetry-proto, `metrics.proto` and `common.proto`; protobuf, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, NumberDataPoint
from opentelemetry.sdk.metrics.export import Metric, MetricsData

from tracelet_otel import semconv
from tracelet_otel.samples import Moment, Sample, SampleExemplars


def encode(data: MetricsData) -> ExportMetricsServiceRequest:
    """What the stock encoder makes of an export."""
    request = encode_metrics(_without_samples(data))
    encoded_points = [point for metric in _metrics(request.resource_metrics) for point in _points(metric)]
    points = [point for metric in _metrics(data.resource_metrics) for point in metric.data.data_points]
    if len(encoded_points) != len(points):
        # The stock encoder leaves out what it does not know, and takes equal resources for one.
        return encode_metrics(data)
    begun: dict[int, dict[int, bytes]] = {}
    for encoded, point in zip(encoded_points, points, strict=True):
        if point.exemplars and isinstance(point.exemplars, SampleExemplars):
            encoded.MergeFromString(_exemplars(point.exemplars.samples, begun))
    return request


def _without_samples(data: MetricsData) -> MetricsData:
    return MetricsData(
        [
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[_bare(metric) for metric in scope.metrics])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in data.resource_metrics
        ]
    )


def _bare(metric: Metric) -> Metric:
    points: list[Any] = [
        replace(point, exemplars=()) if isinstance(point.exemplars, SampleExemplars) else point
        for point in metric.data.data_points
    ]
    return replace(metric, data=replace(metric.data, data_points=points))  # type: ignore[arg-type]


def _metrics(resources: Iterable[Any]) -> Iterator[Any]:
    for resource in resources:
        for scope in resource.scope_metrics:
            yield from scope.metrics


def _points(metric: Any) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _exemplars(samples: Iterable[Sample], begun: dict[int, dict[int, bytes]]) -> bytes:
    """The field `exemplars` of a point.

    Args:
        samples: of the point.
        begun: what samples of a moment begin with, by its identity and the width of the sequence; moments outlive this.
    """
    written: list[bytes] = []
    for moment, sequence, value in samples:
        number = _varint(sequence)
        by_width = begun.get(id(moment))
        if by_width is None:
            by_width = begun[id(moment)] = {}
        beginning = by_width.get(len(number))
        if beginning is None:
            beginning = by_width[len(number)] = _beginning(moment, len(number))
        written += (beginning, number, _double(_DOUBLE, value) if isinstance(value, float) else _int(_INT, value))
    return b"".join(written)


def _beginning(moment: Moment, width: int) -> bytes:
    """An exemplar up to its sequence, which takes so many bytes and is followed by the value."""
    step = _varint(moment.step & 0xFFFF_FFFF_FFFF_FFFF)
    written = (
        _time(_TIME, moment.time_unix_nano)
        + _STEP[len(step)]
        + step
        + _attributes(moment._replace(time_unix_nano=0, step=0))
        + _SEQUENCE[width]
    )
    return _EXEMPLARS + _varint(len(written) + width + _VALUE_BYTES) + written


@lru_cache(64)
def _attributes(moment: Moment) -> bytes:
    """Those that many moments have in common: all but the step."""
    pairs = [
        KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))
        for key, value in moment.attributes.items()
        if key != semconv.STEP
    ]
    written: bytes = Exemplar(filtered_attributes=pairs).SerializeToString()
    return written


_LOW: Final = 0x7F
_MORE: Final = 0x80
"""The bit of a byte that another one follows."""


def _varint(number: int) -> bytes:
    # Most take three bytes at most.
    if number < 1 << 14:
        return bytes((number,)) if number < _MORE else bytes((number & _LOW | _MORE, number >> 7))
    if number < 1 << 21:
        return bytes((number & _LOW | _MORE, number >> 7 & _LOW | _MORE, number >> 14))
    written = bytearray()
    while number >= _MORE:
        written.append(number & _LOW | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


def _tag(message: Any, field: str, wire_type: int) -> bytes:
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


def _integer(key: str) -> tuple[bytes, ...]:
    """An attribute up to its value, an integer, by the number of bytes that this takes."""
    name = _tag(KeyValue, "key", _LENGTH_DELIMITED) + _varint(len(key.encode())) + key.encode()
    begun = []
    for width in range(_WIDEST + 1):
        value = _tag(AnyValue, "int_value", _VARINT)
        pair = name + _tag(KeyValue, "value", _LENGTH_DELIMITED) + _varint(len(value) + width) + value
        begun.append(_tag(Exemplar, "filtered_attributes", _LENGTH_DELIMITED) + _varint(len(pair) + width) + pair)
    return tuple(begun)


_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_WIDEST: Final = 10
_EXEMPLARS: Final = _tag(NumberDataPoint, "exemplars", _LENGTH_DELIMITED)
_TIME: Final = _tag(Exemplar, "time_unix_nano", _FIXED64)
_DOUBLE: Final = _tag(Exemplar, "as_double", _FIXED64)
_INT: Final = _tag(Exemplar, "as_int", _FIXED64)
_double: Final = struct.Struct("<cd").pack
_int: Final = struct.Struct("<cq").pack
_time: Final = struct.Struct("<cQ").pack
_STEP: Final = _integer(semconv.STEP)
_SEQUENCE: Final = _integer(semconv.SEQUENCE)
_VALUE_BYTES: Final = 9
"""Of a value with its tag."""
