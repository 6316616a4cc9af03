"""A small OTLP endpoint that keeps what it is sent and can fall ill, over HTTP and gRPC."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable
from concurrent import futures
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from tests.support.failing_server import FailingServer
from tracelet_otel import semconv

CODES = {
    "400": grpc.StatusCode.INVALID_ARGUMENT,
    "401": grpc.StatusCode.UNAUTHENTICATED,
    "429": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "500": grpc.StatusCode.INTERNAL,
    "503": grpc.StatusCode.UNAVAILABLE,
}
"""What gRPC says where HTTP says this."""
_DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
# The generated code has no types.
_add_to_server: Callable[[MetricsServiceServicer, grpc.Server], None] = add_MetricsServiceServicer_to_server
_add_logs_to_server: Callable[[LogsServiceServicer, grpc.Server], None] = add_LogsServiceServicer_to_server
_add_traces_to_server: Callable[[TraceServiceServicer, grpc.Server], None] = add_TraceServiceServicer_to_server

Points = dict[str, dict[frozenset[tuple[str, str]], float]]
"""Values by a metric's name, and by a point's attributes."""


def _points(resource: ResourceMetrics) -> Points:
    found: Points = {}
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
                attributes = {(one.key, one.value.string_value or str(one.value.int_value)) for one in point.attributes}
                found.setdefault(metric.name, {})[frozenset(attributes)] = value
    return found


class Kept:
    """What a receiver was sent, decoded, and its illness."""

    def __init__(self) -> None:
        self.ill: str | None = None
        """`hangs`, `loses the answer`, an HTTP status, or None."""
        self.pause_s: int | None = None
        """What it asks those to wait whom it turns away, in seconds."""
        self.refuses: Callable[[ExportMetricsServiceRequest], bool] = lambda _: False
        """Of which requests it says 400."""
        self.well_again = threading.Event()
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.attempts = 0
        """Of metrics."""
        self.takes_traces = True
        self.traces: list[ExportTraceServiceRequest] = []
        self.takes_logs = True
        self.logs: list[ExportLogsServiceRequest] = []

    def forget(self) -> None:
        """Begin anew, for another test."""
        self.requests.clear()
        self.headers.clear()
        self.traces.clear()
        self.logs.clear()
        self.attempts = 0

    def keep(self, request: ExportMetricsServiceRequest, headers: dict[str, str]) -> None:
        self.headers.append(headers)
        self.requests.append(request)

    @property
    def metrics(self) -> list[Any]:
        """Every metric of every request."""
        return _metrics(list(self.requests))

    @property
    def beside(self) -> dict[str, Callable[[bytes], None]]:
        """By path, what takes requests of signals other than metrics; none of those that it does not take."""
        found: dict[str, Callable[[bytes], None]] = {}
        if self.takes_traces:
            found["/v1/traces"] = lambda body: self.traces.append(ExportTraceServiceRequest.FromString(body))
        if self.takes_logs:
            found["/v1/logs"] = lambda body: self.logs.append(ExportLogsServiceRequest.FromString(body))
        return found

    @property
    def events(self) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """Name, body, attributes and resource of each event."""
        return [
            (event.event_name, event.body.string_value, plain(event.attributes), plain(logs.resource.attributes))
            for request in list(self.logs)
            for logs in request.resource_logs
            for scope in logs.scope_logs
            for event in scope.log_records
            if event.event_name
        ]

    @property
    def resources(self) -> list[dict[str, str]]:
        return [
            {one.key: one.value.string_value for one in resource.resource.attributes}
            for request in list(self.requests)
            for resource in request.resource_metrics
        ]

    def points(self, service: str) -> list[Points]:
        """Of each resource of a service, in the order of the requests, the values of its metrics."""
        return [
            _points(resource)
            for request in list(self.requests)
            for resource in request.resource_metrics
            if any(
                one.key == semconv.SERVICE_NAME and one.value.string_value == service
                for one in resource.resource.attributes
            )
        ]

    @property
    def samples(self) -> list[tuple[str, int, float, int, int]]:
        """Name, step, value, time and sequence of each sample, in the order of the sequence."""
        return samples_of(list(self.requests))


def plain(attributes: Iterable[Any]) -> dict[str, Any]:
    """Attributes with their values; those that are no simple values are None."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "", None) for one in attributes}


def _metrics(requests: Iterable[ExportMetricsServiceRequest]) -> list[Any]:
    return [
        metric
        for request in requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def samples_of(requests: Iterable[ExportMetricsServiceRequest]) -> list[tuple[str, int, float, int, int]]:
    """The samples of requests, as `Kept.samples` has them."""
    found = []
    for metric in _metrics(requests):
        kind = MessageToDict(metric).keys() & {"gauge", "sum"}
        for point in getattr(metric, kind.pop()).data_points if kind else []:
            name = next((one.value.string_value for one in point.attributes if one.key == semconv.METRIC_NAME), "")
            for sample in point.exemplars:
                place = {one.key: one.value.int_value for one in sample.filtered_attributes}
                value = sample.as_double if sample.WhichOneof("value") == "as_double" else float(sample.as_int)
                found.append((name, place[semconv.STEP], value, sample.time_unix_nano, place[semconv.SEQUENCE]))
    return sorted(found, key=lambda sample: sample[-1])


class HttpReceiver(Kept, FailingServer):
    """Takes OTLP over HTTP."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        Kept.__init__(self)
        self.answer = ExportMetricsServiceResponse().SerializeToString()
        self._tls = tls
        FailingServer.__init__(self, _Handler, port)

    @property
    def endpoint(self) -> str:
        return self.uri.replace("http:", "https:") if self._tls else self.uri

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # The handshake is done where the request is read.
        wrapped = self._tls.wrap_socket(connection, True, do_handshake_on_connect=False) if self._tls else connection
        return wrapped, address


class _Handler(BaseHTTPRequestHandler):
    server: HttpReceiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ill = self.server.ill
        beside = self.server.beside.get(self.path)
        self.server.attempts += beside is None
        if ill == "hangs":
            self.server.well_again.wait(120)
            self.close_connection = True
            return
        if ill == "hangs, and answers":
            self.server.well_again.wait(120)
            ill = None
        if ill not in (None, "loses the answer"):
            self.close_connection = True
            self.send_response(int(ill))
            if self.server.pause_s is not None:
                self.send_header("Retry-After", str(self.server.pause_s))
            if ill == "307":
                self.send_header("Location", "http://other/v1/metrics?key=secret")
            content = b"not today"
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        if self.path != "/v1/metrics" and beside is None:
            self.send_error(404)
            return
        decode = _DECODE.get(self.headers.get("Content-Encoding", ""))
        if beside is not None:
            beside(decode(body) if decode else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        request = ExportMetricsServiceRequest.FromString(decode(body) if decode else body)
        if self.server.refuses(request):
            self.send_error(400, "refused")
            return
        self.server.keep(request, {name.lower(): value for name, value in self.headers.items()})
        if ill:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class GrpcReceiver(Kept, MetricsServiceServicer):
    """Takes OTLP over gRPC."""

    def __init__(self, port: int = 0, tls: Any = None) -> None:
        Kept.__init__(self)
        self._tls = tls
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
        _add_to_server(self, self._server)
        _add_traces_to_server(_GrpcTraces(self), self._server)
        _add_logs_to_server(_GrpcLogs(self), self._server)
        address = f"127.0.0.1:{port}"
        server = self._server
        self._port = server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def Export(  # noqa: N802
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        ill = self.ill
        self.attempts += 1
        if ill == "hangs":
            self.well_again.wait(120)
            context.abort(grpc.StatusCode.UNAVAILABLE, "no answer, as over HTTP")
        elif ill is None and self.refuses(request):
            context.abort(CODES["400"], "refused")
        elif ill in CODES:
            if self.pause_s is not None:
                pause = RetryInfo(retry_delay=Duration(seconds=self.pause_s))
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", pause.SerializeToString()),))
            context.abort(CODES[ill], "not today")
        else:
            self.keep(request, {one.key: one.value for one in context.invocation_metadata()})
            if ill:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
        return ExportMetricsServiceResponse()

    def stop(self) -> None:
        self.well_again.set()
        self._server.stop(0).wait()


class _GrpcTraces(TraceServiceServicer):
    """Takes the traces of a receiver."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def Export(  # noqa: N802
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        if not self._kept.takes_traces:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")
        if self._kept.ill == "hangs":
            self._kept.well_again.wait(120)
        if self._kept.ill:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not today")
        self._kept.traces.append(request)
        return ExportTraceServiceResponse()


class _GrpcLogs(LogsServiceServicer):
    """Takes the logs of a receiver."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def Export(  # noqa: N802
        self, request: ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> ExportLogsServiceResponse:
        if not self._kept.takes_logs:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")
        if self._kept.ill:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not today")
        self._kept.logs.append(request)
        return ExportLogsServiceResponse()
