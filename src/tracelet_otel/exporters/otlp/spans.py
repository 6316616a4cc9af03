"""Sends the spans of this process to one receiver, with the sender that metrics have: what it does not take is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tracelet_otel._support.environment import environment, sdk_exports_otlp_traces
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.exporter import transport_of
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.exporters.otlp.sender import Sender
from tracelet_otel.exporters.otlp.settings import read_for_traces
from tracelet_otel.exporters.otlp.transport import DELIVERED, Answer, Transport, Verdict
from tracelet_otel.protocol.spans import FinishedSpan, Trace, is_sampled, readable

_AT_ONCE: Final = 1_000
"""Spans of one request, which are about 300 bytes each."""
_LIMITS: Final = Limits(request_bytes=2**20, backlog_bytes=4 * 2**20, patience_s=5.0, what="spans")


class OtlpSpans:
    """Takes spans that have ended, and sends them on a thread of its own, which begins with the first ones.

    In a forked child it does nothing.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the log.
        guard: counts and logs errors.
        resource: returns the resource of this process, with what is known of it by now.
        is_wanted: returns whether a trace is to be sent.
        is_to_relay: whether it leads to a relay: to its trackers a run is a trace of its own, also where it is a part
            of another process's.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        guard: Guard,
        resource: Callable[[], Resource],
        is_wanted: Callable[[Trace], bool] = lambda _: True,
        *,
        is_to_relay: bool = False,
    ) -> None:
        self.is_to_relay = is_to_relay
        """Whether it leads to a relay."""
        self._transport = _Spans(transport)
        self._name = name
        self._guard = guard
        self._resource = resource
        self._is_wanted = is_wanted
        self._sender: Sender | None = None
        self._pid = os.getpid()

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Queue spans without waiting for the receiver."""
        if os.getpid() != self._pid or not self._is_wanted(trace):
            return
        if self.is_to_relay:
            trace = trace.own
        if self._sender is None:
            self._sender = Sender(self._transport, self._name, self._guard, _LIMITS)
        for start in range(0, len(spans), _AT_ONCE):
            part = readable(spans[start : start + _AT_ONCE], trace, self._resource())
            content = encode_spans(part).SerializeToString()
            self._sender.put([Body(content, is_gzip=False, samples=len(part)).packed], frozenset)

    def flush(self, timeout_s: float) -> None:
        """Wait until the receiver has everything, at most so many seconds; without any, only have it sent at once."""
        if self._sender is not None and os.getpid() == self._pid:
            self._sender.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Wait as `flush` does, stop sending, and log what was not delivered."""
        if os.getpid() == self._pid:
            if self._sender is not None:
                self._sender.close(timeout_s)
            else:
                self._transport.close()


class _Spans:
    """A `Transport` to a receiver that may not know spans, as one for metrics only: it is told once, and no more."""

    def __init__(self, inner: Transport) -> None:
        self.receiver = inner.receiver
        self._inner = inner
        self._is_told = False

    def send(self, body: Body) -> Answer:
        answer = self._inner.send(body)
        if answer.verdict is not Verdict.UNKNOWN:
            return answer
        if not self._is_told:
            self._is_told = True
            reason = answer.reason.partition(": ")[0]
            log.info("%s takes no traces (%s). OTEL_TRACES_EXPORTER=none turns them off", self.receiver, reason)
        return DELIVERED

    def close(self) -> None:
        self._inner.close()


def check_traces(endpoint: str | None) -> None:
    """Check the variables and the endpoint that `collector_spans` reads.

    Raises:
        ConfigurationError: one of them is malformed.
    """
    if sdk_exports_otlp_traces():
        read_for_traces(environment(), endpoint)


def collector_spans(endpoint: str | None, resource: Callable[[], Resource], guard: Guard) -> OtlpSpans | None:
    """Make what sends spans to a collector, from OpenTelemetry's variables.

    Args:
        endpoint: the endpoint that is given for the run; OTEL_EXPORTER_OTLP_TRACES_ENDPOINT takes precedence.
        resource: returns the resource of this process.
        guard: counts and logs errors.

    Returns:
        None where OTEL_TRACES_EXPORTER names other exporters only, as `none`, and where the variables or the
        endpoint are for metrics only.

    Raises:
        ConfigurationError: one of the variables is malformed.
    """
    if not sdk_exports_otlp_traces():
        return None
    settings = read_for_traces(environment(), endpoint)
    if settings is None:
        return None
    # Reads OTEL_TRACES_SAMPLER.
    sampler = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False).sampler
    transport = transport_of(settings, guard)
    return OtlpSpans(transport, "otlp", guard, resource, lambda trace: is_sampled(trace, sampler))
