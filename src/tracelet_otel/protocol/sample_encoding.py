"""Encodes samples as exemplars in OTLP's protobuf form. Pure.

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
    """Encodes the samples of one export. The bytes with which all samples of a moment begin are made once."""

    def __init__(self) -> None:
        self._prefixes: dict[tuple[int, int], bytes] = {}
        """By `id` of a moment, and number of bytes of the sequence that follows. Moments live longer than this object,
        so no other one gets the same `id`."""
        self._columns: dict[tuple[int, int], list[bytes]] = {}
        """The same for columns of moments, which the metrics of a row share."""

    def exemplars(self, samples: Samples) -> bytes:
        """Encode samples as the field `exemplars` of a point."""
        numbers = varints(samples.sequences)
        are_floats = set(map(type, samples.values)) == {float}
        written = zip(
            self._prefix_column(samples.moments, numbers),
            numbers,
            (
                map(tagged_double, repeat(_DOUBLE), samples.values)
                if are_floats
                else (number(value, _DOUBLE, _INT) for value in samples.values)
            ),
            strict=True,
        )
        return b"".join(chain.from_iterable(written))

    def _prefix_column(self, moments: Sequence[Moment], numbers: Sequence[bytes]) -> list[bytes]:
        widths = list(map(len, numbers))
        if len(set(widths)) != 1:
            return list(map(self._prefix, moments, widths))
        key = id(moments), widths[0]
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = list(map(self._prefix, moments, widths))
        return column

    def _prefix(self, moment: Moment, width: int) -> bytes:
        """An exemplar's bytes up to its sequence, which takes `width` bytes and is followed by the value."""
        key = id(moment), width
        prefix = self._prefixes.get(key)
        if prefix is None:
            step = varint(moment.step & 0xFFFF_FFFF_FFFF_FFFF)
            written = (
                tagged_unsigned(_TIME, moment.time_unix_nano)
                + _STEP[len(step)]
                + step
                + _attributes(moment._replace(time_unix_nano=0, step=0))
                + _SEQUENCE[width]
            )
            prefix = _EXEMPLARS + varint(len(written) + width + VALUE_BYTES) + written
            self._prefixes[key] = prefix
        return prefix


@lru_cache(64)
def _attributes(moment: Moment) -> bytes:
    """Encode the attributes that many moments have in common: all but the step."""
    common = ((key, value) for key, value in moment.attributes.items() if key != semconv.STEP)
    written: bytes = Exemplar(filtered_attributes=key_values(common)).SerializeToString()
    return written


def key_values(pairs: Iterable[tuple[str, str | int]]) -> list[KeyValue]:
    """Make messages of attributes that are text or integers."""
    return [
        KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))
        for key, value in pairs
    ]


def _integer(key: str) -> tuple[bytes, ...]:
    """Bytes of an integer attribute up to its value; the index is the number of bytes of the value."""
    name = tag(KeyValue, "key", LENGTH_DELIMITED) + varint(len(key.encode())) + key.encode()
    prefixes = []
    for width in range(WIDEST + 1):
        value = tag(AnyValue, "int_value", VARINT)
        pair = name + tag(KeyValue, "value", LENGTH_DELIMITED) + varint(len(value) + width) + value
        prefixes.append(tag(Exemplar, "filtered_attributes", LENGTH_DELIMITED) + varint(len(pair) + width) + pair)
    return tuple(prefixes)


_EXEMPLARS: Final = tag(NumberDataPoint, "exemplars", LENGTH_DELIMITED)
_TIME: Final = tag(Exemplar, "time_unix_nano", FIXED64)
_DOUBLE: Final = tag(Exemplar, "as_double", FIXED64)
_INT: Final = tag(Exemplar, "as_int", FIXED64)
_STEP: Final = _integer(semconv.STEP)
_SEQUENCE: Final = _integer(semconv.SEQUENCE)
