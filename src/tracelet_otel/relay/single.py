"""A relay of one run, from the first request to the last delivery: in a process of its own, or in the training's."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.messages import Order, Ready, Status, Taken
from tracelet_otel.protocol.requests import MalformedError, by_run
from tracelet_otel.relay.journal import SUFFIX, Journal
from tracelet_otel.relay.parts import part_of
from tracelet_otel.relay.run import REOPENED, RelayedRun
from tracelet_otel.settings import from_plain, to_plain

_LOOK_S: Final = 0.1
_JOURNAL_WAIT_S: Final = 2.0
"""For so long another relay may have the journal open, to see whether its training has died."""
_SILENT_S: Final = 2.0
"""Without an owner, the run ends when no new row has come for so long: an export may be on its way."""


class SingleRunRelay:
    """One run of one training.

    Args:
        order: what to do.
        guard: where errors end.

    Raises:
        JournalInUseError: another process has the run.
        JournalError: nothing can be kept in the order's directory.
    """

    def __init__(self, order: Order, guard: Guard) -> None:
        self.settings = from_plain(order.settings)
        self.journal = Journal(Path(order.journal_directory) / f"{order.run_id}{SUFFIX}", _JOURNAL_WAIT_S)
        self.run = RelayedRun(self.journal, guard, self.settings)
        self._order = order
        # A run that is continued may have left something: it is delivered first, and goes on. So does
        # one whose relay was told to finish while its owner had more to say.
        self._reopens = not order.resumes or (self.run.status.over and not self.run.ended)
        if self._reopens:
            self.run.reopen()

    def open(self, port: int, answer: Callable[[Ready], None]) -> None:
        """Create or continue the run in each tracker; where the order resumes it, in the background.

        Args:
            port: where the relay listens.
            answer: told that the run is there, and where; where it resumes, before any tracker is asked.

        Raises:
            TraceletError: a tracker does not give us the run.
        """
        ready = Ready(port, self._order.run_id)
        if self.run.status.over:
            # A relay before this one was done and was killed: the owner has yet to ask.
            answer(ready)
            return
        state = {
            "settings": to_plain(registry.for_a_journal(self.settings)),
            "resource": self._order.resource,
            "owner": {"host": platform.node(), "pid": self._order.owner_pid, "started": self._order.owner_started},
            **(REOPENED if self._reopens else {}),
        }
        if self._order.resumes:
            self.journal.remember(state)
            answer(ready)
            self.run.resume(self._trackers(), self._order.resource)
            return
        # What an earlier run left stays as it was until this one has really begun.
        if "settings" not in self.journal.state:
            self.journal.remember(state)
        places = self.run.open(self._trackers(), self._order.resource)
        self.journal.remember(state)
        urls = {name: place.url for name, place in places.items()}
        hints = {name: place.hint for name, place in places.items() if place.hint}
        answer(replace(ready, urls=urls, hints=hints))

    def give_back(self) -> None:
        """Close the journal where the run could not begin; one that holds nothing is removed."""
        if self.journal.is_empty:
            self.journal.remove()
        else:
            self.journal.close()

    def accept(self, request: ExportMetricsServiceRequest) -> Taken:
        """Take a request; when this returns, what it holds is on the disk.

        Raises:
            MalformedError: it is of another run, or cannot be read.
            TraceletError: it cannot be taken now, or ever; see `RelayedRun.accept`.
        """
        found = by_run(request)
        for run_id in found.keys() - {self._order.run_id}:
            raise MalformedError(f"this relay has no run {run_id!r}")
        for own in found.values():
            self.run.accept(part_of(own))
        return Taken(self.run.problems)

    def status(self, run_id: str) -> Status | None:
        """How far the delivery of a run is; None where it is another relay's."""
        return self.run.status if run_id == self._order.run_id else None

    def deliver(self, is_told_to_finish: Callable[[], bool], is_alone: Callable[[], bool]) -> bool:
        """Deliver until the run is over, and end it in each tracker.

        Args:
            is_told_to_finish: whether somebody wants an end to it.
            is_alone: whether the run's owner is gone.

        Returns:
            Whether everything is delivered.
        """
        while not self._is_over(is_told_to_finish(), is_alone()):
            time.sleep(_LOOK_S)
            self.run.look()
        return self.run.close(self.settings.relay_patience, marks=True)

    def leave(self, *, is_known: bool) -> None:
        """Let go of the journal of a run all of which is delivered.

        Args:
            is_known: whether the owner knows that, or nobody will ask any more.
        """
        if is_known:
            self.run.forget()
        else:
            self.journal.close()

    def _is_over(self, is_told_to_finish: bool, is_alone: bool) -> bool:
        if not (self.run.ended or is_told_to_finish or is_alone):
            return False
        # Other ranks have their last rows on the way, or are about to find that rank 0 is gone.
        if self.run.others_may_send and self.run.silent_s < self.settings.stop_timeout:
            return False
        if self.run.ended:
            return True
        if is_told_to_finish and is_alone:
            # A rank that was never heard of may send at its next interval, but somebody wants an end to it.
            return self.run.silent_s > _SILENT_S
        return self.run.silent_s > max(_SILENT_S, 2 * self.settings.export_interval)

    def _trackers(self) -> dict[str, Tracker]:
        return registry.trackers(self.settings)
