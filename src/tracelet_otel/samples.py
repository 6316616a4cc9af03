"""Lossless samples: a gauge that also keeps each measurement that carries a step.

An OpenTelemetry gauge remembers its last value only, so what is logged between two collections is
lost. The data model has a place for raw measurements beside the aggregated point: exemplars. The
aggregations below keep *every* measurement whose Context carries a `Sample` as an exemplar, and
hand each of them out once. Measurements without a sample are treated as the SDK always does.

An exporter asks for these aggregations through `preferred_aggregation`, so they work under
anybody's SDK configuration. This is the only module that touches SDK internals.

Source of the terms: OpenTelemetry metrics data model, section "Exemplars".
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context, create_key
from opentelemetry.metrics import Synchronous
from opentelemetry.sdk.metrics import Counter, Exemplar, ObservableGauge, _Gauge
from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation, _LastValueAggregation, _SumAggregation
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import Aggregation, LastValueAggregation, SumAggregation

from tracelet_otel import semconv

_SAMPLE_KEY: Final = create_key("tracelet-sample")


class Sample(NamedTuple):
    """Where a measurement belongs in the training; travels in the measurement's Context."""

    time_unix_nano: int
    """Time of logging, in nanoseconds since the epoch."""
    step: int
    """Position on `axis`."""
    axis: str
    """What `step` counts: one of `semconv.AXIS_*`."""
    sequence: int
    """Number of the sample in its process, from 1 without gaps: with it, a duplicate is known."""
    epoch: int | None = None
    training: int | None = None
    """Number of the training in its process, where several processes train together."""
    world_size: int | None = None
    """How many they are."""


def sample_context(sample: Sample) -> Context:
    """A Context that makes the next measurement a sample."""
    return Context({_SAMPLE_KEY: sample})


class _Samples:
    """Samples of one time series, emptied at each collection, void in a forked child.

    A child gets a copy of what its parent has not exported yet; exporting it there would deliver
    every such sample twice.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._kept: deque[tuple[Sample, float]] = deque()

    def keep(self, sample: Sample, value: float) -> None:
        self._kept.append((sample, value))

    def take(self) -> list[Exemplar]:
        kept = [self._kept.popleft() for _ in range(len(self._kept))]
        if os.getpid() != self._pid:
            return []
        return [_exemplar(sample, value) for sample, value in kept]


def _exemplar(sample: Sample, value: float) -> Exemplar:
    attributes: dict[str, str | int] = {
        semconv.STEP: sample.step,
        semconv.AXIS: sample.axis,
        semconv.SEQUENCE: sample.sequence,
    }
    optional = {
        semconv.EPOCH: sample.epoch,
        semconv.TRAINING: sample.training,
        semconv.WORLD_SIZE: sample.world_size,
    }
    attributes.update((name, number) for name, number in optional.items() if number is not None)
    return Exemplar(attributes, value, sample.time_unix_nano)


class _SampleKeeper(_Aggregation[Any]):
    """Mixed into an aggregation of the SDK, keeps the samples beside its value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._samples = _Samples()

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:
        sample = measurement.context.get(_SAMPLE_KEY)
        if isinstance(sample, Sample):
            # Kept before the value is set: a point without a new value may not be collected, and
            # a sample that came after it would then wait for a measurement that never comes.
            self._samples.keep(sample, measurement.value)
            should_sample_exemplar = False
        super().aggregate(measurement, should_sample_exemplar)  # type: ignore[safe-super]  # mixed in before one

    def _collect_exemplars(self) -> Sequence[Exemplar]:
        return [*super()._collect_exemplars(), *self._samples.take()]


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


def preferred_aggregation() -> dict[type, Aggregation]:
    """What an exporter that wants every sample passes to `MetricExporter.__init__`."""
    return {_Gauge: SampledLastValueAggregation(), Counter: SampledSumAggregation()}


def preferred_temporality() -> dict[type, AggregationTemporality]:
    """Cumulative, so that a database sees the last value at every collection."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), AggregationTemporality.CUMULATIVE)


def cardinality_limits() -> dict[Any, int]:
    """Limits for a reader of our own; the SDK's 2,000 would swallow the rest silently."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), 1000000)
