"""Sends the events of this process to a collector, as log records."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.exporter import transport_of
from tracelet_otel.exporters.otlp.records import OtlpRecords, settings_beside
from tracelet_otel.exporters.otlp.signals import LOGS
from tracelet_otel.protocol.events import Event, encode_events


class OtlpEvents(OtlpRecords):
    """Takes events, and sends them."""

    signal = LOGS

    def export_events(self, events: list[Event]) -> None:
        """Queue events without waiting for the receiver."""
        if self.is_of_this_process and events:
            self.put(encode_events(events, self._resource().attributes), len(events))


def collector_events(endpoint: str | None, resource: Callable[[], Resource], guard: Guard) -> OtlpEvents | None:
    """Make what sends events to a collector, as `settings_beside` has it for logs.

    Args:
        endpoint: the endpoint that is given for the run.
        resource: returns the resource of this process.
        guard: counts and logs errors.

    Returns:
        None where events are not to be sent.

    Raises:
        ConfigurationError: one of the variables is malformed.
    """
    settings = settings_beside(LOGS, endpoint)
    return None if settings is None else OtlpEvents(transport_of(settings, guard), "otlp", guard, resource)
