"""A relay's own metrics, by OTLP to a collector."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.text import encodable
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.exporter import OtlpExporter, collector_exporter
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.protocol.samples import Reader
from tracelet_otel.relay.figures import RelayFigures

_END_S: Final = 1.0
"""How long the end of a relay waits for a collector."""
_LIMITS: Final = Limits(request_bytes=2 * 2**20, backlog_bytes=2**20, patience_s=_END_S)

_Points = Iterable[tuple[float | None, Mapping[str, str | int]]]
"""Values with their attributes; None for one that is not known."""


class RelayTelemetry:
    """Exports the figures of a relay in regular intervals. Nothing is read in between.

    Args:
        read: returns the figures.
        exporter: sends them.
        interval_s: seconds between two exports.
        run: attributes that name the run, where the relay is of one run.
        guard: reports errors.
    """

    def __init__(
        self,
        read: Callable[[], RelayFigures],
        exporter: OtlpExporter,
        interval_s: float,
        run: Mapping[str, Any],
        guard: Guard,
    ) -> None:
        self._read = read
        self._guard = guard
        self._figures: RelayFigures | None = None
        self._reader = Reader(exporter, interval_s)
        provider = MeterProvider([self._reader], _resource(run), shutdown_on_exit=False)
        self._observe(provider.get_meter(semconv.SCOPE_RELAY))

    def close(self) -> None:
        """Export a last time, and stop. A collector that does not answer is waited for a second."""
        try:
            self._reader.shutdown(timeout_millis=_END_S * 1e3)
        except Exception as error:
            self._guard.report("the relay's own metrics were not exported a last time", error)

    def _observe(self, meter: Meter) -> None:
        # A collection calls the instruments in the order in which they are made. The first one reads the figures, so
        # that all points of an export are of the same moment.
        meter.create_observable_counter(
            semconv.RELAY_REQUESTS,
            [self._callback(_requests, is_first=True)],
            semconv.RELAY_REQUESTS_UNIT,
            "Requests with metrics that the relay has answered",
        )
        for name, points, unit, description in _COUNTERS:
            meter.create_observable_counter(name, [self._callback(points)], unit, description)
        for name, points, unit, description in _UP_DOWN_COUNTERS:
            meter.create_observable_up_down_counter(name, [self._callback(points)], unit, description)
        for name, points, unit, description in _GAUGES:
            meter.create_observable_gauge(name, [self._callback(points)], unit, description)

    def _callback(
        self, points: Callable[[RelayFigures], _Points], *, is_first: bool = False
    ) -> Callable[[CallbackOptions], list[Observation]]:
        def observe(_options: CallbackOptions) -> list[Observation]:
            try:
                if is_first:
                    self._figures = None
                    self._figures = self._read()
                found = [] if self._figures is None else points(self._figures)
                return [Observation(value, attributes) for value, attributes in found if value is not None]
            except Exception as error:
                self._guard.report("the relay's own figures could not be read", error)
                return []

        return observe


def telemetry(
    read: Callable[[], RelayFigures],
    variables: Mapping[str, str],
    interval_s: float,
    run: Mapping[str, Any] = MappingProxyType({}),
) -> RelayTelemetry | None:
    """Begin to export a relay's own metrics, where there is a collector.

    Args:
        read: returns the relay's figures.
        variables: what `collector_variables` has returned. What is wrong with them is logged.
        interval_s: seconds between two exports.
        run: attributes that name the run, where the relay is of one run.

    Returns:
        The object that ends it; None where nothing is exported.
    """
    if not variables:
        return None
    guard = Guard()  # what becomes of them is none of the run's errors
    try:
        exporter = collector_exporter(guard=guard, limits=_LIMITS, variables=variables)
    except ConfigurationError as error:
        log.warning("the relay's own metrics are not exported: %s", error)
        return None
    return RelayTelemetry(read, exporter, interval_s, run, guard)


def _resource(run: Mapping[str, Any]) -> Resource:
    attributes: dict[str, Any] = {
        semconv.SERVICE_NAME: semconv.RELAY_SERVICE,
        semconv.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        semconv.HOST_NAME: encodable(platform.node()),
        semconv.PROCESS_PID: os.getpid(),
    }
    return Resource.create({**attributes, **run})


def _requests(figures: RelayFigures) -> _Points:
    return [(number, {semconv.HTTP_STATUS_CODE: status}) for status, number in figures.requests.items()]


def _by_tracker(name: str) -> Callable[[RelayFigures], _Points]:
    return lambda figures: [
        (getattr(one, name), {semconv.TRACKER: tracker}) for tracker, one in figures.runs.trackers.items()
    ]


def _of_runs(name: str) -> Callable[[RelayFigures], _Points]:
    return lambda figures: [(getattr(figures.runs, name), {})]


_Rows = Sequence[tuple[str, Callable[[RelayFigures], _Points], str, str]]
"""Name, points, unit and description of instruments."""
_COUNTERS: Final[_Rows] = (
    (
        semconv.RELAY_READINGS,
        _of_runs("readings"),
        semconv.RELAY_READINGS_UNIT,
        "Readings that the relay has accepted; one that came again is not counted again",
    ),
    (
        semconv.RELAY_LATE,
        _of_runs("late"),
        semconv.RELAY_VALUES_UNIT,
        "Values of ranks that came when those of the other ranks had been merged without them",
    ),
    (
        semconv.RELAY_INCOMPLETE,
        _of_runs("incomplete"),
        semconv.RELAY_VALUES_UNIT,
        "Merged values that lack a rank that runs",
    ),
    (
        semconv.RELAY_DROPPED,
        _by_tracker("dropped"),
        semconv.RELAY_READINGS_UNIT,
        "Readings dropped before the tracker had them, since the journal was full",
    ),
)
_UP_DOWN_COUNTERS: Final[_Rows] = (
    (
        semconv.RELAY_WAITING,
        _of_runs("waiting"),
        semconv.RELAY_VALUES_UNIT,
        "Values that wait for other ranks, and readings that wait for missing ones of their process",
    ),
    (
        semconv.RELAY_JOURNAL_SIZE,
        _of_runs("journal_bytes"),
        semconv.BYTES_UNIT,
        "What the journals hold that the relay has open",
    ),
    (
        semconv.RELAY_PENDING,
        _by_tracker("pending"),
        semconv.RELAY_READINGS_UNIT,
        "Readings that the tracker has yet to take",
    ),
    (
        semconv.PROCESS_MEMORY_USAGE,
        lambda figures: [(figures.memory_bytes, {})],
        semconv.BYTES_UNIT,
        "Physical memory in use by the relay",
    ),
)
_GAUGES: Final[_Rows] = (
    (
        semconv.RELAY_UNDELIVERED_AGE,
        _of_runs("undelivered_s"),
        semconv.SECONDS_UNIT,
        "Time since the oldest reading was logged that is not merged, or not taken by some tracker; 0 where all is",
    ),
    (
        semconv.RELAY_LAG,
        _by_tracker("lag_s"),
        semconv.SECONDS_UNIT,
        "Time since the first reading was logged that the tracker has yet to take; 0 where there is none",
    ),
)
