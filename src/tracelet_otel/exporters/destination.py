"""Where a run's stream goes: what `Run` needs of trackers in this process and of a relay alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricExporter

from tracelet_otel.protocol.account import Account


class Destination(Protocol):
    """Exporters, and what becomes of what they are given."""

    owns_run: bool
    """Whether the run ends with this process."""

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
        """Those exporters that take whatever is measured; the others are of trackers."""
        ...

    @property
    def urls(self) -> Mapping[str, str]:
        """Where people look at the run, by backend."""
        ...

    @property
    def accounts(self) -> dict[str, Account]:
        """What each backend has taken, refused, and still has to take."""
        ...

    @property
    def errors(self) -> Mapping[str, int]:
        """How many errors ended outside of the run's own guard, by what could not be done."""
        ...

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until the exporters can hold much more, or until one of them has got rid of nothing for so long.

        What is too much for them they drop: who exports more at once than a training logs in its time asks before.
        """
        ...

    def finish(self, deadline_s: float) -> None:
        """Wait for what the exporters have been given, and say what is missing.

        Called after the readers, and with them the exporters, have been shut down.

        Args:
            deadline_s: a time of the monotonic clock.
        """
        ...

    def abandon(self) -> None:
        """Let go at once, where the end was interrupted or the beginning failed."""
        ...


class Nowhere:
    """A `Destination` of a process in which nothing is recorded, or of a run that no tracker has.

    Args:
        run_id: of the run that this process owns; empty where there is none.
    """

    def __init__(self, run_id: str = "") -> None:
        self.owns_run = bool(run_id)
        """See `Destination.owns_run`."""
        self.run_id = run_id
        """See `Destination.run_id`."""
        self.exporters: Sequence[MetricExporter] = ()
        """See `Destination.exporters`."""
        self.streams: Sequence[MetricExporter] = ()
        """See `Destination.streams`."""
        self.urls: Mapping[str, str] = {}
        """See `Destination.urls`."""
        self.accounts: dict[str, Account] = {}
        """See `Destination.accounts`."""
        self.errors: Mapping[str, int] = {}
        """See `Destination.errors`."""

    def wait_for_room(self, timeout_s: float) -> None:
        """See `Destination.wait_for_room`."""

    def finish(self, deadline_s: float) -> None:
        """See `Destination.finish`."""

    def abandon(self) -> None:
        """See `Destination.abandon`."""
