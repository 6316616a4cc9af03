"""The role of the process that owns a run: it has the run created in each backend, and ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.otlp.events import OtlpEvents, collector_events
from tracelet_otel.exporters.otlp.exporter import OtlpExporter, collector_exporter, prepare_collector
from tracelet_otel.exporters.otlp.records import settings_beside
from tracelet_otel.exporters.otlp.signals import LOGS, TRACES
from tracelet_otel.exporters.otlp.spans import OtlpSpans, collector_spans
from tracelet_otel.exporters.registry import import_trackers, specs, takes_traces
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.files import SPOOL_SUFFIX
from tracelet_otel.protocol.messages import Status
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, is_first_of_node
from tracelet_otel.session.calls import NO_RELAY, Address
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.session.role import resource_with
from tracelet_otel.settings import OTLP, Settings

if TYPE_CHECKING:
    from tracelet_otel.session.relayed import RelayConnection, Relayed


class Owner:
    """The `Role` of the process that owns the run: rank 0, or the only process.

    All trackers are reached through one relay, with one exporter. A collector has an exporter of its own.

    Args:
        settings: settings of the run.
        rank_info: rank of this process according to its environment; None where no launcher set one.
        announcement: makes the run known to other ranks; None where other ranks could send to nothing.
        parent: the run that this one is a part of, whose relay takes this one, too; None for none.
    """

    def __init__(
        self,
        settings: Settings,
        rank_info: RankInfo | None,
        announcement: RunAnnouncement | None,
        parent: Parent | None = None,
    ) -> None:
        self.membership = Membership(rank_info)
        self.launching: Launching = announcement or NoLaunching()
        self.owns_run = True
        self.reports_hardware = is_first_of_node(rank_info)
        self.run_id = ""
        self.connection: RelayConnection | None = None
        """The relay of the run; None before `open`, and without trackers."""
        self._relayed: Relayed | None = None
        self._stream: OtlpExporter | None = None
        self._settings = settings
        self._announcement = announcement
        self._parent = parent if parent is not None and settings.has_relay else None
        """Of the run whose relay takes this one. An embedded relay has one run only."""

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """The exporter to the relay and the one to the collector, as far as the run has them."""
        return [*([self._relayed.exporter] if self._relayed else ()), *self.streams]

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """The exporter to the collector, if there is one."""
        return [self._stream] if self._stream else []

    @property
    def spool(self) -> Path | None:
        """Where files of the run wait for its relay; None where there is none, but a collector perhaps."""
        if self.connection is None or not self.connection.tells:
            return None
        return self._settings.journal_dir / f"{self.run_id}{SPOOL_SUFFIX}"

    def when_found(self, call: Callable[[], object]) -> None:
        """Call it: the run is there."""
        call()

    @property
    def file_relay(self) -> Callable[[], Address] | None:
        """Returns the address of a relay that this process has not started, and which may be on another machine."""
        return self.address if self._settings.relay_endpoint is not None else None

    @property
    def urls(self) -> Mapping[str, str]:
        """Addresses at which people look at the run, by tracker, and the collector's endpoint."""
        trackers = self.connection.urls if self.connection else {}
        return {**trackers, **({OTLP: self._stream.receiver} if self._stream else {})}

    @property
    def hints(self) -> Mapping[str, str]:
        """What has to be done before people can see the run, by tracker; only of those where that is anything."""
        return self.connection.hints if self.connection else {}

    @property
    def ids(self) -> Mapping[str, str]:
        """The trackers' own ids of the run, as far as they are known."""
        return self._relayed.ids if self._relayed else {}

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings each backend has taken; those that the relay has not accepted yet are in no number."""
        trackers = self._relayed.accounts if self._relayed else {}
        return {**trackers, **({OTLP: self._stream.account} if self._stream else {})}

    def ask_attempt(self) -> int | None:
        """The last attempt at the run that its relay or trackers know of; 0 where it is new, None for unknown."""
        status = self.connection.status(self.run_id) if self.connection is not None else None
        return None if status is None else status.attempt

    @property
    def errors(self) -> Mapping[str, int]:
        """How many errors the relay has counted, by what could not be done."""
        return self._relayed.errors if self._relayed else {}

    def prepare(self) -> None:
        """Import what `open` needs. For a relay process this is only the code that starts it, and no tracker."""
        settings = self._settings
        if settings.streams:
            prepare_collector(settings.otlp_endpoint)
        if not settings.trackers:
            return
        import_module("tracelet_otel.session.relayed")
        if settings.relay_endpoint is not None or self._parent is not None:
            import_module("tracelet_otel.session.join")
        elif settings.relay:
            import_module("tracelet_otel.session.launch")
            specs()
        else:
            import_module("tracelet_otel.session.embedded")
            import_trackers(settings)

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Have the run created in each tracker, make the exporters, and announce the run to other ranks.

        Args:
            resource: attributes of the run's resource.
            guard: where errors are reported.
            waits: whether to start the run even if a tracker cannot be reached, and wait for that tracker.

        Raises:
            TraceletError: a tracker can neither create nor continue the run, or the collector's endpoint is malformed.
        """
        settings = self._settings
        # The collector comes first, so that an error in its settings is raised before any tracker has created a run.
        if settings.streams:
            for signal in (TRACES, LOGS):
                settings_beside(signal, settings.otlp_endpoint)
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
            self._announcement.open(resource, self.address, guard)

    def span_senders(self, resource: Resource, guard: Guard) -> list[OtlpSpans]:
        """Make what sends spans to the relay, where a tracker takes them, and to the collector, if there is one."""
        known = resource_with(resource, lambda: self.membership.attributes)
        to_collector = collector_spans(self._settings.otlp_endpoint, known, guard) if self._stream else None
        to_relay = None
        if self._relayed is not None and (self._settings.relay_endpoint or takes_traces(self._settings)):
            to_relay = self._relayed.spans(known)
        return [one for one in (to_relay, to_collector) if one is not None]

    def event_senders(self, resource: Resource, guard: Guard) -> list[OtlpEvents]:
        """Make what sends events to the collector, if there is one."""
        if self._stream is None:
            return []
        known = resource_with(resource, lambda: self.membership.attributes)
        found = collector_events(self._settings.otlp_endpoint, known, guard)
        return [] if found is None else [found]

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until at most half of each exporter's queue is taken; give up after `timeout_s` without progress."""
        for exporter in self._own_exporters:
            exporter.wait_for_room(timeout_s)

    def finish(self, deadline_s: float, say: Callable[[str], None]) -> Status | None:
        """Wait for the trackers, but not with the relay of a parent, which goes on.

        The collector was waited for already, when its exporter was shut down.
        """
        if self._relayed is None or self._parent is not None:
            return None
        return self._relayed.finish(deadline_s, say)

    def abandon(self) -> None:
        """Stop sending at once. A relay still delivers what it has accepted."""
        for exporter in self._own_exporters:
            exporter.shutdown(timeout_millis=0)
        if self.connection is not None:
            self.connection.release(0)

    def close(self) -> None:
        """Withdraw the announcement, so that other ranks do not find the run any more."""
        if self._announcement is not None:
            self._announcement.close()

    @property
    def _own_exporters(self) -> list[OtlpExporter]:
        found = [self._relayed.exporter if self._relayed else None, self._stream]
        return [exporter for exporter in found if exporter is not None]

    def _relayed_attributes(self) -> Mapping[str, Any]:
        # Other ranks cannot reach an embedded relay. It does not get the rank of this process, so it waits for none.
        return self.membership.attributes if self._settings.has_relay else {}

    def address(self) -> Address:
        """Address of the run's relay at this moment; `NO_RELAY` where there is none that others reach."""
        return self.connection.address if self.connection else NO_RELAY

    def _open_trackers(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool) -> None:
        from tracelet_otel.session.relayed import Relayed

        settings, run_id = self._settings, str(resource[semconv.RUN_ID])
        if not settings.has_relay and "relay" not in settings.model_fields_set:
            log.warning(
                "there is no relay on %s: trackers live in this process, and what they have not taken when it ends "
                "stays in %s, for `tracelet-otel replay`. relay=False says that this is meant",
                sys.platform,
                settings.journal_dir,
            )
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
        if self._parent is not None:
            from tracelet_otel.session.join import ParentsRelay

            return ParentsRelay(self._parent.find, resource, run_id)
        if settings.relay_endpoint is not None:
            from tracelet_otel.session.join import JoinedRelay

            return JoinedRelay(settings, resource, run_id)
        if settings.relay:
            from tracelet_otel.session.launch import RelayProcess

            return RelayProcess(settings, resource, run_id, waits=waits)
        from tracelet_otel.session.embedded import EmbeddedRelay

        return EmbeddedRelay(settings, resource, run_id, waits=waits)
