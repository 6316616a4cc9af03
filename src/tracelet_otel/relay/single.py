"""A relay of one run, from the first request to the last delivery.

It runs in a process of its own, or in the training's process where there is no relay process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.messages import Order, Ready, Status, Taken
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.deaths import owner_as_plain
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.handover import left_for_others, open_journal
from tracelet_otel.relay.journal import SUFFIX
from tracelet_otel.relay.life import RunLife
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.taking import Accepted, take
from tracelet_otel.relay.traces import accept_spans
from tracelet_otel.settings import from_plain, to_plain

_CHECK_INTERVAL_S: Final = 0.1
_JOURNAL_WAIT_S: Final = 2.0
"""How long to wait for the journal: another relay may have opened it to check whether its training has died. A run
that goes on waits longer."""


class SingleRunRelay:
    """A relay of one run.

    Args:
        order: what the relay has to do.
        guard: counts and logs errors.
        is_owner_gone: returns whether the process that owns the run is gone.
        now: the time in seconds, by which ranks are waited for.
        ends: waits for the ends of the run's processes.
        count_runs: returns how many runs the relay has.

    Raises:
        JournalInUseError: another process has the run's journal open.
        JournalError: the journal cannot be written in the order's directory.
    """

    def __init__(
        self,
        order: Order,
        guard: Guard,
        is_owner_gone: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        ends: Ends | None = None,
        count_runs: Callable[[], int] = lambda: 1,
    ) -> None:
        self.settings = from_plain(order.settings)
        path = Path(order.journal_directory) / f"{order.run_id}{SUFFIX}"
        # The relay of the attempt before, or one that has adopted its journal, may still be delivering.
        wait_s = self.settings.start_timeout / 2 if semconv.RUN_ATTEMPT in order.resource else _JOURNAL_WAIT_S
        self.journal = open_journal(path, max(wait_s, _JOURNAL_WAIT_S), asks=not order.resumes)
        self.run = RelayedRun(self.journal, guard, self.settings, now, count_runs)
        self.run_id, self.resource = order.run_id, order.resource
        self._order = order
        self._guard = guard
        # The journal of a run that is continued may hold readings. They are delivered first, and the run goes on.
        # So does a run whose relay was told to finish before its owner had ended it.
        reopens = not order.resumes or (self.run.is_over and not self.run.known.ended)
        self._reopened = self.run.reopen() if reopens else {}
        self._owner = owner_as_plain(order.owner_pid, order.owner_started)
        state = {**self.journal.state, **self._reopened, "owner": self._owner}
        watched = None if order.owner_pid == os.getpid() else state
        self.life = RunLife(self.run, self.journal, guard, self.settings, is_owner_gone, watched, ends)

    def open(self, port: int, on_ready: Callable[[Ready], None]) -> None:
        """Create or continue the run in each tracker; where the order resumes it, in the background.

        Args:
            port: port on which the relay listens.
            on_ready: called once when each tracker has the run; where the order resumes the run, before any tracker
                is asked.

        Raises:
            TraceletError: a tracker can neither create nor continue the run.
        """
        ready = Ready(port, self._order.run_id)
        if self.run.is_over:
            # An earlier relay has delivered everything and was killed before the owner asked for the result.
            on_ready(ready)
            return
        state = {
            "settings": to_plain(registry.for_a_journal(self.settings)),
            "resource": self._order.resource,
            "owner": self._owner,
            **self._reopened,
        }
        if self._order.resumes:
            self.journal.remember(state)
            on_ready(ready)
            self.run.resume(self._trackers(), self._order.resource)
            return
        # State that an earlier part of the run left in the journal stays until each tracker has opened the run.
        if "settings" not in self.journal.state:
            self.journal.remember(state)
        places = self.run.open(self._trackers(), self._order.resource)
        self._say_left()
        self.journal.remember(state)
        urls = {name: place.url for name, place in places.items()}
        hints = {name: place.hint for name, place in places.items() if place.hint}
        on_ready(replace(ready, urls=urls, hints=hints))

    def give_back(self) -> None:
        """Close the journal of a run that could not begin, and remove it if it is empty."""
        if self.journal.is_empty:
            self.journal.remove()
        else:
            self.journal.close()

    def accept(self, requests: Sequence[ExportMetricsServiceRequest]) -> list[Taken | Exception]:
        """Take requests; when this returns, their content is on the disk.

        Returns:
            For each request what became of it, or why it was not taken: it is malformed or of another run, or an error
            that `RelayedRun.accept` returns.
        """
        return take(requests, self.accept_parts)

    def accept_spans(self, content: bytes) -> None:
        """Take a request with spans; when this returns, they are on the disk.

        Raises:
            TraceletError: it cannot be taken, now or ever.
        """
        accept_spans(content, lambda run_id: self.run.spans if run_id == self._order.run_id else None)

    def accept_parts(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        """Accept those parts of requests that belong to one run."""
        if run_id != self._order.run_id:
            return Accepted([MalformedError(f"this relay has no run {run_id!r}") for _ in parts], "")
        self.life.hear(batch for part in parts for batch in part.batches)
        return Accepted(self.run.accept(parts), self.run.problems)

    def status(self, run_id: str) -> Status | None:
        """How far the delivery of a run is; None for the id of another run."""
        return self.run.status if run_id == self._order.run_id else None

    def deliver(self, is_told_to_finish: Callable[[], bool]) -> bool:
        """Deliver until the run is over, and end it in each tracker.

        Args:
            is_told_to_finish: returns whether the relay was asked to end the run.

        Returns:
            Whether everything was delivered.
        """
        while not self.life.is_over(is_told_to_finish=is_told_to_finish()):
            time.sleep(_CHECK_INTERVAL_S)
            self.life.look()
        return self.life.close(self.settings.relay_patience, marks=True)

    def leave(self, *, is_known: bool) -> None:
        """Remove the journal of a run that was delivered completely, or keep it for a relay that takes over.

        Args:
            is_known: whether the owner knows that all was delivered, or is gone; then the journal is removed.
        """
        if is_known:
            self.run.forget()
            self.life.clean()
        else:
            self.journal.close()

    def _say_left(self) -> None:
        """Say what the attempt before has not delivered and this one cannot: it has other backends."""
        try:
            left = left_for_others(self.journal, self.settings)
        except (TraceletError, LookupError, ValueError, TypeError) as error:
            self._guard.report("what an earlier attempt has left is not known", error)
            return
        for name, number in left.items():
            what = f"values of an earlier attempt are not delivered to {name}, which this one leaves out"
            log.warning("%d %s", number, what)
            self._guard.count(what, number)

    def _trackers(self) -> dict[str, Tracker]:
        return registry.trackers(self.settings)
