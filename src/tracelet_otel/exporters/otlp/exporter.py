"""The exporter that sends every sample as an OTLP request, to a relay or to any other receiver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import Histogram, ObservableCounter, ObservableUpDownCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.sender import Limits, Sender
from tracelet_otel.exporters.otlp.settings import HTTP, read
from tracelet_otel.exporters.otlp.transport import Transport
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.encode import encode
from tracelet_otel.protocol.metrics_data import instruments, sample_count, with_attributes
from tracelet_otel.protocol.requests import count_samples, parse, split

_OTHER_KINDS: Final = (UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter)
CUMULATIVE: Final[Mapping[type, AggregationTemporality]] = dict.fromkeys(
    _OTHER_KINDS, AggregationTemporality.CUMULATIVE
)
"""For databases that take nothing else."""
_TO_COLLECTOR: Final = Limits(request_bytes=2 * 2**20, patience_s=5.0)
"""A collector takes at most 4 MiB by gRPC."""


class OtlpExporter(MetricExporter):
    """Queues each export; a thread of its own sends it, as often as that takes.

    Each sample arrives. Where an answer was lost it arrives twice, which `tracelet.sequence` tells. In a forked child
    the exporter does nothing: what it holds is its parent's to send.

    Args:
        transport: sends to the receiver.
        name: what the receiver is called in the log.
        guard: where errors end.
        limits: how much is sent at once, kept and waited for.
        attributes: of the resource, where they are known later than it; over those that it has.
        temporality: of kinds of instruments that are not our own.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        guard: Guard,
        limits: Limits,
        attributes: Callable[[], Mapping[str, Any]] = dict,
        temporality: Mapping[type, AggregationTemporality] | None = None,
    ) -> None:
        super().__init__(
            preferred_temporality={**(temporality or {}), **samples.preferred_temporality()},
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self.receiver = transport.receiver
        """Who it sends to, as it may be shown."""
        self.sender = Sender(transport, name, guard, limits)
        self._attributes = attributes
        self._guard = guard
        self._request_bytes = limits.request_bytes
        self._pid = os.getpid()

    @property
    def account(self) -> Account:
        """What became of the samples so far."""
        return self.sender.account

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Queue an export; waits for nobody."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        number = sample_count(metrics_data)
        try:
            bodies = self._bodies_of(metrics_data, number)
            is_taken = self.sender.put(bodies, lambda: instruments(metrics_data))
        except Exception as error:
            self._guard.report("an export was dropped", error)
            self._guard.count(UNDELIVERED, number)
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS if is_taken else MetricExportResult.FAILURE

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until there is room for as much again as waits, or until nothing was delivered for so long."""
        if os.getpid() == self._pid:
            self.sender.wait_for_room(timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the receiver has everything; gives up early where it takes nothing for the limits' patience."""
        return os.getpid() != self._pid or self.sender.wait(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Wait as `force_flush` does, send no more, and say what was not delivered."""
        # The SDK's periodic reader passes its deadline as `timeout`, in milliseconds.
        timeout_s = max(kwargs.get("timeout", timeout_millis), 0) / 1e3
        if os.getpid() == self._pid:
            self.sender.close(timeout_s)

    def _bodies_of(self, data: MetricsData, number: int) -> list[Body]:
        content = encode(with_attributes(data, self._attributes()))
        parts = [(content, number)]
        if len(content) > self._request_bytes:
            requests = split(parse(content), self._request_bytes)
            parts = [(request.SerializeToString(), count_samples(request)) for request in requests]
        repeats = None if number else instruments(data)
        bodies = [Body(part, is_gzip=False, samples=count, repeats=repeats) for part, count in parts]
        if self.sender.is_idle and len(bodies) == 1:
            return bodies
        return [Body(body.gzip, is_gzip=True, samples=body.samples, repeats=repeats) for body in bodies]


def prepare_collector(endpoint: str | None) -> None:
    """Import now, on the calling thread, what `collector_exporter` needs for this endpoint."""
    if read(environment(), endpoint).protocol == HTTP:
        import tracelet_otel.exporters.otlp.http
    else:
        import tracelet_otel.exporters.otlp.grpc  # noqa: F401


def collector_exporter(
    endpoint: str | None = None,
    attributes: Callable[[], Mapping[str, Any]] = dict,
    guard: Guard | None = None,
    limits: Limits = _TO_COLLECTOR,
) -> OtlpExporter:
    """The exporter to a collector or to a database that speaks OTLP, as the standard variables say.

    Everything that it exports is cumulative.

    Args:
        endpoint: over that of the standard variables; without a path, HTTP gets that of metrics. By gRPC, one
            without `http://` or `https://` has TLS unless OTEL_EXPORTER_OTLP_INSECURE is true.
        attributes: of the resource, where they are known later than it; over those that it has.
        guard: where errors end.
        limits: how much is sent at once, kept and waited for.

    Raises:
        ConfigurationError: the endpoint or a standard variable is not of its form.
    """
    settings = read(environment(), endpoint)
    guard = guard or Guard()
    transport: Transport
    if settings.protocol == HTTP:
        from tracelet_otel.exporters.otlp.http import HttpTransport

        transport = HttpTransport(settings, guard)
    else:
        from tracelet_otel.exporters.otlp.grpc import GrpcTransport

        transport = GrpcTransport(settings, guard)
    return OtlpExporter(transport, "otlp", guard, limits, attributes, CUMULATIVE)
