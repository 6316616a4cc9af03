"""Trackers that live in this process, one exporter each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.exporters.exporter import TrackerExporter
from tracelet_otel.protocol.account import Account


class InProcessTrackers:
    """A `Destination` of trackers in this process.

    Args:
        trackers: not opened yet, by backend.
        resource: attributes of the run's resource.
        guard: where errors end.
        waits: whether a backend that cannot be reached is to be waited for.

    Raises:
        TraceletError: a backend does not give us the run; none is left open.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any], guard: Guard, *, waits: bool = False
    ) -> None:
        self.owns_run = True
        """See `Destination.owns_run`."""
        self.run_id = str(resource[semconv.RUN_ID])
        """See `Destination.run_id`."""
        self._exporters: dict[str, TrackerExporter] = {}
        self.streams: Sequence[MetricExporter] = ()
        """See `Destination.streams`."""
        self.urls: dict[str, str] = {}
        try:
            for name, tracker in trackers.items():
                self._exporters[name] = TrackerExporter(lambda tracker=tracker: tracker, guard)  # type: ignore[misc]
                self._open(name, resource, guard, waits=waits)
        except BaseException:
            self.abandon()
            raise

    def _open(self, name: str, resource: Mapping[str, Any], guard: Guard, *, waits: bool) -> None:
        try:
            self.urls[name] = self._exporters[name].open(resource).url
        except TrackerUnavailableError as error:
            if not waits:
                raise
            # Its delivery opens it, as often as that takes.
            guard.report("a backend is waited for", str(error))

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """See `Destination.exporters`."""
        return list(self._exporters.values())

    @property
    def accounts(self) -> dict[str, Account]:
        """See `Destination.accounts`."""
        return {name: exporter.account for name, exporter in self._exporters.items()}

    @property
    def errors(self) -> Mapping[str, int]:
        """See `Destination.errors`."""
        return {}

    def wait_for_room(self, timeout_s: float) -> None:
        """See `Destination.wait_for_room`."""
        for exporter in self._exporters.values():
            exporter.wait_for_room(timeout_s)

    def finish(self, deadline_s: float) -> None:
        """See `Destination.finish`: the shutdown of the exporters has done it."""

    def abandon(self) -> None:
        """See `Destination.abandon`."""
        for exporter in self._exporters.values():
            exporter.shutdown(timeout_millis=0)
