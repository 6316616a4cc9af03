"""Sends the events of this process to a collector, as log records."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.environment import environment, sdk_exports_otlp_logs
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.exporter import transport_of
from tracelet_otel.exporters.otlp.records import OtlpRecords
from tracelet_otel.exporters.otlp.settings import read_beside
from tracelet_otel.exporters.otlp.signals import LOGS
from tracelet_otel.exporters.otlp.transport import Transport
from tracelet_otel.protocol.events import Event, encode_events


class OtlpEvents(OtlpRecords):
    """Takes events, and sends them.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the log.
        guard: counts and logs errors.
        resource: returns the resource of this process, with what is known of it by now.
    """

    def __init__(self, transport: Transport, name: str, guard: Guard, resource: Callable[[], Resource]) -> None:
        super().__init__(LOGS, transport, name, guard)
        self._resource = resource

    def export_events(self, events: list[Event]) -> None:
        """Queue events without waiting for the receiver."""
        if self.is_of_this_process and events:
            self.put(encode_events(events, self._resource().attributes), len(events))


def check_events(endpoint: str | None) -> None:
    """Check the variables and the endpoint that `collector_events` reads.

    Raises:
        ConfigurationError: one of them is malformed.
    """
    if sdk_exports_otlp_logs():
        read_beside(environment(), endpoint, LOGS)


def collector_events(endpoint: str | None, resource: Callable[[], Resource], guard: Guard) -> OtlpEvents | None:
    """Make what sends events to a collector, from OpenTelemetry's variables.

    Args:
        endpoint: the endpoint that is given for the run; OTEL_EXPORTER_OTLP_LOGS_ENDPOINT takes precedence.
        resource: returns the resource of this process.
        guard: counts and logs errors.

    Returns:
        None where OTEL_LOGS_EXPORTER names other exporters only, as `none`, and where the variables or the endpoint
        are for metrics only.

    Raises:
        ConfigurationError: one of the variables is malformed.
    """
    settings = read_beside(environment(), endpoint, LOGS) if sdk_exports_otlp_logs() else None
    return None if settings is None else OtlpEvents(transport_of(settings, guard), "otlp", guard, resource)
