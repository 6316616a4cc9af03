"""Exports events by the logger provider that somebody else has configured, as `opentelemetry-instrument` does."""

from __future__ import annotations

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

from tracelet_otel import semconv
from tracelet_otel.protocol.events import Event


class GlobalEvents:
    """Emits events by the global logger provider. Where nobody has configured one, that does nothing."""

    def export_events(self, events: list[Event]) -> None:
        """Pass events on; the provider's processors decide when they are sent."""
        logger = get_logger(semconv.SCOPE_RUN)
        for event in events:
            logger.emit(
                LogRecord(
                    timestamp=event.time_unix_nano,
                    severity_number=SeverityNumber(event.severity),
                    severity_text=event.severity_text,
                    body=event.body,
                    attributes=dict(event.attributes),
                    event_name=event.name,
                )
            )
