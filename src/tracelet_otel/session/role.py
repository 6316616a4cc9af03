"""What a process does for a run: it owns the run, follows one that another process owns, or is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.protocol.account import Account
from tracelet_otel.resource.membership import Membership


class Role(Protocol):
    """The part of one process in one run. `open` comes first; before it, there are no exporters."""

    membership: Membership
    """Rank and training of this process."""
    launching: Launching
    """Makes the run known to processes of other ranks that a training starts."""
    owns_run: bool
    """Whether the run ends with this process."""
    reports_hardware: bool
    """Whether this process is the one of its node that reads GPU and host."""

    @property
    def run_id(self) -> str:
        """The run's id; empty as long as it is not known, or where there is no run."""
        ...

    @property
    def exporters(self) -> Sequence[MetricExporter]:
        """One for each reader that the run needs."""
        ...

    @property
    def streams(self) -> Sequence[MetricExporter]:
        """Those exporters that take every metric as it is measured. The others lead to trackers."""
        ...

    @property
    def urls(self) -> Mapping[str, str]:
        """Where people look at the run, by backend."""
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
        """Import what `open` needs, since `open` may be called on another thread."""
        ...

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Make the exporters; where this process owns the run, create it in each backend.

        Args:
            resource: attributes of the run's resource.
            guard: where errors are reported.
            waits: whether a backend that cannot be reached is waited for.

        Raises:
            TraceletError: the run cannot be had.
        """
        ...

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until the exporters can hold much more, or until one of them has got rid of nothing for so long.

        An exporter drops what is too much for it. Whoever exports more at once than a training logs has to wait first.
        """
        ...

    def finish(self, deadline_s: float) -> None:
        """Wait for the delivery of what the exporters were given, and log what is missing.

        Called after the readers, and with them the exporters, have been shut down.

        Args:
            deadline_s: a time of the monotonic clock.
        """
        ...

    def abandon(self) -> None:
        """Let go of everything at once, because the end was interrupted or the beginning failed."""
        ...

    def close(self) -> None:
        """The run has ended, or could not begin: other ranks do not find it any more."""
        ...


class Silent:
    """The `Role` of a process in which nothing is recorded: it is, or was, recorded elsewhere."""

    def __init__(self) -> None:
        self.membership = Membership()
        self.launching: Launching = NoLaunching()
        self.owns_run = False
        self.reports_hardware = False
        self.run_id = ""
        self.exporters: Sequence[MetricExporter] = ()
        self.streams: Sequence[MetricExporter] = ()
        self.urls: Mapping[str, str] = {}
        self.accounts: dict[str, Account] = {}
        self.errors: Mapping[str, int] = {}

    def prepare(self) -> None:
        """Do nothing."""

    def open(self, resource: Mapping[str, Any], guard: Guard, *, waits: bool = False) -> None:
        """Do nothing."""

    def wait_for_room(self, timeout_s: float) -> None:
        """Do nothing."""

    def finish(self, deadline_s: float) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
