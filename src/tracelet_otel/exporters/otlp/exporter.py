"""The metric exporter that sends all samples as OTLP requests, to a relay or to any other receiver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import Histogram, ObservableCounter, ObservableUpDownCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation

from tracelet_otel._support.environment import environment, sdk_disabled, sdk_exports_otlp
from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.exporters.otlp.sender import Sender
from tracelet_otel.exporters.otlp.settings import HTTP, OtlpSettings, named, read
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
"""Temporality of kinds of instruments for which `samples` has no preference: some databases accept no other."""
_TO_COLLECTOR: Final = Limits(request_bytes=2 * 2**20, patience_s=5.0)
"""Limits for collectors, which accept at most 4 MiB by gRPC."""


class OtlpExporter(MetricExporter):
    """Queues each export; a thread of its own sends it, in as many attempts as that takes.

    Each sample is delivered at least once. Where the receiver's answer was lost it is delivered twice, and the receiver
    recognizes it by `tracelet.sequence`. In a forked child the exporter does nothing, since the parent sends what is
    queued.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the log.
        guard: counts and logs errors.
        limits: how much is sent at once and kept, and how long is waited.
        attributes: returns resource attributes that become known later than the resource; they take precedence over
            the resource's own.
        temporality: preferred temporality of kinds of instruments for which `samples` has no preference.
        aggregation: preferred aggregation of such kinds.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        guard: Guard,
        limits: Limits,
        attributes: Callable[[], Mapping[str, Any]] = dict,
        temporality: Mapping[type, AggregationTemporality] | None = None,
        aggregation: Mapping[type, Aggregation] | None = None,
    ) -> None:
        super().__init__(
            preferred_temporality={**(temporality or {}), **samples.preferred_temporality()},
            preferred_aggregation={**(aggregation or {}), **samples.preferred_aggregation()},
        )
        self.receiver = transport.receiver
        """Name or address of the receiver, without secrets."""
        self.sender = Sender(transport, name, guard, limits)
        self._attributes = attributes
        self._guard = guard
        self._request_bytes = limits.request_bytes
        self._pid = os.getpid()

    @property
    def account(self) -> Account:
        """How many samples were delivered, were refused and are pending."""
        # A forked child has the lock of its parent, and not the thread that would open it again.
        return self.sender.account if os.getpid() == self._pid else Account(0, 0, 0, None)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Queue an export without waiting for the receiver; fails if it could not be queued."""
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
        """Wait until at most half of the queue's room is taken.

        Args:
            timeout_s: give up after this many seconds in which nothing was delivered.
        """
        if os.getpid() == self._pid:
            self.sender.wait_for_room(timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the receiver has everything; give up early where it takes nothing for `Limits.patience_s`."""
        return os.getpid() != self._pid or self.sender.wait(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Wait as `force_flush` does, stop sending, and log what was not delivered."""
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
        return [body.packed for body in bodies]


def prepare_collector(endpoint: str | None) -> None:
    """Import the modules that `collector_exporter` needs for this endpoint, now and on the calling thread."""
    if read(environment(), endpoint).protocol == HTTP:
        import tracelet_otel.exporters.otlp.http
    else:
        import tracelet_otel.exporters.otlp.grpc  # noqa: F401


def collector_variables() -> dict[str, str]:
    """Those variables of this process that say to which collector metrics go, and how.

    Returns:
        The variables by name. None where no endpoint is named, the SDK is disabled, or OTEL_METRICS_EXPORTER names
        other exporters only.
    """
    return {} if sdk_disabled() or not sdk_exports_otlp() else named(environment())


def collector_exporter(
    endpoint: str | None = None,
    attributes: Callable[[], Mapping[str, Any]] = dict,
    guard: Guard | None = None,
    limits: Limits = _TO_COLLECTOR,
    variables: Mapping[str, str] | None = None,
) -> OtlpExporter:
    """Create the exporter to a collector, or to a database that accepts OTLP, from OpenTelemetry's variables.

    Everything that it exports is cumulative.

    Args:
        endpoint: takes precedence over that of the variables. For HTTP, one without a path gets the path of metrics.
            For gRPC, one without `http://` or `https://` uses TLS unless OTEL_EXPORTER_OTLP_INSECURE is true.
        attributes: returns resource attributes that become known later than the resource; they take precedence over
            the resource's own.
        guard: counts and logs errors; None for a new one.
        limits: how much is sent at once and kept, and how long is waited.
        variables: OpenTelemetry's variables; None for those of this process.

    Raises:
        ConfigurationError: the endpoint or one of the variables is malformed.
    """
    settings = read(environment() if variables is None else variables, endpoint)
    guard = guard or Guard()
    try:
        transport = transport_of(settings, guard)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the OTLP exporter for {settings.protocol} cannot be made: {error}") from error
    exponential: Mapping[type, Aggregation] = {Histogram: ExponentialBucketHistogramAggregation()}
    aggregation = exponential if settings.has_exponential_histograms else None
    return OtlpExporter(transport, "otlp", guard, limits, attributes, CUMULATIVE, aggregation)


def transport_of(settings: OtlpSettings, guard: Guard) -> Transport:
    """Make the transport of the settings' protocol."""
    if settings.protocol == HTTP:
        from tracelet_otel.exporters.otlp.http import HttpTransport

        return HttpTransport(settings, guard)
    from tracelet_otel.exporters.otlp.grpc import GrpcTransport

    return GrpcTransport(settings, guard)
