"""Samples in OTLP's protobuf form, as exemplars. Pure.

Source of the form: opentelemetry-proto, `metrics.proto` and `common.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, NumberDataPoint

from tracelet_otel import semconv
from tracelet_otel.protocol.samples import Moment, Samples
from tracelet_otel.protocol.wire import (
    FIXED64,
    LENGTH_DELIMITED,
    VALUE_BYTES,
    VARINT,
    WIDEST,
    number,
    tag,
    tagged_double,
    tagged_unsigned,
    varint,
    varints,
)


class SampleEncoder:
    """Writes the samples of one export: what those of a moment begin with is made once."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], bytes] = {}
        """Of a moment, by its identity and the bytes of the sequence that follows; moments outlive this."""
        self._columns: dict[tuple[int, int], list[bytes]] = {}
        """The same of columns of moments, which the metrics of a row share."""

    def exemplars(self, samples: Samples) -> bytes:
        """The field `exemplars` of a point."""
        numbers = varints(samples.sequences)
        are_floats = set(map(type, samples.values)) == {float}
        written = zip(
            self._beginnings(samples.moments, numbers),
            numbers,
            (
                map(tagged_double, repeat(_DOUBLE), samples.values)
                if are_floats
                else (number(value, _DOUBLE, _INT) for value in samples.values)
            ),
            strict=True,
        )
        return b"".join(chain.from_iterable(written))

    def _beginnings(self, moments: Sequence[Moment], numbers: Sequence[bytes]) -> list[bytes]:
        widths = list(map(len, numbers))
        if len(set(widths)) != 1:
            return list(map(self._beginning, moments, widths))
        key = id(moments), widths[0]
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = list(map(self._beginning, moments, widths))
        return column

    def _beginning(self, moment: Moment, width: int) -> bytes:
        """An exemplar up to its sequence, which takes so many bytes and is followed by the value."""
        key = id(moment), width
        begun = self._begun.get(key)
        if begun is None:
            step = varint(moment.step & 0xFFFF_FFFF_FFFF_FFFF)
            written = (
                tagged_unsigned(_TIME, moment.time_unix_nano)
                + _STEP[len(step)]
                + step
                + _attributes(moment._replace(time_unix_nano=0, step=0))
                + _SEQUENCE[width]
            )
            begun = _EXEMPLARS + varint(len(written) + width + VALUE_BYTES) + written
            self._begun[key] = begun
        return begun


@lru_cache(64)
def _attributes(moment: Moment) -> bytes:
    """Those that many moments have in common: all but the step."""
    common = ((key, value) for key, value in moment.attributes.items() if key != semconv.STEP)
    written: bytes = Exemplar(filtered_attributes=key_values(common)).SerializeToString()
    return written


def key_values(pairs: Iterable[tuple[str, str | int]]) -> list[KeyValue]:
    """Attributes that are text or integers."""
    return [
        KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))
        for key, value in pairs
    ]


def _integer(key: str) -> tuple[bytes, ...]:
    """An attribute up to its value, an integer, by the number of bytes that this takes."""
    name = tag(KeyValue, "key", LENGTH_DELIMITED) + varint(len(key.encode())) + key.encode()
    begun = []
    for width in range(WIDEST + 1):
        value = tag(AnyValue, "int_value", VARINT)
        pair = name + tag(KeyValue, "value", LENGTH_DELIMITED) + varint(len(value) + width) + value
        begun.append(tag(Exemplar, "filtered_attributes", LENGTH_DELIMITED) + varint(len(pair) + width) + pair)
    return tuple(begun)


_EXEMPLARS: Final = tag(NumberDataPoint, "exemplars", LENGTH_DELIMITED)
_TIME: Final = tag(Exemplar, "time_unix_nano", FIXED64)
_DOUBLE: Final = tag(Exemplar, "as_double", FIXED64)
_INT: Final = tag(Exemplar, "as_int", FIXED64)
_STEP: Final = _integer(semconv.STEP)
_SEQUENCE: Final = _integer(semconv.SEQUENCE)
