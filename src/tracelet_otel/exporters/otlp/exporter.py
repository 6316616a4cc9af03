"""The exporter that sends the stream to an OTLP endpoint: a collector, or a database that speaks OTLP."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import Histogram, ObservableCounter, ObservableUpDownCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.delivery import OtlpDelivery
from tracelet_otel.exporters.otlp.settings import read
from tracelet_otel.exporters.otlp.stock import import_exporter, stock_exporter
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.metrics_data import with_attributes

_OTHER_KINDS: Final = (UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter)


def prepare(endpoint: str | None) -> None:
    """Import now, on the calling thread, what an exporter to this endpoint needs; see `OtlpExporter`."""
    import_exporter(read(environment(), endpoint).protocol)


class OtlpExporter(MetricExporter):
    """Exports every sample by OTLP, as the standard variables say.

    Each sample arrives; where an answer was lost it arrives twice, which `tracelet.sequence` tells. Everything is
    cumulative, for databases that take nothing else. In a forked child it does nothing: what it holds is its
    parent's to send.

    Args:
        endpoint: over that of the standard variables; without a path, HTTP gets that of metrics. By gRPC, one
            without `http://` or `https://` has TLS unless OTEL_EXPORTER_OTLP_INSECURE is true.
        attributes: of the resource, where they are known later than it; over those that it has.
        guard: where errors end.

    Raises:
        ConfigurationError: the endpoint or a standard variable is not of its form.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        attributes: Callable[[], Mapping[str, Any]] = dict,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(
            preferred_temporality={
                **dict.fromkeys(_OTHER_KINDS, AggregationTemporality.CUMULATIVE),
                **samples.preferred_temporality(),
            },
            preferred_aggregation=samples.preferred_aggregation(),
        )
        settings = read(environment(), endpoint)
        self.endpoint = settings.shown_endpoint
        """Where it sends to, as it may be shown."""
        self._attributes = attributes
        self._guard = guard or Guard()
        self._pid = os.getpid()
        self._delivery = OtlpDelivery(*stock_exporter(settings, self._guard), self.endpoint, self._guard)

    @property
    def account(self) -> Account:
        """What became of the samples so far."""
        return self._delivery.account

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Queue an export; the endpoint is served by a thread of its own."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        try:
            taken = self._delivery.put(with_attributes(metrics_data, self._attributes()))
        except Exception as error:
            self._guard.report("an export was dropped", error)
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS if taken else MetricExportResult.FAILURE

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until less than half of what fits in waits, or until the endpoint has taken nothing for so long."""
        if os.getpid() == self._pid:
            self._delivery.wait_for_room(timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the endpoint has taken everything; gives up after 5 s in which it took nothing."""
        return os.getpid() != self._pid or self._delivery.wait(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Wait as `force_flush` does, send no more, and say what was not delivered."""
        # The SDK's periodic reader passes its deadline as `timeout`, in milliseconds.
        timeout_s = max(kwargs.get("timeout", timeout_millis), 0) / 1e3
        if os.getpid() == self._pid:
            self._delivery.close(timeout_s)
