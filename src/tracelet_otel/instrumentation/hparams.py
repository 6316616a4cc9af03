"""Hyperparameters of a run, as points of an observable gauge."""

from __future__ import annotations

import dataclasses
import math
import threading
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable

_MAX_VALUE_LENGTH: Final = 8000
"""Characters; a value of any length is exported again at every collection."""
_MOST_REVISIONS: Final = 1_000
"""Values that have been replaced, of all names; each is exported again at every collection."""
_DEEPEST: Final = 20
_INTEGERS: Final = 2**63


@dataclasses.dataclass(frozen=True)
class _Latest:
    """The last value of a name."""

    attributes: Mapping[str, str]
    """Without the revision."""
    revision: int
    point: Observation


class Hyperparameters:
    """What the run was configured with; each collection exports all of it, also values that have been replaced.

    So nothing is lost with a collection, and trackers get each value in its order.

    Args:
        meter_provider: where the instrument is created.
        guard: where values that have no text are reported.
    """

    def __init__(self, meter_provider: MeterProvider, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        self._points: list[Observation] = []
        self._latest: dict[str, _Latest] = {}
        self._observed: dict[int, Observation] = {}
        """Which points a collection has had, by `id`."""
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            semconv.HPARAM,
            callbacks=[self._observe],
            unit=semconv.HPARAM_UNIT,
            description="A hyperparameter: its number, or 1 where it is none",
        )

    def update(self, params: Any) -> None:
        """Add hyperparameters: a mapping, namespace or dataclass.

        Nested ones get names joined with `/`. Another value of a name is its next revision. Values become
        text at once: objects may change, and tensors would be copied from their device each time.

        Raises:
            TypeError: they are of another kind.
        """
        if not isinstance(params, (Mapping, Namespace)) and not dataclasses.is_dataclass(params):
            raise TypeError(f"they are no mapping, namespace or dataclass, but {type(params).__name__}")
        found: list[tuple[str, float, dict[str, str]]] = []
        for flat_name, value in flatten(params):
            name = encodable(flat_name)
            try:
                attributes = {semconv.HPARAM_NAME: name, semconv.HPARAM_VALUE: _as_text(value), **_type_of(value)}
                found.append((name, _as_number(value), attributes))
            except Exception as error:
                self._guard.report(f"hyperparameter {name!r} was dropped", error)
        with self._lock:
            # A new list, so that the thread which observes never iterates one that grows.
            points = list(self._points)
            for name, number, attributes in found:
                self._add(points, name, number, attributes)
            self._points = points

    def _add(self, points: list[Observation], name: str, number: float, attributes: dict[str, str]) -> None:
        known = self._latest.get(name)
        if known is not None and known.attributes == attributes:
            return
        revision = known.revision + 1 if known is not None else 1
        counted = {semconv.HPARAM_REVISION: revision} if revision > 1 else {}
        points.append(Observation(number, {**attributes, **counted}))
        self._latest[name] = _Latest(attributes, revision, points[-1])
        if len(points) - len(self._latest) > _MOST_REVISIONS:
            current = {id(latest.point) for latest in self._latest.values()}
            dropped = points.pop(next(place for place, point in enumerate(points) if id(point) not in current))
            if id(dropped) not in self._observed:
                self._guard.report(
                    "a value of a hyperparameter was dropped", f"more than {_MOST_REVISIONS} were replaced in no time"
                )

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        points = self._points
        # With the points: the number of one that is gone would be that of a new one.
        self._observed = {id(point): point for point in points}
        return points


def flatten(params: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names and leaves of nested mappings, namespaces and dataclasses, as Lightning's loggers name them.

    What is nested deeper than 20 levels, or in itself, is a leaf.
    """
    if isinstance(params, Namespace):
        params = vars(params)
    elif dataclasses.is_dataclass(params) and not isinstance(params, type):
        params = {
            field.name: getattr(params, field.name)
            for field in dataclasses.fields(params)
            if hasattr(params, field.name)
        }
    if isinstance(params, Mapping) and (params or not prefix) and depth < _DEEPEST:
        for name, value in params.items():
            yield from flatten(value, f"{prefix}/{name}" if prefix else str(name), depth + 1)
    elif prefix:
        yield prefix, params


def _as_number(value: Any) -> float:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INTEGERS:
        return value
    return value if isinstance(value, float) and math.isfinite(value) else 1


def _type_of(value: Any) -> dict[str, str]:
    """Only of what its text says in full: an enumeration's member or a tensor is text."""
    types = {bool: semconv.TYPE_BOOL, int: semconv.TYPE_INT, float: semconv.TYPE_FLOAT, type(None): semconv.TYPE_NONE}
    return {semconv.HPARAM_TYPE: types[type(value)]} if type(value) in types else {}


def _as_text(value: Any) -> str:
    text = encodable(str(value))
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
