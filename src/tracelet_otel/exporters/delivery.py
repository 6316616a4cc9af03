"""Delivers the readings of one queue to one tracker, on a thread of its own.

A tracker that is slow or down therefore delays neither a metric reader nor another tracker.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.errors import TraceletError, TrackerUnavailableError
from tracelet_otel.exporters.base import ReportsProblems, RunLocation, Tracker
from tracelet_otel.exporters.queue import Queue
from tracelet_otel.exporters.rests import rest_s
from tracelet_otel.exporters.writer import Writer, for_one_call
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import Reading, Report
from tracelet_otel.protocol.run_identity import run_identity

_TIME: Final = attrgetter("time_unix_nano")


class Delivery:
    """Delivers readings, hyperparameters and tags to a tracker until it has taken or refused all of them.

    Args:
        tracker: the tracker, which only one thread uses at a time.
        guard: reports errors and refused readings.
        queue: the readings that the tracker has yet to take; whoever adds some calls `wake`.
        count_runs: returns how many runs share this process and its trackers.
    """

    def __init__(self, tracker: Tracker, guard: Guard, queue: Queue, count_runs: Callable[[], int] = lambda: 1) -> None:
        self._count_runs = count_runs
        self._tracker = tracker
        self._guard = guard
        if isinstance(tracker, ReportsProblems):
            tracker.guard = guard
        self._changed = ProgressCondition()
        self._queue = queue
        self._reports: deque[Report] = deque()
        self._outcome: str | None = None
        self._end_unix_nano: int | None = None
        self._last_unix_nano: int | None = None
        self._lost: str | None = None
        self._ended = False
        self._closing = False
        self._closed = False
        self._abandoned = threading.Event()
        self._writer = Writer(tracker, guard, self._abandoned, self._count, self._forget_reports)
        self._opened = False
        self._location: RunLocation | None = None
        self._thread: threading.Thread | None = None
        self._resource: Mapping[str, Any] | None = None

    @property
    def account(self) -> Account:
        """How many readings were delivered, were refused and are pending at this moment."""
        with self._changed:
            return Account(self._queue.delivered, self._queue.refused, self._queue.pending, self._writer.problem)

    @property
    def reports_pending(self) -> bool:
        """Whether there are hyperparameters or tags that the tracker has not taken yet."""
        with self._changed:
            return bool(self._reports)

    @property
    def complete(self) -> bool:
        """Whether the tracker has taken everything and its run is closed."""
        with self._changed:
            return self._ended and not self._queue.pending

    @property
    def lost(self) -> str | None:
        """Why the tracker accepts nothing more; None as long as it does."""
        with self._changed:
            return self._lost

    @property
    def location(self) -> RunLocation | None:
        """Where people find the run, and what the tracker knew of it; None until the run is open."""
        return self._location

    def begin(self, resource: Mapping[str, Any]) -> None:
        """Start the delivery's thread, which creates or continues the run, in as many attempts as that takes."""
        with self._changed:
            self._start(resource)

    def open(self, resource: Mapping[str, Any]) -> RunLocation:
        """Create or continue the run on the calling thread. The first `tell` after it starts the delivery.

        Raises:
            TraceletError: the run can be neither created nor continued.
        """
        try:
            location = self._tracker.open(run_identity(resource))
        except OSError as error:
            raise TrackerUnavailableError(f"{self._tracker.name}: {type(error).__name__}: {error}") from error
        if location.hint:
            log.info("%s: %s", self._tracker.name, location.hint)
        self._opened, self._location, self._resource = True, location, resource
        return location

    def give_back(self) -> None:
        """End the run in this tracker with nothing delivered, because another tracker could not open it."""
        self._closed = self._closing = True
        self._abandoned.set()
        self._finish()

    def wake(self) -> None:
        """Notify the delivery that there are readings in the queue."""
        with self._changed:
            self._changed.notify_all()

    def tell(self, outcome: str | None, end_unix_nano: int | None = None, reports: Iterable[Report] = ()) -> None:
        """Take all that is not a reading, and start the delivery if the run is open. Does not wait for the tracker.

        Args:
            outcome: the run's outcome so far; None where none was reported.
            end_unix_nano: when the run ended, in nanoseconds since the epoch; None where it is not reported.
            reports: new hyperparameters and tags, in the order in which they were reported.
        """
        with self._changed:
            if self._closing:
                return
            self._outcome = outcome or self._outcome
            self._end_unix_nano = end_unix_nano or self._end_unix_nano
            if self._lost is None:
                self._reports.extend(reports)
            if self._resource is not None:
                self._start(self._resource)
            self._changed.notify_all()

    def wait(self, patience_s: float) -> bool:
        """Block until the tracker has taken or refused all that there is; returns whether it has.

        Args:
            patience_s: give up after this many seconds in which the tracker took nothing.
        """
        with self._changed:
            self._changed.wait_until(lambda: self._idle() or not self._is_working, patience_s)
            return self._idle()

    @property
    def _is_working(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def close(self, patience_s: float) -> Account:
        """Deliver what is left, end the run, and log what was not delivered.

        Args:
            patience_s: give up after this many seconds in which the tracker took nothing.

        Returns:
            How many readings were delivered, were refused and are pending.
        """
        if self._closed:
            return self.account
        self._closed = True
        try:
            if self._thread is not None and not self.wait(patience_s):
                self._writer.problem = self._writer.problem or f"it took nothing for {patience_s:g} s"
                return self.account
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join(patience_s)
                if self._thread.is_alive():
                    self._guard.report(f"the run in {self._tracker.name} was not closed", "no answer")
            elif self._resource is not None:
                # At exit, some interpreters start no more threads: this one does the work.
                self._work(self._resource)
            return self.account
        finally:
            # What is missing is logged also if the wait was interrupted.
            self._abandoned.set()
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._log_missing()

    def _start(self, resource: Mapping[str, Any]) -> None:
        """Must be called with `_changed` held."""
        if self._thread is not None:
            return
        self._resource = resource
        thread = threading.Thread(
            target=self._work, args=(resource,), name=f"tracelet-{self._tracker.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._writer.problem = str(error)
        else:
            self._thread = thread

    def _log_missing(self) -> None:
        account = self.account
        if account.pending or account.refused or self._reports:
            log.error(
                "%s: %d readings delivered, %d refused, %d not delivered, "
                "%d hyperparameters and tags not delivered: %s",
                self._tracker.name,
                account.delivered,
                account.refused,
                account.pending,
                len(self._reports),
                account.problem,
            )

    def _idle(self) -> bool:
        return not self._queue.pending and not self._reports

    def _work(self, resource: Mapping[str, Any]) -> None:
        try:
            if not self._opened:
                self._writer.persist(self.open, resource)
            while self._next():
                pass
            self._finish()
        except TrackerUnavailableError:
            return  # `close` has given up; what is left stays in the account as pending
        except TraceletError as error:
            self._lose(error)
        except Exception as error:
            self._guard.report(f"the delivery to {self._tracker.name} broke down", error)
            self._lose(error)

    def _next(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not self._idle())
            reports = for_one_call(self._reports)
        readings = self._writer.persist(self._read_queue, self._tracker.batch_size)
        if not reports and not readings:
            # The readings may have been dropped, to make room in the journal for values that are not merged yet.
            return not self._closing
        began_s = time.monotonic()
        if readings:
            self._last_unix_nano = max(self._last_unix_nano or 0, *map(_TIME, readings))
            self._writer.write_readings(readings)
        if reports:
            self._writer.write_reports(reports)
        if len(readings) < self._tracker.batch_size:
            self._rest(time.monotonic() - began_s)
        return True

    def _rest(self, took_s: float) -> None:
        """Let what comes meanwhile gather, so that a tracker with many runs is not called for each row of each."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or self._changed.is_awaited, rest_s(took_s, self._count_runs())
            )

    def _read_queue(self, most: int) -> Sequence[Reading]:
        try:
            return self._queue.first(most)
        except TraceletError as error:
            # The queue could not be read. This may pass, so it is tried again as where a tracker does not answer.
            raise TrackerUnavailableError(str(error)) from error

    def _finish(self) -> None:
        # A training that was killed has not reported its end: the time of its last value is taken.
        ended = self._end_unix_nano or self._last_unix_nano
        try:
            self._writer.persist(partial(self._tracker.close, end_unix_nano=ended), self._outcome)
        except TraceletError as error:
            self._writer.problem = str(error)
            self._guard.report(f"the run in {self._tracker.name} was not closed", error)
        else:
            self._ended = True

    def _lose(self, error: Exception) -> None:
        """Give up for good, since the tracker accepts nothing more; all that waits counts as refused."""
        self._guard.report(f"{self._tracker.name} takes no more readings", str(error))
        with self._changed:
            self._writer.problem = self._lost = str(error)
            self._queue.lose()
            self._reports.clear()
            self._changed.notify_all()

    def _count(self, delivered: int, refused: int) -> None:
        self._queue.take(delivered, refused)
        self._changed.advance()

    def _forget_reports(self, number: int) -> None:
        with self._changed:
            for _ in range(number):
                self._reports.popleft()
        self._changed.advance()
