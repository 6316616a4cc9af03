"""Counts, completes and divides exports as the SDK hands them over. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource


class _Place(NamedTuple):
    """A point, with the resource, scope and metric that it is in."""

    resource: ResourceMetrics
    scope: ScopeMetrics
    metric: Metric
    point: Any


def with_attributes(data: MetricsData, attributes: Mapping[str, Any]) -> MetricsData:
    """A copy of an export, with these attributes added to its resources."""
    if not attributes:
        return data
    more = Resource(attributes)
    return MetricsData([replace(one, resource=one.resource.merge(more)) for one in data.resource_metrics])


def sample_count(data: MetricsData, scope: str | None = None) -> int:
    """How many samples an export has, in all or in one instrumentation scope. Exemplars of histograms are none."""
    return sum(
        len(one.point.exemplars)
        for one in _places(data)
        if scope in (None, one.scope.scope.name) and isinstance(one.point, NumberDataPoint)
    )


def instruments(data: MetricsData) -> frozenset[tuple[str, str]]:
    """Scope and name of each instrument that an export has points of."""
    return frozenset((place.scope.scope.name, place.metric.name) for place in _places(data))


def _places(data: MetricsData) -> Iterator[_Place]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield _Place(resource, scope, metric, point)
