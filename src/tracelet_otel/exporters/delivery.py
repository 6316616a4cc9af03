"""The delivery to one tracker, from a queue, on a thread of its own.

A tracker that is slow or down therefore delays neither a metric reader nor another tracker.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.errors import TraceletError, TrackerUnavailableError
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.exporters.queue import Queue
from tracelet_otel.exporters.writer import Writer, each_once
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import run_identity

_TIME: Final = attrgetter("time_unix_nano")


class Delivery:
    """Hands batches to a tracker until it has taken or refused everything.

    Args:
        tracker: used by one thread at a time.
        guard: where refused readings are reported.
        queue: what the tracker has yet to take; who fills it wakes the delivery.
    """

    def __init__(self, tracker: Tracker, guard: Guard, queue: Queue) -> None:
        self._tracker = tracker
        self._guard = guard
        self._changed = ProgressCondition()
        self._queue = queue
        self._params: deque[tuple[str, Param]] = deque()
        self._outcome: str | None = None
        self._end_unix_nano: int | None = None
        self._last_unix_nano: int | None = None
        self._lost: str | None = None
        self._ended = False
        self._closing = False
        self._closed = False
        self._abandoned = threading.Event()
        self._writer = Writer(tracker, guard, self._abandoned, self._count, self._forget_params)
        self._opened = False
        self._location: RunLocation | None = None
        self._thread: threading.Thread | None = None
        self._resource: Mapping[str, Any] | None = None

    @property
    def account(self) -> Account:
        """The state of things at this moment."""
        with self._changed:
            return Account(self._queue.delivered, self._queue.refused, self._queue.pending, self._writer.problem)

    @property
    def params_pending(self) -> bool:
        """Whether there are hyperparameters that the tracker has not taken yet."""
        with self._changed:
            return bool(self._params)

    @property
    def complete(self) -> bool:
        """Whether the tracker has taken everything and its run is closed."""
        with self._changed:
            return self._ended and not self._queue.pending

    @property
    def lost(self) -> str | None:
        """Why the tracker takes nothing more, where it does not."""
        with self._changed:
            return self._lost

    @property
    def url(self) -> str | None:
        """Where people look at the run; None as long as the tracker has not given it."""
        return self._location.url if self._location else None

    def begin(self, resource: Mapping[str, Any]) -> None:
        """Create or continue the run on the delivery's own thread, as often as that takes."""
        with self._changed:
            self._start(resource)

    def open(self, resource: Mapping[str, Any]) -> RunLocation:
        """Create or continue the run, on the calling thread; what waits is delivered from the first `tell` on.

        Raises:
            TraceletError: the run cannot be had.
        """
        location = self._tracker.open(run_identity(resource))
        if location.hint:
            log.warning("%s: %s", self._tracker.name, location.hint)
        self._opened, self._location, self._resource = True, location, resource
        return location

    def give_back(self) -> None:
        """End the run in the tracker, with nothing delivered: it cannot be had elsewhere."""
        self._closed = self._closing = True
        self._abandoned.set()
        self._finish()

    def wake(self) -> None:
        """There is something in the queue."""
        with self._changed:
            self._changed.notify_all()

    def tell(
        self, outcome: str | None, end_unix_nano: int | None = None, params: Iterable[tuple[str, Param]] = ()
    ) -> None:
        """Take what is no reading; never blocks on the tracker. From now on the queue is delivered.

        Args:
            outcome: of the run, so far; None where nothing is known.
            end_unix_nano: when the run ended, in nanoseconds since the epoch; None where nobody has said it.
            params: hyperparameters that are new, in their order.
        """
        with self._changed:
            if self._closing:
                return
            self._outcome = outcome or self._outcome
            self._end_unix_nano = end_unix_nano or self._end_unix_nano
            if self._lost is None:
                self._params.extend(params)
            if self._resource is not None:
                self._start(self._resource)
            self._changed.notify_all()

    def wait(self, patience_s: float) -> bool:
        """Block until all that was put is done with.

        Args:
            patience_s: give up after this many seconds in which the tracker took nothing.

        Returns:
            Whether nothing is left.
        """
        with self._changed:
            self._changed.wait_until(lambda: self._idle() or not self._is_working, patience_s)
            return self._idle()

    @property
    def _is_working(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def close(self, patience_s: float) -> Account:
        """Deliver what is left, end the run, and say what was not delivered.

        Args:
            patience_s: give up after this many seconds in which the tracker took nothing.
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
                # At exit some interpreters start no more threads.
                self._work(self._resource)
            return self.account
        finally:
            # Also where somebody interrupts the wait: what is missing is named.
            self._abandoned.set()
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._say_missing()

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

    def _say_missing(self) -> None:
        account = self.account
        if account.pending or account.refused or self._params:
            log.error(
                "%s: %d readings delivered, %d refused, %d not delivered, %d hyperparameters not delivered: %s",
                self._tracker.name,
                account.delivered,
                account.refused,
                account.pending,
                len(self._params),
                account.problem,
            )

    def _idle(self) -> bool:
        return not self._queue.pending and not self._params

    def _work(self, resource: Mapping[str, Any]) -> None:
        try:
            if not self._opened:
                self._writer.persist(self.open, resource)
            while self._next():
                pass
            self._finish()
        except TrackerUnavailableError:
            return  # given up while closing: what is left stays in the account as pending
        except TraceletError as error:
            self._lose(error)
        except Exception as error:
            self._guard.report(f"the delivery to {self._tracker.name} broke down", error)
            self._lose(error)

    def _next(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not self._idle())
            params = each_once(self._params)
        readings = self._writer.persist(self._first, self._tracker.batch_size)
        if not params and not readings:
            # What waited may have made room for something that is not for trackers yet.
            return not self._closing
        if readings:
            self._last_unix_nano = max(self._last_unix_nano or 0, *map(_TIME, readings))
            self._writer.write_readings(readings)
        if params:
            self._writer.write_params(params)
        return True

    def _first(self, most: int) -> Sequence[Reading]:
        try:
            return self._queue.first(most)
        except TraceletError as error:
            # It is no error of the tracker's, and may pass.
            raise TrackerUnavailableError(str(error)) from error

    def _finish(self) -> None:
        # Who was killed has not said when: then it is the time of the last value.
        ended = self._end_unix_nano or self._last_unix_nano
        try:
            self._writer.persist(partial(self._tracker.close, end_unix_nano=ended), self._outcome)
        except TraceletError as error:
            self._writer.problem = str(error)
            self._guard.report(f"the run in {self._tracker.name} was not closed", error)
        else:
            self._ended = True

    def _lose(self, error: Exception) -> None:
        """Nothing more will be accepted."""
        self._guard.report(f"{self._tracker.name} takes no more readings", str(error))
        with self._changed:
            self._writer.problem = self._lost = str(error)
            self._queue.lose()
            self._params.clear()
            self._changed.notify_all()

    def _count(self, delivered: int, refused: int) -> None:
        self._queue.take(delivered, refused)
        self._changed.advance()

    def _forget_params(self, number: int) -> None:
        with self._changed:
            for _ in range(number):
                self._params.popleft()
        self._changed.advance()
