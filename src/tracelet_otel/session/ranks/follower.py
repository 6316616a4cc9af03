"""The relay of a run that another process owns: waited for in the background, then sent to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.messages import Status
from tracelet_otel.session.ranks.discovery import Finder
from tracelet_otel.session.ranks.waiting import MakeStream, RelayingExporter, StreamingExporter, WaitingExporter


class Follower:
    """A `Destination` in a rank that does not own the run: creates nothing, and ends only itself.

    Args:
        finder: finds the run.
        attributes: of this process's resource, as far as they are known late.
        who: this process, in words.
        guard: where errors end.
        to_relay: whether what is logged goes to the run's relay.
        make_stream: makes the exporter that takes whatever is measured, if there is one, once all attributes of
            its resource are known.
    """

    def __init__(
        self,
        finder: Finder,
        attributes: Callable[[], Mapping[str, Any]],
        who: str,
        guard: Guard,
        *,
        to_relay: bool = True,
        make_stream: MakeStream | None = None,
    ) -> None:
        self._to_relay = [RelayingExporter(finder, attributes, who, guard)] if to_relay else []
        self._streaming = [StreamingExporter(finder, attributes, who, guard, make_stream)] if make_stream else []
        self.owns_run = False
        """See `Destination.owns_run`."""

    @property
    def run_id(self) -> str:
        """See `Destination.run_id`; empty until the run is found."""
        return next((one.run_address.run_id for one in self._all if one.run_address), "")

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """See `Destination.exporters`."""
        return self._all

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """See `Destination.streams`."""
        return self._streaming

    @property
    def urls(self) -> Mapping[str, str]:
        """See `Destination.urls`."""
        status = self._status()
        return status.urls if status else {}

    @property
    def accounts(self) -> dict[str, Account]:
        """See `Destination.accounts`: of the run, not of this rank alone."""
        status = self._status()
        return dict(status.accounts) if status else {}

    @property
    def errors(self) -> Mapping[str, int]:
        """See `Destination.errors`."""
        return {}

    def wait_for_room(self, timeout_s: float) -> None:
        """See `Destination.wait_for_room`."""
        for exporter in self._all:
            exporter.wait_for_room(timeout_s)

    def finish(self, deadline_s: float) -> None:
        """See `Destination.finish`: what the relay has accepted is its own to deliver."""

    def abandon(self) -> None:
        """See `Destination.abandon`."""
        for exporter in self._all:
            exporter.shutdown(timeout_millis=0)

    @property
    def _all(self) -> list[WaitingExporter]:
        return [*self._to_relay, *self._streaming]

    def _status(self) -> Status | None:
        return next((one.status() for one in self._to_relay), None)
