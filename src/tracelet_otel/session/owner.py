"""The role of a process that owns its run: it has the run created, and ends it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.otlp.exporter import OtlpExporter, collector_exporter, prepare_collector
from tracelet_otel.exporters.registry import import_trackers, specs
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.protocol.account import Account
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, is_first_of_node
from tracelet_otel.session.calls import NO_RELAY, Address
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.settings import OTLP, Settings

if TYPE_CHECKING:
    from tracelet_otel.session.relayed import RelayConnection, Relayed


class Owner:
    """The `Role` of the process that owns the run: the only one, or that of rank 0.

    Its trackers, if there are any, are behind one relay. The stream, if it goes to a collector as well, has an exporter
    of its own.

    Args:
        settings: what the run is to do.
        rank_info: rank of this process, as far as its environment tells.
        announcement: makes the run known to other ranks; None where they would have nowhere to send to.
    """

    def __init__(self, settings: Settings, rank_info: RankInfo | None, announcement: RunAnnouncement | None) -> None:
        self.membership = Membership(rank_info)
        self.launching: Launching = announcement or NoLaunching()
        self.owns_run = True
        self.reports_hardware = is_first_of_node(rank_info)
        self.run_id = ""
        self.connection: RelayConnection | None = None
        """The relay that has the run."""
        self._relayed: Relayed | None = None
        self._stream: OtlpExporter | None = None
        self._settings = settings
        self._announcement = announcement

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """One to the relay and one to the collector, as far as there are these."""
        return [*([self._relayed.exporter] if self._relayed else ()), *self.streams]

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """The exporter to the collector, if there is one."""
        return [self._stream] if self._stream else []

    @property
    def urls(self) -> Mapping[str, str]:
        """Where people look at the run, by tracker, and the collector's endpoint."""
        trackers = self.connection.urls if self.connection else {}
        return {**trackers, **({OTLP: self._stream.receiver} if self._stream else {})}

    @property
    def accounts(self) -> dict[str, Account]:
        """What each tracker and the collector have taken; what the relay has not accepted yet is in none."""
        trackers = self._relayed.accounts if self._relayed else {}
        return {**trackers, **({OTLP: self._stream.account} if self._stream else {})}

    @property
    def errors(self) -> Mapping[str, int]:
        """Errors that the relay has counted."""
        return self._relayed.errors if self._relayed else {}

    def prepare(self) -> None:
        """Import what `open` needs: of a relay that is launched nothing but what launches it."""
        settings = self._settings
        if settings.streams:
            prepare_collector(settings.otlp_endpoint)
        if not settings.trackers:
            return
        import_module("tracelet_otel.session.relayed")
        if settings.relay_endpoint is not None:
            import_module("tracelet_otel.session.join")
        elif settings.relay:
            import_module("tracelet_otel.session.launch")
            specs()
        else:
            import_module("tracelet_otel.session.embedded")
            import_trackers(settings)

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Have the run created in each tracker, and make it known to other ranks.

        Args:
            resource: attributes of the run's resource.
            guard: where errors are reported.
            waits: whether a tracker that cannot be reached is waited for.

        Raises:
            TraceletError: a tracker does not give us the run, or the collector's endpoint is malformed.
        """
        settings = self._settings
        # First the stream: what is wrong with it shows before any tracker has a run.
        if settings.streams:
            self._stream = collector_exporter(settings.otlp_endpoint, lambda: self.membership.attributes, guard)
        try:
            if settings.trackers:
                self._open_trackers(resource, guard, waits=waits)
        except BaseException:
            if self._stream is not None:
                self._stream.shutdown(timeout_millis=0)
            raise
        self.run_id = str(resource[semconv.RUN_ID])
        if self._announcement is not None:
            self._announcement.open(resource, self._address, guard)

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until there is room in each exporter, or for so long without any progress."""
        for exporter in self._own_exporters:
            exporter.wait_for_room(timeout_s)

    def finish(self, deadline_s: float) -> None:
        """Wait for the trackers. The shutdown of the stream's exporter has waited for the collector."""
        if self._relayed is not None:
            self._relayed.finish(deadline_s)

    def abandon(self) -> None:
        """Send no more. A relay goes on with what it has."""
        for exporter in self._own_exporters:
            exporter.shutdown(timeout_millis=0)
        if self.connection is not None:
            self.connection.release(0)

    def close(self) -> None:
        """Remove what other ranks find the run by."""
        if self._announcement is not None:
            self._announcement.close()

    @property
    def _own_exporters(self) -> list[OtlpExporter]:
        found = [self._relayed.exporter if self._relayed else None, self._stream]
        return [exporter for exporter in found if exporter is not None]

    def _relayed_attributes(self) -> Mapping[str, Any]:
        # An embedded relay cannot be reached by other ranks. It is not told of this one's rank, and so waits for none.
        return self.membership.attributes if self._settings.has_relay else {}

    def _address(self) -> Address:
        return self.connection.address if self.connection else NO_RELAY

    def _open_trackers(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool) -> None:
        from tracelet_otel.session.relayed import Relayed

        settings, run_id = self._settings, str(resource[semconv.RUN_ID])
        try:
            self.connection = self._connect(resource, run_id)
        except TrackerUnavailableError as error:
            if not waits or settings.relay_endpoint is not None:
                raise
            guard.report("a backend is waited for", str(error))
            self.connection = self._connect(resource, run_id, waits=True)
        on_revived = self._announcement.tell if self._announcement is not None else lambda: None
        self._relayed = Relayed(self.connection, run_id, self._relayed_attributes, guard, on_revived)

    def _connect(self, resource: Mapping[str, Any], run_id: str, *, waits: bool = False) -> RelayConnection:
        settings = self._settings
        if settings.relay_endpoint is not None:
            from tracelet_otel.session.join import JoinedRelay

            return JoinedRelay(settings, resource, run_id)
        if settings.relay:
            from tracelet_otel.session.launch import RelayProcess

            return RelayProcess(settings, resource, run_id, waits=waits)
        if "relay" not in settings.model_fields_set:
            log.warning(
                "there is no relay on %s: trackers live in this process, and what they have not taken when it ends "
                "stays in %s, for `tracelet-otel replay`. relay=False says that this is meant",
                sys.platform,
                settings.journal_dir,
            )
        from tracelet_otel.session.embedded import EmbeddedRelay

        return EmbeddedRelay(settings, resource, run_id, waits=waits)
