"""The `MetricExporter` between OpenTelemetry's SDK and a tracker."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import decode
from tracelet_otel.protocol.hparam_reports import Reports


class TrackerExporter(MetricExporter):
    """Exports every sample to one tracker.

    Nothing is imported, launched or created before the first reading that carries a step, unless
    `open` is called. In a forked child it does nothing: what it holds is its parent's to deliver.

    Args:
        make_tracker: called once, when the tracker is first needed.
        guard: where errors end.
    """

    def __init__(self, make_tracker: Callable[[], Tracker], guard: Guard | None = None) -> None:
        super().__init__(
            preferred_temporality=samples.preferred_temporality(),
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self._make_tracker = make_tracker
        self._guard = guard or Guard()
        self._pid = os.getpid()
        self._made = threading.Lock()
        self._delivery: Delivery | None = None
        self._reports = Reports()

    @property
    def account(self) -> Account:
        """What became of the readings so far."""
        return self._delivery.account if self._delivery else Account(0, 0, 0, None)

    def open(self, resource: Mapping[str, Any]) -> RunLocation:
        """Create or continue the run now, so that what is wrong shows at once.

        Args:
            resource: attributes of the resource that will be exported.

        Raises:
            TraceletError: the run cannot be had.
        """
        return self._make_delivery().open(resource)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Queue all samples; the tracker is served by a thread of its own."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        try:
            for batch in decode(metrics_data):
                # What GPU and host say is no run.
                if self._delivery is None and (batch.is_system or not batch.readings):
                    continue
                self._make_delivery().put(batch, self._reports.add("", batch.params))
        except Exception as error:
            self._guard.report("an export was dropped", error)
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until less than half of what fits in waits, or until the tracker has taken nothing for so long."""
        if self._delivery is not None and os.getpid() == self._pid:
            self._delivery.wait_for_room(timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the tracker has taken everything, or has taken nothing for `timeout_millis`."""
        if self._delivery is None or os.getpid() != self._pid:
            return True
        return self._delivery.wait(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Deliver what is left and end the run."""
        # The SDK's periodic reader passes its deadline as `timeout`, in milliseconds.
        patience_s = max(kwargs.get("timeout", timeout_millis), 0) / 1e3
        if self._delivery is not None and os.getpid() == self._pid:
            self._delivery.close(patience_s)

    def _make_delivery(self) -> Delivery:
        with self._made:
            if self._delivery is None:
                self._delivery = Delivery(self._make_tracker(), self._guard)
            return self._delivery
