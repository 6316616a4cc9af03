"""Lossless samples: a gauge that also keeps each measurement that carries a step.

An OpenTelemetry gauge remembers its last value only, so what is logged between two collections is
lost. The data model has a place for raw measurements beside the aggregated point: exemplars. One
measurement of ours stands for all values that a time series got since the last one, and its Context
carries them as `Samples`. The aggregations below keep *each* of these as an exemplar, and export each
of them once. Measurements without samples are treated as the SDK always does.

An exporter asks for these aggregations through `preferred_aggregation`, so they work under
anybody's SDK configuration. This is the only module that touches SDK internals.

Source of the terms: OpenTelemetry metrics data model, section "Exemplars".
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, overload

from opentelemetry.context import Context, create_key
from opentelemetry.metrics import MeterProvider, Synchronous
from opentelemetry.sdk.metrics import Counter, Exemplar, ObservableGauge
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import Aggregation, LastValueAggregation, SumAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import TracerProvider

from tracelet_otel import semconv
from tracelet_otel._support.private_names import OPENTELEMETRY_SDK, check_package

try:
    from opentelemetry.sdk.metrics import _Gauge
    from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation, _LastValueAggregation, _SumAggregation
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
except ImportError:
    check_package(OPENTELEMETRY_SDK, "opentelemetry.sdk")  # says what is missing, and which versions have it
    raise

_SAMPLES_KEY: Final = create_key("tracelet-samples")


class Moment(NamedTuple):
    """When and at which step of the training a row was logged."""

    time_unix_nano: int
    """Time of logging, in nanoseconds since the epoch."""
    step: int
    """Position on `axis`."""
    axis: str
    """What `step` counts: one of `semconv.AXIS_*`."""
    epoch: int | None = None
    training: int | None = None
    """Number of the training in its process, where several processes train together."""
    world_size: int | None = None
    """How many processes train together."""

    @property
    def attributes(self) -> dict[str, str | int]:
        """Attributes of an exemplar, in the order in which they are encoded; the time is none of them."""
        found: dict[str, str | int | None] = {
            semconv.STEP: self.step,
            semconv.AXIS: self.axis,
            semconv.EPOCH: self.epoch,
            semconv.TRAINING: self.training,
            semconv.WORLD_SIZE: self.world_size,
        }
        return {name: value for name, value in found.items() if value is not None}


class Samples(Sequence[Exemplar]):
    """Samples of one time series, in the order in which they were logged: three columns of equal length.

    The SDK's exporters read it as a sequence of exemplars, each of which is made when it is read. There are many, so
    our own code reads the columns.

    Args:
        moments: when and at which step each was logged. Series that were logged together may share the list.
        sequences: numbers of the samples in their process, from 1 without gaps, by which duplicates are recognized.
        values: values of the exemplars; 1 for a value that a counter counts.
    """

    __slots__ = ("moments", "sequences", "values")

    def __init__(self, moments: Sequence[Moment], sequences: Sequence[int], values: Sequence[float]) -> None:
        self.moments = moments
        self.sequences = sequences
        self.values = values

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Concatenate several."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            [moment for part in parts for moment in part.moments],
            [sequence for part in parts for sequence in part.sequences],
            [value for part in parts for value in part.values],
        )

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Exemplar]:
        return map(_exemplar, self.moments, self.sequences, self.values)

    @overload
    def __getitem__(self, place: int) -> Exemplar: ...
    @overload
    def __getitem__(self, place: slice) -> Samples: ...
    def __getitem__(self, place: int | slice) -> Exemplar | Samples:
        if isinstance(place, slice):
            return Samples(self.moments[place], self.sequences[place], self.values[place])
        return _exemplar(self.moments[place], self.sequences[place], self.values[place])


def _exemplar(moment: Moment, sequence: int, value: float) -> Exemplar:
    return Exemplar({**moment.attributes, semconv.SEQUENCE: sequence}, value, moment.time_unix_nano)


def samples_context(samples: Samples) -> Context:
    """A Context that hands samples of a time series to its aggregation, with one measurement."""
    return Context({_SAMPLES_KEY: samples})


class _Kept:
    """Samples of one time series until the next collection; none in a forked child.

    A child has a copy of what its parent has not exported yet. Exporting it there would deliver these samples twice.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._parts: deque[Samples] = deque()

    def keep(self, samples: Samples) -> None:
        self._parts.append(samples)

    def take(self) -> Samples:
        parts = [self._parts.popleft() for _ in range(len(self._parts))]
        return Samples.joined(parts if os.getpid() == self._pid else [])


class _SampleKeeper(_Aggregation[Any]):
    """A mixin for an aggregation of the SDK: keeps the samples beside its value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = _Kept()

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:
        samples: Samples | None = measurement.context.get(_SAMPLES_KEY)  # type: ignore[assignment]
        if samples is not None:
            # Kept before the value is set: a point without a new value may not be collected, and samples that
            # came after the value would then wait for a measurement that may never come.
            self._kept.keep(samples)
            should_sample_exemplar = False
        super().aggregate(measurement, should_sample_exemplar)  # type: ignore[safe-super]  # mixed in before one

    def _collect_exemplars(self) -> Sequence[Exemplar]:
        chosen = super()._collect_exemplars()
        samples = self._kept.take()
        return [*chosen, *samples] if chosen else samples


class _SampledLastValue(_SampleKeeper, _LastValueAggregation):
    pass


class _SampledSum(_SampleKeeper, _SumAggregation):
    pass


_ReservoirFactory = Callable[..., Any]


class SampledLastValueAggregation(LastValueAggregation):
    """Last value of a gauge, and every sample since the previous collection."""

    def _create_aggregation(
        self, instrument: Any, attributes: Any, reservoir_factory: _ReservoirFactory, start_time_unix_nano: int
    ) -> _SampledLastValue:
        return _SampledLastValue(
            attributes,
            reservoir_builder=reservoir_factory(_LastValueAggregation),
            instrument_is_synchronous=isinstance(instrument, Synchronous),
        )


class SampledSumAggregation(SumAggregation):
    """Sum of a counter, and every sample since the previous collection."""

    def _create_aggregation(
        self, instrument: Any, attributes: Any, reservoir_factory: _ReservoirFactory, start_time_unix_nano: int
    ) -> _SampledSum:
        return _SampledSum(
            attributes,
            instrument_is_monotonic=True,
            instrument_aggregation_temporality=AggregationTemporality.DELTA,
            start_time_unix_nano=start_time_unix_nano,
            reservoir_builder=reservoir_factory(_SumAggregation),
        )


def resource_attributes(meter_provider: MeterProvider) -> Mapping[str, Any]:
    """Attributes of a meter provider's resource; empty for a provider that is not the SDK's."""
    configured = getattr(meter_provider, "_sdk_config", None)
    return {} if configured is None else configured.resource.attributes


def complete_resource(meter_provider: MeterProvider, attributes: Mapping[str, Any]) -> None:
    """Add those attributes to a meter provider's resource that it lacks."""
    known = resource_attributes(meter_provider)
    if known and (missing := {name: value for name, value in attributes.items() if name not in known}):
        meter_provider._update_resource(Resource(missing))  # type: ignore[attr-defined]


def active_span_processor(tracer_provider: TracerProvider) -> SpanProcessor | None:
    """What passes spans that have ended to the exporters of a tracer provider; None for one that is not the SDK's."""
    return getattr(tracer_provider, "_active_span_processor", None)


def preferred_aggregation() -> dict[type, Aggregation]:
    """What an exporter that wants every sample passes to `MetricExporter.__init__`."""
    return {_Gauge: SampledLastValueAggregation(), Counter: SampledSumAggregation()}


def preferred_temporality() -> dict[type, AggregationTemporality]:
    """Cumulative, so that a database sees the last value at every collection."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), AggregationTemporality.CUMULATIVE)


def cardinality_limits() -> dict[Any, int]:
    """Limits on attribute sets for a reader of our own: what is beyond the SDK's 2,000 would be lost silently."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), 1000000)


class Reader(PeriodicExportingMetricReader):
    """A periodic reader that runs only in the process that made it.

    The SDK starts a reader's thread again in a forked child. Each worker of a DataLoader would then measure the host.

    Args:
        exporter: gets what is collected.
        interval_s: seconds between two collections; None for what the SDK's environment variable says.
        options: as the SDK's reader takes them.
    """

    def __init__(self, exporter: MetricExporter, interval_s: float | None = None, **options: Any) -> None:
        interval_ms = None if interval_s is None else interval_s * 1e3
        super().__init__(exporter, export_interval_millis=interval_ms, **options)

    def _at_fork_reinit(self) -> None:
        pass
