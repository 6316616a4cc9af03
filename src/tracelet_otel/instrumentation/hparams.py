"""Hyperparameters of a run, as points of an observable gauge."""

from __future__ import annotations

import dataclasses
import math
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv


class Hyperparameters:
    """What the run was configured with; each collection exports all of it.

    Args:
        meter_provider: where the instrument is created.
    """

    def __init__(self, meter_provider: MeterProvider) -> None:
        self._values: dict[str, Any] = {}
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            semconv.HPARAM,
            callbacks=[self._observe],
            unit=semconv.HPARAM_UNIT,
            description="A hyperparameter: its number, or 1 where it is none",
        )

    def update(self, params: Mapping[str, Any]) -> None:
        """Add hyperparameters; nested ones get names joined with `/`. A later value replaces an earlier one."""
        # A new dict, so that the thread which observes never iterates one that grows.
        self._values = {**self._values, **dict(flatten(params))}

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        for name, value in self._values.items():
            yield Observation(_as_number(value), {semconv.HPARAM_NAME: name, semconv.HPARAM_VALUE: str(value)})


def flatten(params: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and leaves of nested mappings, namespaces and dataclasses, as Lightning's loggers name them."""
    if isinstance(params, Namespace):
        params = vars(params)
    elif dataclasses.is_dataclass(params) and not isinstance(params, type):
        params = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    if isinstance(params, Mapping) and (params or not prefix):
        for name, value in params.items():
            yield from flatten(value, f"{prefix}/{name}" if prefix else str(name))
    else:
        yield prefix, params


def _as_number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return 1
