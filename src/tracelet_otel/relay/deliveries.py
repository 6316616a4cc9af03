"""The deliveries of one run, one for each tracker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import Report
from tracelet_otel.protocol.failure import STACKTRACE_TAG
from tracelet_otel.protocol.files import SPOOL_SUFFIX
from tracelet_otel.relay.files import RunFiles
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.traces import SUFFIX, RunSpans


class Deliveries:
    """The deliveries of one run. Each reads its own queue of the outbox, on its own thread.

    Args:
        outbox: the run's readings, with a queue for each tracker.
        guard: counts and logs errors.
        count_runs: returns how many runs the relay has.
        journal: path of the run's journal, beside which its spans and files are.
    """

    def __init__(self, outbox: Outbox, guard: Guard, count_runs: Callable[[], int], journal: Path) -> None:
        self.spans = RunSpans(journal.with_suffix(SUFFIX), guard)
        self.files = RunFiles(journal.with_suffix(SPOOL_SUFFIX), guard, joins_console=True)
        self._count_runs = count_runs
        self._outbox = outbox
        self._guard = guard
        self._by_name: dict[str, Delivery] = {}
        self._has_failed = False
        self._has_ended = False

    def __bool__(self) -> bool:
        """Whether there are any deliveries yet."""
        return bool(self._by_name)

    @property
    def urls(self) -> dict[str, str]:
        """Addresses at which people look at the run, by tracker, as far as they are known."""
        return {name: one.location.url for name, one in self._by_name.items() if one.location is not None}

    @property
    def hints(self) -> dict[str, str]:
        """What has to be done before people can see the run, by tracker; only of those where that is anything."""
        places = {name: one.location for name, one in self._by_name.items()}
        return {name: place.hint for name, place in places.items() if place is not None and place.hint}

    @property
    def ids(self) -> dict[str, str]:
        """The trackers' own ids of the run, as far as they are known."""
        told = {name: one.location.id for name, one in self._by_name.items() if one.location is not None}
        return {name: one for name, one in told.items() if one is not None}

    def attempt(self, heard: int | None) -> int | None:
        """The last attempt at the run that a tracker knew of when it was opened, or that has been heard since.

        Args:
            heard: what the relay itself knows; None for nothing.
        """
        told = (one.location.attempt for one in self._by_name.values() if one.location is not None)
        return max((one for one in (heard, *told) if one is not None), default=None)

    @property
    def lost(self) -> dict[str, str]:
        """Trackers that accept nothing more, each with the reason."""
        return {name: one.lost for name, one in self._by_name.items() if one.lost is not None}

    def accounts(self, unwritten: int, incomplete: int) -> dict[str, Account]:
        """How many readings each tracker has taken, has refused and has yet to take.

        Args:
            unwritten: number of readings that are not in the queues yet; they count as pending.
            incomplete: number of merged values that lack a rank.
        """
        return {
            name: replace(
                account := one.account,
                pending=account.pending + unwritten,
                incomplete=incomplete,
                problem=account.problem or self.files.problem(name),
            )
            for name, one in self._by_name.items()
        }

    def unclosed(self, unwritten: int) -> list[str]:
        """Trackers that have not taken everything, or whose run is not closed.

        Args:
            unwritten: number of readings that are not in the queues yet.
        """
        return [
            name
            for name, one in self._by_name.items()
            if unwritten or not one.complete or self.spans.pending(name) or self.files.pending(name)
        ]

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, RunLocation]:
        """Create or continue the run in each tracker, on the calling thread; nothing is delivered before `tell`.

        Returns:
            Where people find the run, by tracker.

        Raises:
            TraceletError: a tracker can neither create nor continue the run; it is left open in no tracker.
        """
        made = self._make(trackers)
        locations: dict[str, RunLocation] = {}
        for name, delivery in made.items():
            try:
                locations[name] = delivery.open(resource)
            except BaseException:
                for opened in locations:
                    made[opened].give_back()
                raise
        self._by_name = made
        self._begin_beside(trackers, resource)
        return locations

    def begin(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Create or continue the run in the background, and deliver to each tracker as soon as it has the run."""
        made = self._make(trackers)
        for delivery in made.values():
            delivery.begin(resource)
        self._by_name = made
        self._begin_beside(trackers, resource)

    def tell(self, reports: Sequence[Report], outcome: str | None, end_unix_nano: int | None) -> None:
        """Pass on all that is not a reading. The deliveries find the readings in the outbox.

        Args:
            reports: new hyperparameters and tags, in the order in which they were reported.
            outcome: the run's outcome so far; None where none was reported.
            end_unix_nano: when the run ended, in nanoseconds since the epoch; None where it has not.
        """
        self._has_ended = end_unix_nano is not None
        self._has_failed |= any(report.name == STACKTRACE_TAG for report in reports)
        for delivery in self._by_name.values():
            delivery.tell(outcome, end_unix_nano, reports)

    def wake(self) -> None:
        """Notify the deliveries that there are readings in the outbox."""
        for delivery in self._by_name.values():
            delivery.wake()

    def close(self, patience_s: float) -> None:
        """Deliver what is left and end the run in each tracker.

        Args:
            patience_s: give up on a tracker that has taken nothing for this long.
        """
        self.files.end(has_ended=self._has_ended, has_failed=self._has_failed)
        # All at the same time, so that a tracker that is down takes no time from another.
        closing = [
            threading.Thread(target=self._close, args=(name, patience_s), name=f"tracelet-close-{name}")
            for name in self._by_name
        ]
        for thread, name in zip(closing, self._by_name, strict=True):
            try:
                thread.start()
            except RuntimeError:
                # At exit, some interpreters start no more threads: this one does the work.
                self._close(name, patience_s)
        self.spans.close(patience_s)
        for thread in closing:
            if thread.ident is not None:
                thread.join()
        self.files.close()

    def _begin_beside(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        self.spans.begin(trackers, resource)
        self.files.begin(trackers, resource)

    def _close(self, name: str, patience_s: float) -> None:
        # Files come first, since some trackers take none once their run is closed.
        self.files.finish(name, patience_s)
        self._by_name[name].close(patience_s)

    def _make(self, trackers: Mapping[str, Tracker]) -> dict[str, Delivery]:
        return {
            name: Delivery(tracker, self._guard, self._outbox.lane(name), self._count_runs)
            for name, tracker in trackers.items()
        }
