"""The signals of OpenTelemetry that are sent by OTLP: what differs between them.

Source: OpenTelemetry Protocol Exporter, and the services of opentelemetry-proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse


@dataclass(frozen=True)
class OtlpSignal:
    """One signal."""

    variable: str
    """Its part of the names of environment variables, as in OTEL_EXPORTER_OTLP_METRICS_ENDPOINT."""
    word: str
    """What people call that of which a request has several."""
    path: str
    """Path of an HTTP endpoint."""
    method: str
    """Method of a gRPC endpoint."""
    response: type[Any]
    rejected: str
    """Field of the response's `partial_success` with what was rejected, which ends with the word for it."""
    is_optional: bool = False
    """Whether a receiver may do without it: one that does not know it is then no problem."""


METRICS: Final = OtlpSignal(
    "METRICS",
    "values",
    "/v1/metrics",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    ExportMetricsServiceResponse,
    "rejected_data_points",
)
LOGS: Final = OtlpSignal(
    "LOGS",
    "events",
    "/v1/logs",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    ExportLogsServiceResponse,
    "rejected_log_records",
    is_optional=True,
)
TRACES: Final = OtlpSignal(
    "TRACES",
    "spans",
    "/v1/traces",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    ExportTraceServiceResponse,
    "rejected_spans",
    is_optional=True,
)
