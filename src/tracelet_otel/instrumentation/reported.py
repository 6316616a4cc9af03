"""Named values that a process reports of its run, as points of an observable gauge."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.report_kinds import ReportKind

_MOST_REVISIONS: Final = 1_000
"""Replaced values that are kept, over all names; limited because each is exported again at every collection."""


@dataclass(frozen=True)
class NamedValue:
    """A value to report."""

    name: str
    text: str
    number: float = 1
    """Value of the point."""
    more: Mapping[str, str] | None = None
    """Further attributes of the point."""


@dataclass(frozen=True)
class _Latest:
    """The newest value of one name."""

    attributes: Mapping[str, str]
    """Attributes of its point, without the revision."""
    revision: int
    point: Observation


class ReportedValues:
    """Named values of one kind. Each collection exports all of them, so a lost export loses no value.

    Where trackers get each value of a name, also values that have been replaced since are exported, in the order in
    which they were set.

    Args:
        kind: kind of the values.
        description: what the value of a point is.
        meter_provider: where the instrument is created.
        guard: where values that are dropped are reported.
    """

    def __init__(self, kind: ReportKind, description: str, meter_provider: MeterProvider, guard: Guard) -> None:
        self._kind = kind
        self._guard = guard
        self._lock = threading.Lock()
        self._points: list[Observation] = []
        self._latest: dict[str, _Latest] = {}
        self._observed: dict[int, Observation] = {}
        """The points that the last collection exported, by `id`."""
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            kind.instrument, callbacks=[self._observe], unit=semconv.REPORT_UNIT, description=description
        )

    def update(self, values: Iterable[NamedValue]) -> None:
        """Report values. A new value of a known name is its next revision."""
        with self._lock:
            # A new list: a collection on another thread may be iterating the old one.
            points = list(self._points)
            for value in values:
                self._add(points, value)
            self._points = points if self._kind.keeps_all else [latest.point for latest in self._latest.values()]

    def _add(self, points: list[Observation], value: NamedValue) -> None:
        attributes = {self._kind.name: value.name, self._kind.value: value.text, **(value.more or {})}
        known = self._latest.get(value.name)
        if known is not None and known.attributes == attributes:
            return
        revision = known.revision + 1 if known is not None else 1
        counted = {self._kind.revision: revision} if revision > 1 else {}
        points.append(Observation(value.number, {**attributes, **counted}))
        self._latest[value.name] = _Latest(attributes, revision, points[-1])
        if self._kind.keeps_all and len(points) - len(self._latest) > _MOST_REVISIONS:
            current = {id(latest.point) for latest in self._latest.values()}
            dropped = points.pop(next(place for place, point in enumerate(points) if id(point) not in current))
            if id(dropped) not in self._observed:
                reason = f"more than {_MOST_REVISIONS} were replaced in no time"
                self._guard.report(f"a value of a {self._kind.word} was dropped", reason)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        points = self._points
        # The points are held too: otherwise the `id` of a deleted point could be given to a new one.
        self._observed = {id(point): point for point in points}
        return points
