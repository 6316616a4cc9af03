"""Lossless samples: a gauge that also keeps each measurement that carries a step.

An OpenTelemetry gauge remembers its last value only, so what is logged between two collections is
lost. The data model has a place for raw measurements beside the aggregated point: exemplars. A
measurement of ours stands for all that one time series got since the last one, and its Context
carries them as `Sample`s. The aggregations below keep *each* of these as an exemplar, and hand each
of them out once. Measurements without samples are treated as the SDK always does.

An exporter asks for these aggregations through `preferred_aggregation`, so they work under
anybody's SDK configuration. This is the only module that touches SDK internals.

Source of the terms: OpenTelemetry metrics data model, section "Exemplars".
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, overload

from opentelemetry.context import Context, create_key
from opentelemetry.metrics import Synchronous
from opentelemetry.sdk.metrics import Counter, Exemplar, ObservableGauge, _Gauge
from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation, _LastValueAggregation, _SumAggregation
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import Aggregation, LastValueAggregation, SumAggregation

from tracelet_otel import semconv

_SAMPLES_KEY: Final = create_key("tracelet-samples")


class Moment(NamedTuple):
    """Where what was logged together belongs in the training."""

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
    """How many they are."""

    @property
    def attributes(self) -> dict[str, str | int]:
        """What an exemplar tells of it beside the time, in the order in which it is told."""
        found: dict[str, str | int | None] = {
            semconv.STEP: self.step,
            semconv.AXIS: self.axis,
            semconv.EPOCH: self.epoch,
            semconv.TRAINING: self.training,
            semconv.WORLD_SIZE: self.world_size,
        }
        return {name: value for name, value in found.items() if value is not None}


Sample: TypeAlias = tuple[Moment, int, float]
"""One value that was logged: when and where; its number in its process, from 1 without gaps, with which a duplicate is
known; and the value as an exemplar has it, 1 for one that is counted. A tuple, since there are many."""


class SampleExemplars(Sequence[Exemplar]):
    """Samples of a point as the SDK's exporters read them: each exemplar is made when it is asked for.

    There are many, and an exporter of ours reads the samples themselves.
    """

    __slots__ = ("samples",)

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Exemplar]:
        return map(_exemplar, self.samples)

    @overload
    def __getitem__(self, place: int) -> Exemplar: ...
    @overload
    def __getitem__(self, place: slice) -> SampleExemplars: ...
    def __getitem__(self, place: int | slice) -> Exemplar | SampleExemplars:
        if isinstance(place, slice):
            return SampleExemplars(self.samples[place])
        return _exemplar(self.samples[place])


def _exemplar(sample: Sample) -> Exemplar:
    moment, sequence, value = sample
    return Exemplar({**moment.attributes, semconv.SEQUENCE: sequence}, value, moment.time_unix_nano)


def samples_context(samples: Sequence[Sample]) -> Context:
    """A Context that makes the next measurement stand for samples of its time series."""
    return Context({_SAMPLES_KEY: samples})


class _Samples:
    """Samples of one time series, emptied at each collection, void in a forked child.

    A child gets a copy of what its parent has not exported yet; exporting it there would deliver
    every such sample twice.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._kept: deque[Sample] = deque()

    def keep(self, samples: Iterable[Sample]) -> None:
        self._kept.extend(samples)

    def take(self) -> list[Sample]:
        kept = [self._kept.popleft() for _ in range(len(self._kept))]
        return kept if os.getpid() == self._pid else []


class _SampleKeeper(_Aggregation[Any]):
    """Mixed into an aggregation of the SDK, keeps the samples beside its value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._samples = _Samples()

    def aggregate(self, measurement: Measurement, should_sample_exemplar: bool = True) -> None:
        samples: Sequence[Sample] | None = measurement.context.get(_SAMPLES_KEY)  # type: ignore[assignment]
        if samples is not None:
            # Kept before the value is set: a point without a new value may not be collected, and
            # a sample that came after it would then wait for a measurement that never comes.
            self._samples.keep(samples)
            should_sample_exemplar = False
        super().aggregate(measurement, should_sample_exemplar)  # type: ignore[safe-super]  # mixed in before one

    def _collect_exemplars(self) -> Sequence[Exemplar]:
        chosen = super()._collect_exemplars()
        samples = SampleExemplars(self._samples.take())
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


def preferred_aggregation() -> dict[type, Aggregation]:
    """What an exporter that wants every sample passes to `MetricExporter.__init__`."""
    return {_Gauge: SampledLastValueAggregation(), Counter: SampledSumAggregation()}


def preferred_temporality() -> dict[type, AggregationTemporality]:
    """Cumulative, so that a database sees the last value at every collection."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), AggregationTemporality.CUMULATIVE)


def cardinality_limits() -> dict[Any, int]:
    """Limits for a reader of our own; the SDK's 2,000 would swallow the rest silently."""
    return dict.fromkeys((_Gauge, Counter, ObservableGauge), 1000000)
