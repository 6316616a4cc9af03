"""Sends the stream of this process to a relay by HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.exporters.otlp.transport import DELIVERED, Answer, Verdict, retry_after_s
from tracelet_otel.protocol.messages import MAX_BODY_BYTES, METRICS_PATH, TRACES_PATH, Status
from tracelet_otel.session.calls import Address, HttpConnection, fetch_status

_FINAL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
"""Status codes with which a relay answers a request that it will never accept."""
_MOST_WORDS: Final = 300
"""How many bytes of an answer are shown in an error message."""
TO_RELAY: Final = Limits(request_bytes=MAX_BODY_BYTES // 2)
"""Limits for requests to a relay."""


class RelayTransport:
    """A `Transport` that posts requests to a relay, and has the relay started again if it does not answer.

    Args:
        address: returns the relay's address; called before each request, as a restarted relay may have another one.
        revive: called after a request without an answer; starts the relay again if it has died, or finds its new
            address. It raises `RunLostError` where the run has no relay any more.
        guard: where errors are reported.
        path: to which requests are posted.
    """

    receiver = "the relay"

    def __init__(
        self, address: Callable[[], Address], revive: Callable[[], None], guard: Guard, path: str = METRICS_PATH
    ) -> None:
        self._path = path
        self._address = address
        self._revive = revive
        self._guard = guard
        self._connection = HttpConnection()
        self._passed_on: set[str] = set()
        self._closed = False

    def send(self, body: Body) -> Answer:
        """Post one request, without a retry."""
        try:
            encoding = "gzip" if body.is_gzip else None
            answer = self._connection.post(self._address(), body.content, encoding, path=self._path)
        except urllib3.exceptions.HTTPError:
            return self._revived()
        if answer.status == HTTPStatus.OK:
            self._pass_on(answer.data)
            return DELIVERED
        reason = f"HTTP status {answer.status}: {answer.data[:_MOST_WORDS]!r}"
        verdict = Verdict.REFUSED if answer.status in _FINAL else Verdict.KEPT
        if self._path == TRACES_PATH and answer.status == HTTPStatus.NOT_FOUND:
            # A relay of a version that takes no spans.
            verdict = Verdict.UNKNOWN
        return Answer(verdict, reason, retry_after_s(answer.headers))

    def close(self) -> None:
        """Close the connection. From now on no relay is started again."""
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
        # No reason is given, so nothing is logged: a relay that is started again is no problem to report.
        return Answer(Verdict.KEPT)

    def _pass_on(self, content: bytes) -> None:
        """Log the problems of trackers that the relay's answer lists, each once. The relay counts them."""
        try:
            news = ExportMetricsServiceResponse.FromString(content).partial_success.error_message.splitlines()
        except DecodeError as error:
            self._guard.report("the relay's answer could not be read", error)
            return
        for line in news:
            if line not in self._passed_on:
                self._passed_on.add(line)
                log.warning("relay: %s", line)


class HttpRelay(ABC):
    """What relays in other processes have in common, launched or joined: they are reached over HTTP."""

    outlives_process = True
    """The relay goes on with the delivery when this process has ended."""

    @property
    @abstractmethod
    def address(self) -> Address:
        """Address and token of the relay now."""

    def status(self, run_id: str) -> Status | None:
        """Ask the relay how far the delivery of the run is; None where it does not answer."""
        return fetch_status(self.address, run_id)

    def transport(self, revive: Callable[[], None], guard: Guard) -> RelayTransport:
        """Make the transport that posts to the relay. It calls `revive` when the relay does not answer."""
        return RelayTransport(lambda: self.address, revive, guard)

    def span_transport(self, revive: Callable[[], None], guard: Guard) -> RelayTransport:
        """Make the transport that posts spans to the relay."""
        return RelayTransport(lambda: self.address, revive, guard, TRACES_PATH)


def relay_exporter(
    address: Callable[[], Address],
    revive: Callable[[], None],
    guard: Guard,
    attributes: Callable[[], Mapping[str, Any]] = dict,
    limits: Limits = TO_RELAY,
) -> OtlpExporter:
    """Create the exporter to a relay.

    Args:
        address: returns the relay's address.
        revive: called after a request without an answer; starts the relay again, or finds its new address.
        guard: where errors are reported.
        attributes: returns resource attributes that become known later than the resource.
        limits: how much is sent at once and kept.
    """
    return OtlpExporter(RelayTransport(address, revive, guard), "relay", guard, limits, attributes)
