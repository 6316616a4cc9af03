"""Selects what belongs to a run in an export of the SDK. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricsData

from tracelet_otel import semconv

_SCOPES: Final = (semconv.SCOPE_LOGGED, semconv.SCOPE_RUN)


def of_run(data: MetricsData) -> MetricsData:
    """Return an export without the metrics of other instrumentations that use the same SDK."""
    return MetricsData(
        [
            replace(one, scope_metrics=[scope for scope in one.scope_metrics if scope.scope.name in _SCOPES])
            for one in data.resource_metrics
        ]
    )


def resource_of(data: MetricsData) -> Mapping[str, Any]:
    """Attributes of the resource of an export, of which an SDK has only one."""
    return data.resource_metrics[0].resource.attributes if data.resource_metrics else {}
