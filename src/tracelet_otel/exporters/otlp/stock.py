"""The stock OTLP exporters: the one file that makes them."""

from __future__ import annotations

import random
from types import ModuleType, SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.failures import FailureListener
from tracelet_otel.exporters.otlp.settings import HTTP, OtlpSettings
from tracelet_otel.protocol.encode import encode

_METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
"""Source: opentelemetry-proto, `metrics_service.proto`."""


def stock_exporter(settings: OtlpSettings, guard: Guard) -> tuple[MetricExporter, FailureListener]:
    """The exporter of a protocol, and what hears what it says.

    Raises:
        ConfigurationError: it does not take what its variables say.
    """
    try:
        return _http(settings, guard) if settings.protocol == HTTP else _grpc(settings)
    except Exception as error:
        raise ConfigurationError(f"the OTLP exporter for {settings.protocol} cannot be made: {error}") from error


def import_exporter(protocol: str) -> None:
    """Import now, on the calling thread, the exporter of a protocol."""
    if protocol == HTTP:
        import opentelemetry.exporter.otlp.proto.http.metric_exporter
        import requests  # noqa: F401
    else:
        import opentelemetry.exporter.otlp.proto.grpc.metric_exporter  # noqa: F401


def spare_global_random(module: ModuleType) -> None:
    """Give a module of a stock exporter a random generator of its own.

    It draws the jitter of its pauses from Python's global one, HTTP at each export and gRPC at each failed
    attempt: a training with a seed would no longer be the same as without us.
    """
    if module.random is random:
        module.random = random.Random()  # type: ignore[attr-defined]  # noqa: S311  # for pauses


def _http(settings: OtlpSettings, guard: Guard) -> tuple[MetricExporter, FailureListener]:
    from opentelemetry.exporter.otlp.common import http
    from opentelemetry.exporter.otlp.proto.http import Compression, metric_exporter

    spare_global_random(http)
    said = FailureListener(metric_exporter.__name__, urlsplit(settings.endpoint).query)
    exporter = metric_exporter.OTLPMetricExporter(
        endpoint=settings.endpoint,
        timeout=settings.timeout_s,
        compression=Compression(settings.compression),
        session=None if settings.has_provider else _session(said, guard),
    )
    return exporter, said


def _grpc(settings: OtlpSettings) -> tuple[MetricExporter, FailureListener]:
    import grpc  # type: ignore[import-untyped]
    from opentelemetry.exporter.otlp.proto.grpc import exporter as module
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    class QuickExporter(OTLPMetricExporter):  # type: ignore[misc, unused-ignore]
        """The stock exporter, with the samples encoded by us: that is most of its work."""

        _translate_data = staticmethod(encode)  # type: ignore[assignment, unused-ignore]

        def _initialize_channel_and_stub(self) -> None:
            super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call, unused-ignore]
            channel: Any = self._channel
            # The generated client makes bytes of a message; these are bytes.
            self._client: Any = SimpleNamespace(
                Export=channel.unary_unary(_METHOD, None, ExportMetricsServiceResponse.FromString)
            )

    spare_global_random(module)
    compressions = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
    exporter = QuickExporter(
        endpoint=settings.endpoint,
        timeout=settings.timeout_s,
        compression=compressions[settings.compression],
    )
    return exporter, FailureListener(module.__name__, "")


def _session(said: FailureListener, guard: Guard) -> Any:
    """What a stock exporter sends with, which tells how it was answered."""
    import requests

    def look(response: requests.Response, **_: Any) -> None:
        if response.is_redirect:
            # It would count as delivered.
            response.close()
            target = without_credentials(response.headers["location"]).partition("?")[0]
            raise requests.RequestException(f"the endpoint redirects to {target}, where OTLP does not follow")
        if response.ok:
            _look_for_rejected(response.content, guard)
        else:
            reason = f"HTTP status {response.status_code} {response.reason}"
            said.answered(str(response.status_code), f"{reason}: {response.text}".removesuffix(": "))

    session = requests.Session()
    session.hooks["response"].append(look)
    return session


def _look_for_rejected(content: bytes, guard: Guard) -> None:
    try:
        part = ExportMetricsServiceResponse.FromString(content).partial_success
    except DecodeError:
        return  # an answer of another form says nothing of the kind
    if part.rejected_data_points:
        reason = f"{part.rejected_data_points} points were rejected: {part.error_message}"
        guard.report("the OTLP endpoint has taken an export in part only", reason)
