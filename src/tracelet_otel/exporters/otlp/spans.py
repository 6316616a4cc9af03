"""Sends the spans of this process to one receiver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.exporter import transport_of
from tracelet_otel.exporters.otlp.records import OtlpRecords, settings_beside
from tracelet_otel.exporters.otlp.signals import TRACES
from tracelet_otel.exporters.otlp.transport import Transport
from tracelet_otel.protocol.spans import FinishedSpan, Trace, is_sampled, readable

_AT_ONCE: Final = 1_000
"""Spans of one request, which are about 300 bytes each."""


class OtlpSpans(OtlpRecords):
    """Takes spans that have ended, and sends them.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the log.
        guard: counts and logs errors.
        resource: returns the resource of this process, with what is known of it by now.
        is_wanted: returns whether a trace is to be sent.
        is_to_relay: whether it leads to a relay: to its trackers a run is a trace of its own, also where it is a part
            of another process's.
    """

    signal = TRACES

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
        super().__init__(transport, name, guard, resource, is_to_relay=is_to_relay)
        self._is_wanted = is_wanted

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Queue spans without waiting for the receiver."""
        if not self.is_of_this_process or not self._is_wanted(trace):
            return
        if self.is_to_relay:
            trace = trace.own
        for start in range(0, len(spans), _AT_ONCE):
            part = readable(spans[start : start + _AT_ONCE], trace, self._resource())
            self.put(encode_spans(part).SerializeToString(), len(part))


def collector_spans(endpoint: str | None, resource: Callable[[], Resource], guard: Guard) -> OtlpSpans | None:
    """Make what sends spans to a collector, as `settings_beside` has it for traces.

    Args:
        endpoint: the endpoint that is given for the run.
        resource: returns the resource of this process.
        guard: counts and logs errors.

    Returns:
        None where spans are not to be sent.

    Raises:
        ConfigurationError: one of the variables is malformed.
    """
    settings = settings_beside(TRACES, endpoint)
    if settings is None:
        return None
    # Reads OTEL_TRACES_SAMPLER.
    sampler = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False).sampler
    transport = transport_of(settings, guard)
    return OtlpSpans(transport, "otlp", guard, resource, lambda trace: is_sampled(trace, sampler))
