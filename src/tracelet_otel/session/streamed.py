"""A run whose stream also goes to a receiver of OpenTelemetry's protocol, as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel.exporters.destination import Destination
from tracelet_otel.exporters.otlp.exporter import OtlpExporter
from tracelet_otel.protocol.account import Account
from tracelet_otel.settings import OTLP


class Streamed:
    """A `Destination` beside another one, in the process that owns the run.

    Args:
        inner: of trackers, or none.
        stream: takes whatever is measured.
    """

    def __init__(self, inner: Destination, stream: OtlpExporter) -> None:
        self._inner = inner
        self._stream = stream
        self.owns_run = inner.owns_run
        """See `Destination.owns_run`."""

    @property
    def run_id(self) -> str:
        """See `Destination.run_id`."""
        return self._inner.run_id

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """See `Destination.exporters`."""
        return [*self._inner.exporters, self._stream]

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """See `Destination.streams`."""
        return [self._stream]

    @property
    def urls(self) -> Mapping[str, str]:
        """See `Destination.urls`."""
        return {**self._inner.urls, OTLP: self._stream.receiver}

    @property
    def accounts(self) -> dict[str, Account]:
        """See `Destination.accounts`."""
        return {**self._inner.accounts, OTLP: self._stream.account}

    @property
    def errors(self) -> Mapping[str, int]:
        """See `Destination.errors`."""
        return self._inner.errors

    def wait_for_room(self, timeout_s: float) -> None:
        """See `Destination.wait_for_room`."""
        self._inner.wait_for_room(timeout_s)
        self._stream.wait_for_room(timeout_s)

    def finish(self, deadline_s: float) -> None:
        """See `Destination.finish`; the shutdown of the stream's exporter has done its part."""
        self._inner.finish(deadline_s)

    def abandon(self) -> None:
        """See `Destination.abandon`."""
        self._stream.shutdown(timeout_millis=0)
        self._inner.abandon()
