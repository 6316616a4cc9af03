"""Translates OTLP into readings, hyperparameters, tags and outcomes for trackers. Pure.

A relay reads a thousand requests a second, so nothing is made here that is not passed on: attributes are read from the
messages of protobuf, and the resource of a process is read once.

Source of the form: opentelemetry-proto, `metrics.proto`, `resource.proto` and `common.proto`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from tracelet_otel import semconv
from tracelet_otel.protocol.report_kinds import REPORT_KINDS, ReportKind
from tracelet_otel.protocol.requests import MalformedError, points, resource_of
from tracelet_otel.protocol.trainer_state import TrainerState, trainer_state

_NONFINITE: Final = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}
_MOST_RANKS: Final = 2**16
"""More than any training has; a set of ranks takes a bit for each."""
_INTEGERS: Final = 2**63
"""A time has to be below this, to fit a signed integer of 64 bits."""


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
    """The value of a hyperparameter, or of a tag."""

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
    """A hyperparameter or tag as a process has reported it."""

    kind: ReportKind
    name: str
    """Flat, as in `model/width`."""
    param: Param
    revision: int = 1
    """Number of this report among those of the same kind and name by the process, from 1."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process of a run sent in one export."""

    resource: Mapping[str, Any]
    """Resource attributes: identity of run and process."""
    readings: tuple[Reading, ...]
    """In the order in which they were logged."""
    reports: tuple[Report, ...]
    """Hyperparameters and tags, each kind in the order in which they were reported: all that the process has reported
    so far and still holds. Empty for a rank other than 0."""
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
    trainer: TrainerState | None = None
    """How far that one is."""
    is_system: bool = False
    """Whether the readings are of GPU and host, which have sequence numbers of their own."""

    @property
    def rank(self) -> int | None:
        """The process's rank; None for a process that is no rank, or does not know it yet."""
        rank = self.resource.get(semconv.RANK)
        return rank if isinstance(rank, int) else None


def decode(resources: Iterable[metrics_pb2.ResourceMetrics]) -> Iterator[Batch]:
    """Translate a request into one batch for each process that it comes from.

    Readings are made from exemplars only, because a point's own value is repeated at every collection. Readings of GPU
    and host are in a batch of their own. Scopes of other packages are left out.

    Args:
        resources: what processes have sent, one or more for each.

    Raises:
        MalformedError: an attribute of a point or of a sample is missing or of another type, or a time is too large.
    """
    for one in resources:
        resource = resource_of(one)
        rank = resource.get(semconv.RANK)
        if isinstance(rank, int) and not 0 <= rank < _MOST_RANKS:
            raise MalformedError(f"{semconv.RANK} has to be from 0 to {_MOST_RANKS}")
        system = _system_readings(one, resource)
        if system:
            yield Batch(resource, system, (), None, is_system=True)
        if not system or any(scope.scope.name != semconv.SCOPE_SYSTEM for scope in one.scope_metrics):
            yield _batch(one, resource)


def _batch(found: metrics_pb2.ResourceMetrics, resource: Mapping[str, Any]) -> Batch:
    readings: list[Reading] = []
    reports: list[Report] = []
    # Of each metric of the run, its latest point.
    run: dict[str, metrics_pb2.NumberDataPoint] = {}
    for scope in found.scope_metrics:
        if scope.scope.name == semconv.SCOPE_LOGGED:
            for metric in scope.metrics:
                readings += _readings(metric)
        elif scope.scope.name == semconv.SCOPE_RUN:
            for metric in scope.metrics:
                of_metric = points(metric)
                if kind := _KINDS.get(metric.name):
                    # All ranks have the same ones. If they had not, nothing could tell which to take.
                    reports.extend(() if resource.get(semconv.RANK) else _reports(kind, of_metric))
                elif of_metric:
                    run[metric.name] = of_metric[-1]
    readings.sort(key=_SEQUENCE)
    numbers = {name: _number(point) for name, point in run.items()}
    return Batch(
        resource,
        tuple(readings),
        tuple(reports),
        outcome=_texts(run[semconv.RUN_OUTCOME])[semconv.OUTCOME] if semconv.RUN_OUTCOME in run else None,
        ended=bool(numbers[semconv.RUN_ENDED]) if semconv.RUN_ENDED in run else None,
        end_unix_nano=round(numbers[semconv.RUN_END_TIME] * 1e9) if semconv.RUN_END_TIME in run else None,
        left=bool(numbers.get(semconv.RANK_ENDED)),
        samples=int(numbers.get(semconv.SAMPLES, 0)),
        queued=int(numbers.get(semconv.QUEUE_SIZE, 0)),
        has_trainer=semconv.GLOBAL_STEP in run,
        trainer=trainer_state(numbers),
    )


def _system_readings(found: metrics_pb2.ResourceMetrics, resource: Mapping[str, Any]) -> tuple[Reading, ...]:
    node = resource.get(semconv.NODE_RANK)
    prefix = semconv.SYSTEM_PREFIX + (f"node_{node}/" if node else "")
    readings = [
        reading
        for scope in found.scope_metrics
        if scope.scope.name == semconv.SCOPE_SYSTEM
        for metric in scope.metrics
        for reading in _readings(metric, prefix, is_system=True)
    ]
    return tuple(sorted(readings, key=_SEQUENCE))


def _readings(metric: metrics_pb2.Metric, prefix: str = "", *, is_system: bool = False) -> Iterator[Reading]:
    for point in points(metric):
        exemplars = point.exemplars
        if not exemplars:
            continue
        texts = _texts(point)
        name = texts.get(semconv.METRIC_NAME)
        if name is None:
            continue
        nonfinite = _NONFINITE.get(texts.get(semconv.NONFINITE_KIND, ""))
        stage = texts.get(semconv.STAGE, "")
        reduction = texts.get(semconv.REDUCTION, semconv.REDUCTION_MEAN)
        for exemplar in exemplars:
            found = {pair.key: pair.value for pair in exemplar.filtered_attributes}
            step, epoch, training, ranks = map(found.get, _PLACE)
            if step is None:
                continue
            time_unix_nano = exemplar.time_unix_nano
            if time_unix_nano >= _INTEGERS:
                raise MalformedError("a sample's time is beyond 64 bits")
            # Only a 0 may be a value of another type, and is checked. Most of the time here goes to the others.
            world_size = 1 if ranks is None else ranks.int_value or _integer(found, semconv.WORLD_SIZE) or 1
            if world_size > _MOST_RANKS:
                raise MalformedError(f"{semconv.WORLD_SIZE} has to be {_MOST_RANKS} at most")
            yield Reading(
                prefix + name,
                _number(exemplar) if nonfinite is None else nonfinite,
                step.int_value or _integer(found, semconv.STEP),
                time_unix_nano,
                _text(found.get(semconv.AXIS), semconv.AXIS),
                _integer(found, semconv.SEQUENCE),
                stage,
                None if epoch is None else epoch.int_value or _integer(found, semconv.EPOCH),
                reduction,
                0 if training is None else training.int_value or _integer(found, semconv.TRAINING),
                world_size,
                is_system,
            )


def _reports(kind: ReportKind, of_metric: Iterable[metrics_pb2.NumberDataPoint]) -> Iterator[Report]:
    for point in of_metric:
        found = {pair.key: pair.value for pair in point.attributes}
        name, type_ = map(found.get, (kind.name, semconv.HPARAM_TYPE))
        if name is not None:
            value = _text(found.get(kind.value), kind.value)
            param = Param(value, "" if type_ is None else _text(type_, semconv.HPARAM_TYPE))
            revision = _integer(found, kind.revision) if kind.revision in found else 1
            yield Report(kind, _text(name, kind.name), param, revision)


def _texts(point: metrics_pb2.NumberDataPoint) -> dict[str, str]:
    """Those attributes of a point that have to be text.

    Raises:
        MalformedError: one of them is of another type.
    """
    pairs = [(pair.key, pair.value) for pair in point.attributes]
    return {key: value.string_value or _text(value, key) for key, value in pairs if key in _TEXTS}


def _text(value: AnyValue | None, name: str) -> str:
    # An empty text may be a value of another type.
    if value is None or not (value.string_value or value.HasField("string_value")):
        raise MalformedError(f"{name} is missing or no text")
    return str(value.string_value)


def _integer(found: Mapping[str, AnyValue], name: str) -> int:
    value = found.get(name)
    # A zero may be a value of another type.
    if value is None or not (value.int_value or value.HasField("int_value")):
        raise MalformedError(f"{name} is missing or of another type")
    return int(value.int_value)


def _number(holder: metrics_pb2.NumberDataPoint | metrics_pb2.Exemplar) -> float:
    return holder.as_int if holder.HasField("as_int") else holder.as_double


_KINDS: Final = {kind.instrument: kind for kind in REPORT_KINDS}
_SEQUENCE: Final = attrgetter("sequence")
_PLACE: Final = (semconv.STEP, semconv.EPOCH, semconv.TRAINING, semconv.WORLD_SIZE)
_TEXTS: Final = frozenset(
    (
        semconv.METRIC_NAME,
        semconv.NONFINITE_KIND,
        semconv.STAGE,
        semconv.REDUCTION,
        semconv.OUTCOME,
    )
)
"""Attributes of data points that have to be text if they are present."""
