"""Translates OpenTelemetry's `MetricsData` into readings, hyperparameters and outcomes for trackers. Pure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import MetricsData, NumberDataPoint, ResourceMetrics

from tracelet_otel import semconv
from tracelet_otel.protocol.samples import Moment, Samples

_NONFINITE = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}


class Reading(NamedTuple):
    """One value of one metric at one step. A tuple, since there are many."""

    name: str
    """Name of the metric, exactly as logged."""
    value: float
    """May be NaN or infinite."""
    step: int
    """Position on `axis`."""
    time_unix_nano: int
    """Time of logging, in nanoseconds since the epoch."""
    axis: str
    """What `step` counts: one of `semconv.AXIS_*`."""
    sequence: int
    """Number of the sample in its process, from 1 without gaps; samples of one row follow each other."""
    stage: str = ""
    """`fit`, `validate`, `test`, or empty."""
    epoch: int | None = None
    reduction: str = semconv.REDUCTION_MEAN
    """How the values of ranks combine: one of `semconv.REDUCTION_*`."""
    training: int = 0
    """Number of the training in its process, where several processes train together."""
    world_size: int = 1
    """How many processes train together."""
    is_system: bool = False
    """Whether it was measured on GPU or host, and not logged by a training."""


class Param(NamedTuple):
    """A hyperparameter's value."""

    text: str
    type: str = ""
    """Type of the original value: one of `semconv.TYPE_*`, or empty for text and all else."""

    @property
    def value(self) -> bool | int | float | str | None:
        """The original value where it was a number, a bool or None; its text otherwise."""
        if self.type in (semconv.TYPE_BOOL, semconv.TYPE_NONE):
            return {"True": True, "False": False, "None": None}.get(self.text, self.text)
        with contextlib.suppress(ValueError):
            if self.type == semconv.TYPE_INT:
                return int(self.text)
            if self.type == semconv.TYPE_FLOAT:
                return float(self.text)
        return self.text


class Report(NamedTuple):
    """A hyperparameter as a process has reported it."""

    name: str
    """Flat, as in `model/width`."""
    param: Param
    revision: int = 1
    """Number of this report among those of the same name by the process, from 1."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process of a run sent in one export."""

    resource: Mapping[str, Any]
    """Resource attributes: identity of run and process."""
    readings: tuple[Reading, ...]
    """In the order in which they were logged."""
    params: tuple[Report, ...]
    """Hyperparameters, in the order in which they were reported: all that the process has reported so far."""
    outcome: str | None
    """The outcome that the run reports, one of `semconv.OUTCOME_*`."""
    ended: bool | None = None
    """Whether the process has ended the run, so that the outcome is final. None where it does not own the run."""
    end_unix_nano: int | None = None
    """When the run ended, in nanoseconds since the epoch; None while it goes on, or where it is not reported."""
    left: bool = False
    """Whether the process, a rank that does not own the run, has reported that it sends nothing more."""
    samples: int = 0
    """How many samples the process has sent in all, with those of this batch; 0 where it does not report that."""
    queued: int = 0
    """Rows that the process has yet to send."""
    has_trainer: bool = False
    """Whether the process reports the step of a trainer."""
    is_system: bool = False
    """Whether the readings are of GPU and host, which have sequence numbers of their own."""

    @property
    def rank(self) -> int | None:
        """The process's rank; None for a process that is no rank, or does not know it yet."""
        rank = self.resource.get(semconv.RANK)
        return rank if isinstance(rank, int) else None


def decode(data: MetricsData) -> Iterator[Batch]:
    """Translate one export into one batch for each process that it comes from.

    Readings are made from exemplars only, because a point's own value is repeated at every collection. Readings of GPU
    and host are in a batch of their own.
    """
    for resource_metrics in data.resource_metrics:
        system = _system_readings(resource_metrics)
        if system:
            yield Batch(resource_metrics.resource.attributes, system, (), None, is_system=True)
        if not system or any(scope.scope.name != semconv.SCOPE_SYSTEM for scope in resource_metrics.scope_metrics):
            yield _batch(resource_metrics)


def _batch(resource_metrics: ResourceMetrics) -> Batch:
    readings: list[Reading] = []
    params: list[Report] = []
    outcome: str | None = None
    ended: bool | None = None
    end_unix_nano: int | None = None
    left, samples, queued, has_trainer = False, 0, 0, False
    for scope_metrics in resource_metrics.scope_metrics:
        for metric in scope_metrics.metrics:
            points = [point for point in metric.data.data_points if isinstance(point, NumberDataPoint)]
            if scope_metrics.scope.name == semconv.SCOPE_LOGGED:
                readings.extend(_readings(points))
            elif scope_metrics.scope.name != semconv.SCOPE_RUN:
                continue
            elif metric.name == semconv.HPARAM:
                params.extend(_params(points))
            elif metric.name == semconv.RUN_OUTCOME and points:
                outcome = str((points[-1].attributes or {})[semconv.OUTCOME])
            elif metric.name == semconv.RUN_ENDED and points:
                ended = bool(points[-1].value)
            elif metric.name == semconv.RUN_END_TIME and points:
                end_unix_nano = round(points[-1].value * 1e9)
            elif metric.name == semconv.RANK_ENDED and points:
                left = bool(points[-1].value)
            elif metric.name == semconv.GLOBAL_STEP and points:
                has_trainer = True
            elif metric.name == semconv.SAMPLES and points:
                samples = int(points[-1].value)
            elif metric.name == semconv.QUEUE_SIZE and points:
                queued = int(points[-1].value)
    readings.sort(key=attrgetter("sequence"))
    return Batch(
        resource_metrics.resource.attributes,
        tuple(readings),
        tuple(params),
        outcome,
        ended,
        end_unix_nano,
        left,
        samples,
        queued,
        has_trainer,
    )


def _system_readings(resource_metrics: ResourceMetrics) -> tuple[Reading, ...]:
    node = resource_metrics.resource.attributes.get(semconv.NODE_RANK)
    prefix = semconv.SYSTEM_PREFIX + (f"node_{node}/" if node else "")
    found = [
        reading._replace(name=f"{prefix}{reading.name}", is_system=True)
        for scope_metrics in resource_metrics.scope_metrics
        if scope_metrics.scope.name == semconv.SCOPE_SYSTEM
        for metric in scope_metrics.metrics
        for reading in _readings(point for point in metric.data.data_points if isinstance(point, NumberDataPoint))
    ]
    return tuple(sorted(found, key=attrgetter("sequence")))


def _readings(points: Iterable[NumberDataPoint]) -> Iterator[Reading]:
    for point in points:
        attributes: Mapping[str, Any] = point.attributes or {}
        name = attributes.get(semconv.METRIC_NAME)
        samples = _samples(point.exemplars)
        if name is None or not samples:
            continue
        count = len(samples)
        nonfinite = _NONFINITE.get(attributes.get(semconv.NONFINITE_KIND, ""))
        times_unix_nano, steps, axes, epochs, trainings, world_sizes = zip(*samples.moments, strict=True)
        # Made by columns, and not one reading at a time: there are many.
        fields = zip(
            repeat(name, count),
            samples.values if nonfinite is None else repeat(nonfinite, count),
            steps,
            times_unix_nano,
            axes,
            samples.sequences,
            repeat(attributes.get(semconv.STAGE, ""), count),
            epochs,
            repeat(attributes.get(semconv.REDUCTION, semconv.REDUCTION_MEAN), count),
            [number or 0 for number in trainings],
            [size or 1 for size in world_sizes],
            repeat(False, count),
            strict=True,
        )
        yield from map(Reading._make, fields)


def _samples(exemplars: Sequence[Exemplar]) -> Samples:
    """The samples of a point: as they are, or made from exemplars that were received from another process."""
    if isinstance(exemplars, Samples):
        return exemplars
    moments, sequences, values = [], [], []
    for exemplar in exemplars:
        found: Mapping[str, Any] = exemplar.filtered_attributes or {}
        if semconv.STEP in found:
            moments.append(
                Moment(
                    exemplar.time_unix_nano,
                    found[semconv.STEP],
                    found[semconv.AXIS],
                    found.get(semconv.EPOCH),
                    found.get(semconv.TRAINING),
                    found.get(semconv.WORLD_SIZE),
                )
            )
            sequences.append(found[semconv.SEQUENCE])
            values.append(exemplar.value)
    return Samples(moments, sequences, values)


def _params(points: Iterable[NumberDataPoint]) -> Iterator[Report]:
    for point in points:
        attributes: Mapping[str, Any] = point.attributes or {}
        if semconv.HPARAM_NAME in attributes:
            value = Param(attributes[semconv.HPARAM_VALUE], attributes.get(semconv.HPARAM_TYPE, ""))
            yield Report(attributes[semconv.HPARAM_NAME], value, int(attributes.get(semconv.HPARAM_REVISION, 1)))
