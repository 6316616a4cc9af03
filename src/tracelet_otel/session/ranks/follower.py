"""The role of a rank that does not own its run: it waits for the run in the background, then sends to it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.events import OtlpEvents, collector_events
from tracelet_otel.exporters.otlp.exporter import prepare_collector
from tracelet_otel.exporters.otlp.spans import OtlpSpans, collector_spans
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.files import SPOOL_SUFFIX
from tracelet_otel.resource.membership import Membership
from tracelet_otel.session.calls import NO_RELAY, Address
from tracelet_otel.session.ranks.discovery import Find
from tracelet_otel.session.role import resource_with
from tracelet_otel.settings import Settings

if TYPE_CHECKING:
    from tracelet_otel.protocol.messages import Status
    from tracelet_otel.session.ranks.waiting import RelayingExporter, WaitingExporter


class Follower:
    """The `Role` of a process whose run another process owns. It creates no run, and ends only its own part.

    Args:
        membership: rank of this process, and the training in which it takes part.
        find: finds the run.
        settings: settings of the run.
    """

    def __init__(self, membership: Membership, find: Find, settings: Settings) -> None:
        self.membership = membership
        self.launching: Launching = NoLaunching()
        self.owns_run = False
        # A process that was started as a copy of another one does not know its local rank yet. The process that has
        # started it measures GPU and host.
        self.reports_hardware = membership.rank_info is not None and membership.rank_info.local_rank == 0
        self._find = find
        self._settings = settings
        self._to_relay: list[RelayingExporter] = []
        self._to_collector: list[WaitingExporter] = []
        self._is_relay_here: bool | None = None
        """Whether the run's relay is on this machine; None as long as the run is not found."""
        self._own = f".{secrets.token_hex(4)}"

    @property
    def run_id(self) -> str:
        """The run's id; empty until the run is found."""
        return next((one.run_address.run_id for one in self._all if one.run_address), "")

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """The exporter to the run's relay and the one to the collector, as far as the settings ask for them."""
        return self._all

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """The exporter to the collector, if there is one."""
        return self._to_collector

    @property
    def spool(self) -> Path | None:
        """Where files of the run wait for its relay; None where it has none.

        A process that sends its files itself has a spool of its own: it removes that at its end, when other ranks of
        this machine still put files into theirs.
        """
        own = "" if self._has_relay_here else self._own
        return self._settings.journal_dir / f"{self.run_id}{own}{SPOOL_SUFFIX}" if self._to_relay else None

    def when_found(self, call: Callable[[], object]) -> None:
        """Have something called once the run is found, before anything is sent to it."""
        for one in self._to_relay:
            one.on_found = call
        call()

    @property
    def file_relay(self) -> Callable[[], Address] | None:
        """Returns the address of the run's relay, where that is on another machine."""
        return None if self._has_relay_here or not self._to_relay else self._to_relay[0].address

    def address(self) -> Address:
        """Address of the run's relay at this moment; `NO_RELAY` where the run is not found yet."""
        found = [one for one in self._to_relay if one.run_address is not None]
        return found[0].address() if found else NO_RELAY

    def ask_attempt(self) -> int | None:
        """None: another process knows that."""
        return None

    @property
    def urls(self) -> Mapping[str, str]:
        """Addresses at which people look at the run, by tracker; empty until the run is found."""
        status = self._status()
        return status.urls if status else {}

    @property
    def hints(self) -> Mapping[str, str]:
        """None: the run's owner says what has to be done."""
        return {}

    @property
    def ids(self) -> Mapping[str, str]:
        """The trackers' own ids of the run; empty until the run is found."""
        status = self._status()
        return status.ids if status else {}

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings each tracker has taken, of all ranks together; empty until the run is found."""
        status = self._status()
        return dict(status.accounts) if status else {}

    @property
    def errors(self) -> Mapping[str, int]:
        """Always empty: the relay's errors are among those of the process that owns the run."""
        return {}

    def prepare(self) -> None:
        """Import what `open` needs."""
        import_module("tracelet_otel.session.ranks.waiting")
        if self._settings.streams:
            prepare_collector(self._settings.otlp_endpoint)

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Make the exporters. They look for the run in the background.

        Args:
            resource: not used; the run's id, name and project come from its owner.
            guard: where errors are reported.
            waits: not used; a follower always waits for the run.
        """
        from tracelet_otel.session.ranks.waiting import RelayingExporter, StreamingExporter

        who = str(self.membership.rank_info) if self.membership.rank_info else "this rank"
        settings, find = self._settings, self._find
        if settings.trackers and settings.has_relay:
            self._to_relay = [RelayingExporter(find, lambda: self.membership.attributes, who, guard)]
        if settings.streams:
            endpoint = settings.otlp_endpoint
            self._to_collector = [
                StreamingExporter(find, lambda: self.membership.attributes, who, guard, endpoint),
            ]

    def span_senders(self, resource: Resource, guard: Guard) -> list[OtlpSpans]:
        """Make what sends spans to relay and collector. Nothing may be sent before the run is found."""
        to_relay = to_collector = None
        if self._to_relay:
            relaying = self._to_relay[0]
            to_relay = relaying.spans(resource_with(resource, relaying.known_attributes))
        if self._to_collector:
            known = resource_with(resource, self._to_collector[0].known_attributes)
            to_collector = collector_spans(self._settings.otlp_endpoint, known, guard)
        return [one for one in (to_relay, to_collector) if one is not None]

    def event_senders(self, resource: Resource, guard: Guard) -> list[OtlpEvents]:
        """Make what sends events to the collector, if there is one. Nothing may be sent before the run is found."""
        if not self._to_collector:
            return []
        known = resource_with(resource, self._to_collector[0].known_attributes)
        found = collector_events(self._settings.otlp_endpoint, known, guard)
        return [] if found is None else [found]

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until at most half of each exporter's queue is taken; give up after `timeout_s` without progress."""
        for exporter in self._all:
            exporter.wait_for_room(timeout_s)

    def finish(self, deadline_s: float, say: Callable[[str], None]) -> Status | None:
        """None: the relay delivers what it has accepted, and the run's owner waits for that."""
        return None

    def abandon(self) -> None:
        """Stop sending at once."""
        for exporter in self._all:
            exporter.shutdown(timeout_millis=0)

    def close(self) -> None:
        """Do nothing: another process owns the run."""

    @property
    def _has_relay_here(self) -> bool:
        if self._is_relay_here is None and self.run_id:
            # The relay makes its journal before this process can find the run, and may remove it before this one ends.
            self._is_relay_here = (self._settings.journal_dir / f"{self.run_id}.journal").exists()
        return bool(self._is_relay_here)

    @property
    def _all(self) -> list[WaitingExporter]:
        return [*self._to_relay, *self._to_collector]

    def _status(self) -> Status | None:
        return next((one.status() for one in self._to_relay), None)
