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
"""In characters. A longer value is cut, because each value is exported again at every collection."""
_MOST_REVISIONS: Final = 1_000
"""Replaced values that are kept, over all names; limited because each is exported again at every collection."""
_DEEPEST: Final = 20
_INTEGERS: Final = 2**63


@dataclasses.dataclass(frozen=True)
class _Latest:
    """The newest value of one hyperparameter."""

    attributes: Mapping[str, str]
    """Attributes of its point, without the revision."""
    revision: int
    point: Observation


class Hyperparameters:
    """The run's hyperparameters. Each collection exports all of them, also values that have been replaced since.

    So a lost export loses no value, and trackers get the values in the order in which they were set.

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
        """The points that the last collection exported, by `id`."""
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            semconv.HPARAM,
            callbacks=[self._observe],
            unit=semconv.HPARAM_UNIT,
            description="A hyperparameter: its number, or 1 where it is none",
        )

    def update(self, params: Any) -> None:
        """Add hyperparameters.

        Names of nested ones are joined with `/`. A new value of a known name is exported as its next revision. Values
        are converted to text at once: objects may change later, and a tensor would be copied from its device at every
        collection.

        Args:
            params: a mapping, namespace or dataclass.

        Raises:
            TypeError: `params` has another type.
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
            # A new list: a collection on another thread may be iterating the old one.
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
        # The points are held too: otherwise the `id` of a deleted point could be given to a new one.
        self._observed = {id(point): point for point in points}
        return points


def flatten(params: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Flatten nested mappings, namespaces and dataclasses, with the names that Lightning's loggers use.

    Flattening stops after 20 levels, so that an object which contains itself ends: what is deeper is one value.

    Args:
        params: the object to flatten.
        prefix: name of `params` itself; empty at the top.
        depth: how many levels are above `params`.

    Yields:
        Name, joined with `/`, and value.
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
    """The type attribute, where the text is enough to restore the value: not for enumeration members or tensors."""
    types = {bool: semconv.TYPE_BOOL, int: semconv.TYPE_INT, float: semconv.TYPE_FLOAT, type(None): semconv.TYPE_NONE}
    return {semconv.HPARAM_TYPE: types[type(value)]} if type(value) in types else {}


def _as_text(value: Any) -> str:
    text = encodable(str(value))
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
