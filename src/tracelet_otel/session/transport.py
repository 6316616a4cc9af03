"""How this process's stream gets to a relay: over HTTP, wherever the relay is by now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import urllib3
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import RunLostError
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.exporter import OtlpExporter
from tracelet_otel.exporters.otlp.sender import Limits
from tracelet_otel.exporters.otlp.transport import DELIVERED, Answer, Verdict
from tracelet_otel.protocol.messages import MAX_BODY_BYTES
from tracelet_otel.session.calls import Address, HttpConnection

_FINAL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
"""What a relay answers to a request that it will never accept."""
_MOST_WORDS: Final = 300
TO_RELAY: Final = Limits(request_bytes=MAX_BODY_BYTES // 2)


class RelayTransport:
    """Posts requests to a relay, and has it started again where it does not answer.

    Args:
        address: asked before each request, since a relay that was started again may be elsewhere.
        revive: called after a request without an answer; starts a relay that has died. `RunLostError`
            says that there is nobody to send to any more.
        guard: where errors end.
    """

    receiver = "the relay"

    def __init__(self, address: Callable[[], Address], revive: Callable[[], None], guard: Guard) -> None:
        self._address = address
        self._revive = revive
        self._guard = guard
        self._connection = HttpConnection()
        self._passed_on: set[str] = set()
        self._closed = False

    def send(self, body: Body) -> Answer:
        """Post a request once."""
        try:
            answer = self._connection.post(self._address(), body.content, "gzip" if body.is_gzip else None)
        except urllib3.exceptions.HTTPError:
            return self._revived()
        if answer.status == HTTPStatus.OK:
            self._pass_on(answer.data)
            return DELIVERED
        reason = f"HTTP status {answer.status}: {answer.data[:_MOST_WORDS]!r}"
        return Answer(Verdict.REFUSED if answer.status in _FINAL else Verdict.KEPT, reason)

    def close(self) -> None:
        """Close the connection, and start no relay any more."""
        self._closed = True
        self._connection.close()

    def _revived(self) -> Answer:
        if not self._closed:
            try:
                self._revive()
            except RunLostError as lost:
                return Answer(Verdict.LOST, str(lost))
            except Exception as problem:
                self._guard.report("the relay could not be started again", problem)
        # That it is started again, or soon will be, is nothing to report.
        return Answer(Verdict.KEPT)

    def _pass_on(self, content: bytes) -> None:
        """Log what the relay says of its trackers, each line once; the relay counts it."""
        try:
            news = ExportMetricsServiceResponse.FromString(content).partial_success.error_message.splitlines()
        except DecodeError as error:
            self._guard.report("the relay's answer could not be read", error)
            return
        for line in news:
            if line not in self._passed_on:
                self._passed_on.add(line)
                log.warning("relay: %s", line)


def relay_exporter(
    address: Callable[[], Address],
    revive: Callable[[], None],
    guard: Guard,
    attributes: Callable[[], Mapping[str, Any]] = dict,
    limits: Limits = TO_RELAY,
) -> OtlpExporter:
    """The exporter to a relay; the arguments are those of `RelayTransport` and `OtlpExporter`."""
    return OtlpExporter(RelayTransport(address, revive, guard), "relay", guard, limits, attributes)
