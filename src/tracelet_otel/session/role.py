"""The role of a process in a run: it owns the run, follows a run that another process owns, or is silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.events import OtlpEvents
from tracelet_otel.exporters.otlp.spans import OtlpSpans
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.messages import Status
from tracelet_otel.resource.membership import Membership
from tracelet_otel.session.calls import NO_RELAY, Address


def resource_with(resource: Resource, attributes: Callable[[], Mapping[str, Any]]) -> Callable[[], Resource]:
    """Returns a function that returns a resource with attributes that become known later.

    Args:
        resource: the resource.
        attributes: returns the attributes; they take precedence over the resource's own.
    """
    return lambda: resource.merge(Resource(attributes()))


class Role(Protocol):
    """What one process does for one run. There are no exporters before `open`."""

    membership: Membership
    """Rank of this process, and the training in which it takes part."""
    launching: Launching
    """Announces the run to processes that a training starts as other ranks."""
    owns_run: bool
    """Whether the run ends with this process."""
    reports_hardware: bool
    """Whether this process is the one on its node that measures GPU and host."""

    @property
    def run_id(self) -> str:
        """The run's id; empty as long as it is not known, or where there is no run."""
        ...

    @property
    def spool(self) -> Path | None:
        """Where files of the run wait for its relay, once its id is known; None where no relay takes any."""
        ...

    def when_found(self, call: Callable[[], object]) -> None:
        """Have something called now, and once the run is found where it is not yet, before anything is sent to it."""
        ...

    @property
    def file_relay(self) -> Callable[[], Address] | None:
        """Returns the address of the relay that takes files, where it has no part in `spool`; None where it has."""
        ...

    def address(self) -> Address:
        """Address of the run's relay at this moment; `NO_RELAY` where there is none that others reach."""
        ...

    def ask_attempt(self) -> int | None:
        """The last attempt at the run that its relay or trackers know of; 0 where it is new, None for unknown.

        To be called after `open`. It waits for one answer of the relay.
        """
        ...

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """All exporters of this process. Each needs a metric reader of its own."""
        ...

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """Those exporters that take every metric as it is measured: to a collector. The others lead to trackers."""
        ...

    def span_senders(self, resource: Resource, guard: Guard) -> list[OtlpSpans]:
        """Make what sends spans, to a relay and to a collector; to be called after `open`.

        Args:
            resource: resource of the run in this process.
            guard: where errors are reported.
        """
        ...

    def event_senders(self, resource: Resource, guard: Guard) -> list[OtlpEvents]:
        """Make what sends events, to a collector; to be called after `open`.

        Args:
            resource: resource of the run in this process.
            guard: where errors are reported.
        """
        ...

    @property
    def urls(self) -> Mapping[str, str]:
        """Addresses at which people look at the run, by backend."""
        ...

    @property
    def hints(self) -> Mapping[str, str]:
        """What has to be done before people can see the run, by backend; only of those where that is anything."""
        ...

    @property
    def ids(self) -> Mapping[str, str]:
        """The backends' own ids of the run, as far as they are known."""
        ...

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings each backend has taken, has refused, and still has to take."""
        ...

    @property
    def errors(self) -> Mapping[str, int]:
        """How many errors were counted outside of this process, by what could not be done."""
        ...

    def prepare(self) -> None:
        """Import what `open` needs; called before `open`, which may run on another thread and must not import there."""
        ...

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Make the exporters. Where this process owns the run, have it created in each backend.

        Args:
            resource: attributes of the run's resource.
            guard: where errors are reported.
            waits: whether to start the run even if a backend cannot be reached, and wait for that backend.

        Raises:
            TraceletError: the run cannot be created.
        """
        ...

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until the exporters have room for more.

        An exporter drops its oldest values when it has no more room. So call this before each large export, such as
        those at the end of a run.

        Args:
            timeout_s: give up on an exporter after this many seconds in which it delivered nothing.
        """
        ...

    def finish(self, deadline_s: float, say: Callable[[str], None]) -> Status | None:
        """Wait until the trackers have what the exporters have sent, and log what is missing.

        Call it after the readers, and with them the exporters, have been shut down.

        Args:
            deadline_s: when to give up, a time of the monotonic clock in seconds.
            say: called now and then with what is waited for, where that takes long.

        Returns:
            How far the delivery is; None where this process does not know.
        """
        ...

    def abandon(self) -> None:
        """Stop at once and wait for nothing, because the end was interrupted or the beginning failed."""
        ...

    def close(self) -> None:
        """Make sure that other ranks do not find the run any more, since it has ended or could not begin."""
        ...


class Silent:
    """The `Role` of a process that records nothing, for example because rank 0 has recorded the same already."""

    def __init__(self, membership: Membership | None = None) -> None:
        self.membership = membership or Membership()
        self.launching: Launching = NoLaunching()
        self.owns_run = False
        self.reports_hardware = False
        self.run_id = ""
        self.spool: Path | None = None
        self.file_relay: Callable[[], Address] | None = None
        self.exporters: Sequence[MetricExporter] = ()
        self.streams: Sequence[MetricExporter] = ()
        self.urls: Mapping[str, str] = {}
        self.ids: Mapping[str, str] = {}
        self.hints: Mapping[str, str] = {}
        self.accounts: dict[str, Account] = {}
        self.errors: Mapping[str, int] = {}

    def prepare(self) -> None:
        """Do nothing."""

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Do nothing."""

    def span_senders(self, resource: Resource, guard: Guard) -> list[OtlpSpans]:
        """None: nothing is sent."""
        return []

    def event_senders(self, resource: Resource, guard: Guard) -> list[OtlpEvents]:
        """None: nothing is sent."""
        return []

    def when_found(self, call: Callable[[], object]) -> None:
        """Do nothing: no run is ever found."""

    def address(self) -> Address:
        """`NO_RELAY`."""
        return NO_RELAY

    def ask_attempt(self) -> int | None:
        """None: there is no run."""
        return None

    def wait_for_room(self, timeout_s: float) -> None:
        """Do nothing."""

    def finish(self, deadline_s: float, say: Callable[[str], None]) -> Status | None:
        """None: nothing was sent."""
        return None

    def abandon(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
