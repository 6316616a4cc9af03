"""Sends OTLP over gRPC, to a receiver that OpenTelemetry's environment variables name."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.settings import OtlpSettings
from tracelet_otel.exporters.otlp.signals import OtlpSignal
from tracelet_otel.exporters.otlp.transport import (
    DELIVERED,
    MOST_WORDS,
    USER_AGENT,
    Answer,
    Verdict,
    provided,
    report_rejected,
    verdict_of,
)

_STATUS_DETAILS: Final = "grpc-status-details-bin"
_RETRY_INFO: Final = "google.rpc.retryinfo-bin"
"""Metadata in which a receiver says when to try again. Source: OTLP specification, "OTLP/gRPC Throttling"."""
_REFUSED: Final = (grpc.StatusCode.INVALID_ARGUMENT,)
_DOUBTFUL: Final = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_OPTIONS: Final = (
    ("grpc.primary_user_agent", USER_AGENT),
    # By default a channel waits up to two minutes before it connects again.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class GrpcTransport:
    """A `Transport` that calls the export method of one gRPC service.

    Args:
        settings: address of the receiver, credentials and other parameters of a call.
        guard: reports exports that the receiver accepts only in part.

    Raises:
        ConfigurationError: the credential provider does not return channel credentials.
    """

    def __init__(self, settings: OtlpSettings, guard: Guard) -> None:
        self.receiver = settings.shown_endpoint
        self._guard = guard
        # gRPC takes the values of these names as bytes.
        self._headers = tuple(
            (name, value.encode() if name.endswith("-bin") else value) for name, value in settings.headers
        )
        self._timeout_s = settings.timeout_s
        self._signal = settings.signal
        self._channel = _channel(settings)
        # No serializer is given: requests are bytes already.
        signal = settings.signal
        self._export: Any = self._channel.unary_unary(signal.method, None, signal.response.FromString)

    def send(self, body: Body) -> Answer:
        """Send a request with a single call."""
        try:
            response = self._export(body.protobuf, timeout=self._timeout_s, metadata=self._headers)
        except grpc.RpcError as error:
            return _answer(error, self._signal)
        report_rejected(response, self._guard, self._signal)
        return DELIVERED

    def close(self) -> None:
        """Close the channel, which ends a call that hangs."""
        self._channel.close()


def _channel(settings: OtlpSettings) -> Any:
    target = urlsplit(settings.endpoint).netloc if "://" in settings.endpoint else settings.endpoint
    compressions = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
    compression = compressions[settings.compression]
    if settings.is_insecure:
        return grpc.insecure_channel(target, options=_OPTIONS, compression=compression)
    return grpc.secure_channel(target, _credentials(settings), options=_OPTIONS, compression=compression)


def _credentials(settings: OtlpSettings) -> Any:
    if settings.provider:
        return provided(settings.provider, grpc.ChannelCredentials)
    # A key by itself means nothing, and gRPC would end the process. A certificate by itself has its key in its file.
    certificate = settings.client_certificate
    key = settings.client_key or certificate if certificate else None
    files = (settings.certificate, key, certificate)
    return grpc.ssl_channel_credentials(*(Path(one).read_bytes() if one else None for one in files))


def _answer(error: Any, signal: OtlpSignal) -> Answer:
    code, pause_s = error.code(), _pause_s(error)
    # A receiver that is only too busy says when to come back.
    is_busy = code is grpc.StatusCode.RESOURCE_EXHAUSTED and pause_s is not None
    verdict = Verdict.KEPT if is_busy else verdict_of(code, _REFUSED, _DOUBTFUL)
    if signal.is_optional and code is grpc.StatusCode.UNIMPLEMENTED:
        verdict = Verdict.UNKNOWN
    return Answer(verdict, f"gRPC status {code.name}: {error.details()}"[:MOST_WORDS], pause_s)


def _pause_s(error: Any) -> float | None:
    """Seconds after which a receiver asks for the next attempt, from either of the two places where it may say that."""
    with contextlib.suppress(Exception):
        for name, value in error.trailing_metadata() or ():
            info = RetryInfo()
            if name == _RETRY_INFO:
                info.ParseFromString(value)
            elif name != _STATUS_DETAILS or not any(one.Unpack(info) for one in Status.FromString(value).details):
                continue
            delay = info.retry_delay
            return max(float(delay.seconds + delay.nanos / 1e9), 0.0)
    return None
