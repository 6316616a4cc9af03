"""What a process does for its run: own it, follow another process's, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.destination import Destination, Nowhere
from tracelet_otel.exporters.otlp.exporter import OtlpExporter, collector_exporter
from tracelet_otel.exporters.otlp.exporter import prepare as prepare_stream
from tracelet_otel.exporters.registry import import_trackers, specs
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, is_first_of_node
from tracelet_otel.session.calls import NO_RELAY, Address
from tracelet_otel.session.ranks.announcement import RunAnnouncement
from tracelet_otel.session.ranks.discovery import Finder
from tracelet_otel.session.streamed import Streamed
from tracelet_otel.settings import Settings

if TYPE_CHECKING:
    from tracelet_otel.session.relayed import RelayConnection


class Role(Protocol):
    """Of one process in one run."""

    membership: Membership
    launching: Launching
    reports_hardware: bool
    """Whether this process is the one of its node that reads GPU and host."""

    def prepare(self) -> None:
        """Import what `open` needs, which is called on another thread."""
        ...

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> Destination:
        """Where this process's stream goes.

        Args:
            resource: attributes of the run's.
            guard: where errors end.
            waits: whether a backend that cannot be reached is to be waited for.

        Raises:
            TraceletError: a run cannot be had.
        """
        ...

    def close(self) -> None:
        """The run has ended, or could not begin."""
        ...


class Owning:
    """The run is this process's: it has it created, and ends it.

    Args:
        settings: what the run is to do.
        rank_info: of this process, as far as its environment tells.
        announcement: tells other ranks of the run; None where they would have nowhere to send to.
    """

    def __init__(self, settings: Settings, rank_info: RankInfo | None, announcement: RunAnnouncement | None) -> None:
        self.membership = Membership(rank_info)
        self.launching: Launching = announcement or NoLaunching()
        self.reports_hardware = is_first_of_node(rank_info)
        """See `Role.reports_hardware`."""
        self._settings = settings
        self._announcement = announcement

    def prepare(self) -> None:
        """See `Role.prepare`."""
        settings = self._settings
        if settings.streams:
            prepare_stream(settings.otlp_endpoint)
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

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> Destination:
        """See `Role.open`."""
        # What is wrong with it shows before any backend has a run.
        stream = self._stream(guard)
        try:
            inner = self._trackers(resource, guard, waits=waits)
        except BaseException:
            if stream is not None:
                stream.shutdown(timeout_millis=0)
            raise
        return inner if stream is None else Streamed(inner, stream)

    def close(self) -> None:
        """See `Role.close`."""
        if self._announcement is not None:
            self._announcement.close()

    def _stream(self, guard: Guard) -> OtlpExporter | None:
        if not self._settings.streams:
            return None
        return make_stream(self._settings, lambda: self.membership.attributes, guard)

    def _trackers(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool) -> Destination:
        settings, run_id = self._settings, str(resource[semconv.RUN_ID])
        if not settings.trackers:
            self._announce(resource, lambda: NO_RELAY, guard)
            return Nowhere(run_id)
        from tracelet_otel.session.relayed import Relayed

        try:
            connection = self._connect(resource, run_id)
        except TrackerUnavailableError as error:
            if not waits or settings.relay_endpoint is not None:
                raise
            guard.report("a backend is waited for", str(error))
            connection = self._connect(resource, run_id, waits=True)
        self._announce(resource, lambda: connection.address, guard)
        # Without a relay that they reach, values of other ranks are not waited for: this process says of no rank.
        on_revived = self._announcement.tell if self._announcement is not None else _nothing
        attributes = (lambda: self.membership.attributes) if settings.has_relay else dict
        return Relayed(connection, run_id, attributes, guard, on_revived)

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

    def _announce(self, resource: Mapping[str, Any], address: Callable[[], Address], guard: Guard) -> None:
        if self._announcement is not None:
            self._announcement.open(resource, address, guard)


def _nothing() -> None:
    """There is nobody to tell."""


class Following:
    """The run is another process's: this one sends what its rank logs.

    Args:
        membership: of this process.
        finder: finds the run.
        settings: what the run is to do.
    """

    def __init__(self, membership: Membership, finder: Finder, settings: Settings) -> None:
        self._settings = settings
        self.membership = membership
        self.launching: Launching = NoLaunching()
        # What a training has started as a copy of its process does not know its place: the process itself reads.
        self.reports_hardware = membership.rank_info is not None and membership.rank_info.local_rank == 0
        """See `Role.reports_hardware`."""
        self._finder = finder

    def prepare(self) -> None:
        """See `Role.prepare`."""
        import_module("tracelet_otel.session.ranks.follower")
        if self._settings.streams:
            prepare_stream(self._settings.otlp_endpoint)

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> Destination:
        """See `Role.open`."""
        from tracelet_otel.session.ranks.follower import Follower

        who = str(self.membership.rank_info) if self.membership.rank_info else "this rank"
        settings = self._settings
        return Follower(
            self._finder,
            lambda: self.membership.attributes,
            who,
            guard,
            to_relay=bool(settings.trackers) and settings.has_relay,
            make_stream=(lambda attributes: make_stream(settings, attributes, guard)) if settings.streams else None,
        )

    def close(self) -> None:
        """See `Role.close`."""


def make_stream(settings: Settings, attributes: Callable[[], Mapping[str, Any]], guard: Guard) -> OtlpExporter:
    """The exporter that takes whatever is measured.

    Raises:
        ConfigurationError: one of OpenTelemetry's own settings is not of its form.
    """
    return collector_exporter(settings.otlp_endpoint, attributes, guard)


class Silent:
    """Nothing is recorded here: it is, or was, elsewhere."""

    def __init__(self) -> None:
        self.membership = Membership()
        self.launching: Launching = NoLaunching()
        self.reports_hardware = False
        """See `Role.reports_hardware`."""

    def prepare(self) -> None:
        """See `Role.prepare`."""

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> Destination:
        """See `Role.open`."""
        return Nowhere()

    def close(self) -> None:
        """See `Role.close`."""
