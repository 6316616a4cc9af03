"""Exports as the SDK hands them over: counted, completed and divided. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv

_ENDS: Final = (semconv.RUN_ENDED, semconv.RANK_ENDED)
"""What a process says last: whoever reads it waits for nothing more."""


class _Place(NamedTuple):
    """A point, and what it is in."""

    resource: ResourceMetrics
    scope: ScopeMetrics
    metric: Metric
    point: Any


_LEVELS: Final = 3
"""Lists in which a point is: of resources, scopes and metrics."""


def with_attributes(data: MetricsData, attributes: Mapping[str, Any]) -> MetricsData:
    """An export whose resources have more attributes."""
    if not attributes:
        return data
    more = Resource(attributes)
    return MetricsData([replace(one, resource=one.resource.merge(more)) for one in data.resource_metrics])


def sample_count(data: MetricsData, scope: str | None = None) -> int:
    """How many samples an export has, in all or in one instrumentation scope."""
    return sum(len(one.point.exemplars) for one in _places(data) if scope in (None, one.scope.scope.name))


def weight(data: MetricsData) -> int:
    """Points and samples of an export: what its size depends on, in memory and on the way."""
    return sum(_weight(place) for place in _places(data))


def instruments(data: MetricsData) -> frozenset[tuple[str, str]]:
    """Scope and name of each instrument that an export has points of."""
    return frozenset((place.scope.scope.name, place.metric.name) for place in _places(data))


def divided(data: MetricsData, most: int) -> Iterator[MetricsData]:
    """Exports that together say the same, none heavier than `most`, which is 2 at least.

    A point that is in several of them has some of its samples in each. That the run has ended is in the last one.
    """
    if weight(data) <= most:
        yield data
        return
    part: list[_Place] = []
    room = most
    # Whoever reads that a run has ended closes it.
    for place in sorted(_places(data), key=lambda one: one.metric.name in _ENDS):
        for piece in _pieces(place, most):
            if _weight(piece) > room:
                yield MetricsData(_joined(part))
                part, room = [], most
            part.append(piece)
            room -= _weight(piece)
    yield MetricsData(_joined(part))


def _places(data: MetricsData) -> Iterator[_Place]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield _Place(resource, scope, metric, point)


def _weight(place: _Place) -> int:
    return 1 + len(place.point.exemplars)


def _pieces(place: _Place, most: int) -> Iterator[_Place]:
    samples = place.point.exemplars
    for start in range(0, max(len(samples), 1), most - 1):
        yield place._replace(point=replace(place.point, exemplars=samples[start : start + most - 1]))


def _joined(places: Sequence[_Place], level: int = 0) -> list[Any]:
    """What points are in, from `level` on, with these points only."""
    if level == _LEVELS:
        return [place.point for place in places]
    made: list[Any] = []
    for _, group in groupby(places, key=lambda place: id(place[level])):
        inner = list(group)
        made.append(_with_items(inner[0][level], _joined(inner, level + 1)))
    return made


def _with_items(whole: Any, items: list[Any]) -> Any:
    if isinstance(whole, ResourceMetrics):
        return replace(whole, scope_metrics=items)
    if isinstance(whole, ScopeMetrics):
        return replace(whole, metrics=items)
    return replace(whole, data=replace(whole.data, data_points=items))
