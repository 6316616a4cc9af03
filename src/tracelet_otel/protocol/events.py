"""Events of a run, and their form in OTLP: log records that have a name. Pure.

Source: OpenTelemetry, "Events", and opentelemetry-proto, `logs.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tracelet_otel import semconv
from tracelet_otel.protocol.console import ConsoleLine

UNSPECIFIED: Final = 0
INFO: Final = 9
"""A severity number. Source: OpenTelemetry, "Logs Data Model"."""
ERROR: Final = 17
_SEVERITIES: Final = {UNSPECIFIED: "", 5: "DEBUG", INFO: "INFO", 13: "WARN", ERROR: "ERROR", 21: "FATAL"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a run."""

    name: str
    """One of `semconv.EVENT_*`; empty for a line of the console, which is a log record and no event."""
    time_unix_nano: int
    """In nanoseconds since the epoch."""
    body: str
    """What it says to people."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    severity: int = INFO

    @property
    def severity_text(self) -> str:
        """The severity in a word."""
        return _SEVERITIES[self.severity]


def event_of_line(line: ConsoleLine) -> Event:
    """A line of the console as a log record. Source: OpenTelemetry, "General logs attributes", `log.iostream`."""
    attributes = {semconv.LOG_IOSTREAM: line.stream} if line.stream else {}
    return Event("", line.time_unix_nano, line.text, attributes, line.severity)


def encode_events(events: Iterable[Event], resource: Mapping[str, Any]) -> bytes:
    """Encode events as an OTLP request.

    Args:
        events: the events.
        resource: attributes of the resource of the process that they come from.
    """
    records = [
        LogRecord(
            time_unix_nano=event.time_unix_nano,
            observed_time_unix_nano=event.time_unix_nano,
            severity_number=event.severity,  # type: ignore[arg-type, unused-ignore]
            severity_text=event.severity_text,
            body=AnyValue(string_value=event.body),
            attributes=_pairs(event.attributes),
            event_name=event.name,
        )
        for event in events
    ]
    scope = ScopeLogs(scope=InstrumentationScope(name=semconv.SCOPE_RUN), log_records=records)
    logs = ResourceLogs(resource=Resource(attributes=_pairs(resource)), scope_logs=[scope])
    content: bytes = ExportLogsServiceRequest(resource_logs=[logs]).SerializeToString()
    return content


def _pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value]))
    return AnyValue(string_value=str(value))
