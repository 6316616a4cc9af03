"""Sends requests to one receiver on a thread of its own, with retries, bounds and accounting for all protocols.

The stock exporters of OpenTelemetry drop what they could not send within ten seconds, and draw their pauses from
Python's global random generator, which belongs to the training. Here a request is kept until it is delivered or
refused, or until there is no more room for it. What was not delivered is counted.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.instrumentation.utils import suppress_instrumentation

from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.pauses import spread
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.exporters.otlp.backlog import Backlog, Body, Instruments
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.exporters.otlp.transport import Answer, Transport, Verdict
from tracelet_otel.protocol.account import Account

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_LONGEST_ASKED_PAUSE_S: Final = 60.0
"""Longest pause between two attempts where a receiver asks for a pause."""
_ATTEMPTS: Final = 10
"""A request at which the receiver has failed this many times counts as refused."""
_DOUBTED_S: Final = 60.0
"""And for so long, since it may be the receiver after all."""
_JOIN_S: Final = 5.0
_LONGEST_PACE_S: Final = 8.0
"""Longest pause between two requests. A relay takes a rank for absent of which nothing comes for ten seconds."""
_PACE_SHRINKS: Final = 0.8
"""What each request that is delivered leaves of the pause between two."""
_JOINED_BYTES: Final = 2**20
"""Largest request that is made of several, not compressed."""


class Sender:
    """Sends requests by a transport, one after the other, until each was delivered or refused.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the closing line of the log and in the name of the thread.
        guard: counts and logs errors.
        limits: how much is kept, and how long is waited.
    """

    def __init__(self, transport: Transport, name: str, guard: Guard, limits: Limits) -> None:
        self._transport = transport
        self._name = name
        self._guard = guard
        self._patience_s, self._what = limits.patience_s, limits.what
        self._dropped_message = f"so much waits for {transport.receiver} that the oldest {self._what} were dropped"
        self._changed = ProgressCondition()
        self._backlog = Backlog(limits.backlog_bytes)
        self._delivered = 0
        self._refused = 0
        self._problem: str | None = None
        self._is_lost = False
        self._undelivered = f"{limits.what} were not delivered"
        self._closing = False
        self._closed = False
        self._pace_s = 0.0
        """Pause between two requests, where the receiver has asked for pauses: it has more to do than it can."""
        self._apart = 0
        """How many of the next requests are not to be joined, since the receiver refused them together."""
        self._sending = threading.Lock()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._work, name=f"tracelet-{name}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            # At exit, some interpreters start no more threads. Then `wait` sends on the thread that calls it.
            self._thread = None

    @property
    def account(self) -> Account:
        """How many samples were delivered, were refused and are pending."""
        with self._changed:
            return Account(self._delivered, self._refused, self._backlog.samples, self._problem)

    @property
    def is_idle(self) -> bool:
        """Whether no request waits and none is being sent."""
        return not self._backlog

    @property
    def waiting_bytes(self) -> int:
        """Memory taken by the requests that wait behind the one that is being sent, in bytes."""
        with self._changed:
            return self._backlog.waiting_bytes

    def put(self, bodies: Sequence[Body], instruments: Callable[[], Instruments]) -> bool:
        """Queue the requests of one export.

        Args:
            bodies: the requests.
            instruments: returns the export's instruments; called only where they are needed.

        Returns:
            False if samples were dropped, because the receiver was lost or the sender is closed.
        """
        with self._changed:
            if self._closed or self._is_lost:
                samples = sum(body.samples for body in bodies)
                if samples:
                    why = "was lost" if self._is_lost else "was closed"
                    self._refuse(
                        samples, f"{self._what} came after {self._transport.receiver} {why}", "they were dropped"
                    )
                return not samples
            dropped = self._backlog.put(bodies, instruments)
            if dropped:
                self._refuse(dropped, self._dropped_message, self._problem or "it is slow")
            self._changed.notify_all()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Block until all requests were delivered or refused, or until nothing was for `Limits.patience_s`.

        Args:
            timeout_s: give up after this many seconds in all.

        Returns:
            Whether nothing is left.
        """
        self._woken.set()
        if self._thread is None:
            with suppress_instrumentation():
                self._send_until(time.monotonic() + timeout_s)
        return self._changed.wait_until(lambda: self.is_idle, self._patience_s, timeout_s)

    def wait_for_room(self, timeout_s: float) -> None:
        """Block until at most half of the backlog's room is taken.

        Args:
            timeout_s: give up after this many seconds in which no request was delivered or refused.
        """
        if self._thread is not None:
            self._woken.set()
            patience_s = min(self._patience_s, timeout_s)
            self._changed.wait_until(lambda: self._closed or not self._backlog.is_half_full, patience_s)

    def close(self, timeout_s: float) -> None:
        """Wait as `wait` does, stop sending, and log what was not delivered. A second call does nothing."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
        try:
            self.wait(timeout_s)
        finally:
            # What is missing is logged also if the wait was interrupted.
            with self._changed:
                self._closed = True
                account, is_idle = self.account, self.is_idle
                self._changed.notify_all()
            self._woken.set()
            self._log_missing(account, is_idle=is_idle)
            self._close_transport()

    def _log_missing(self, account: Account, *, is_idle: bool) -> None:
        if is_idle and not account.refused:
            return
        self._guard.count(self._undelivered, account.pending)
        if not is_idle and not account.pending:
            self._guard.count("the last state of metrics was not delivered", 1)
        log.error(
            "%s: %d %s delivered, %d refused, %d not delivered to %s: %s",
            self._name,
            account.delivered,
            self._what,
            account.refused,
            account.pending,
            self._transport.receiver,
            account.problem or "it did not answer in time",
        )

    def _close_transport(self) -> None:
        try:
            self._transport.close()
        except Exception as error:
            self._guard.report("a connection could not be closed", error)
        if self.is_idle and self._thread is not None:
            self._thread.join(_JOIN_S)

    def _work(self) -> None:
        # Instrumentation of gRPC or `requests` must create no spans for our own requests.
        with suppress_instrumentation():
            while (body := self._next()) is not None:
                self._persist(body)
                self._rest()

    def _rest(self) -> None:
        """Pause between two requests, where the receiver has asked for pauses and there is time for one."""
        with self._changed:
            if self._pace_s:
                self._changed.wait_for(self._has_no_time, spread(self._pace_s))

    def _has_no_time(self) -> bool:
        return self._closing or self._changed.is_awaited or self._backlog.is_half_full

    def _next(self) -> Body | None:
        """Wait for a request; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._backlog))
            if self._closed:
                return None
            if self._pace_s and not self._apart:
                self._backlog.join(_JOINED_BYTES)
            self._apart = max(self._apart - 1, 0)
            return self._backlog.first

    def _send_until(self, deadline_s: float) -> None:
        with self._sending:
            while self._backlog and time.monotonic() < deadline_s:
                self._persist(self._backlog.first, deadline_s)

    def _persist(self, body: Body, deadline_s: float = math.inf) -> None:
        """Try to send a request until it is delivered or refused, the deadline has passed, or the sender is closed."""
        doubts, pause_s, began_s = 0, _FIRST_PAUSE_S, time.monotonic()
        # However often a receiver asks for pauses, one request makes those between requests twice as long, not more.
        least_pace_s = max(2 * self._pace_s, _FIRST_PAUSE_S)
        while not self._closed and time.monotonic() < deadline_s:
            answer = self._attempt(body)
            doubts += answer.verdict is Verdict.DOUBTFUL
            is_given_up = doubts >= _ATTEMPTS and time.monotonic() - began_s >= _DOUBTED_S
            if self._is_done(body, answer, is_given_up=is_given_up):
                self._changed.advance()
                return
            asked_s = None if answer.pause_s is None else min(answer.pause_s, _LONGEST_ASKED_PAUSE_S)
            if asked_s is not None:
                self._pace_s = min(max(asked_s, least_pace_s), _LONGEST_PACE_S)
            # `wait` and `close` wake this thread, since they have no time for long pauses.
            is_woken = self._woken.wait((asked_s or 0) + spread(pause_s if asked_s is None else _FIRST_PAUSE_S))
            pause_s = _FIRST_PAUSE_S if is_woken else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._woken.clear()

    def _attempt(self, body: Body) -> Answer:
        try:
            return self._transport.send(body)
        except Exception as error:
            self._guard.report(f"{self._transport.receiver} could not be asked", error)
            # Its text may hold what is secret.
            self._problem = self._problem or type(error).__name__
            return Answer(Verdict.KEPT)

    def _is_done(self, body: Body, answer: Answer, *, is_given_up: bool) -> bool:
        """Account for an attempt; returns whether the request needs no further attempt."""
        receiver = self._transport.receiver
        with self._changed:
            if answer.verdict is Verdict.DELIVERED:
                self._delivered += body.samples
                self._backlog.pop()
                self._pace_s = self._pace_s * _PACE_SHRINKS if self._pace_s > _FIRST_PAUSE_S else 0.0
                if self._closed:
                    # It was under way when the end gave up on it, and was counted as missing.
                    self._guard.count(self._undelivered, -body.samples)
                return True
            if self._closed:
                return False
            self._problem = answer.reason or self._problem
            if answer.verdict is Verdict.LOST:
                self._is_lost = True
                if missing := self._backlog.clear():
                    self._refuse(missing, f"{receiver} is gone", answer.reason)
                return True
            is_refused = answer.verdict is Verdict.REFUSED or is_given_up
            if is_refused and body.parts:
                # One of them may be why: each is sent by itself.
                self._apart = self._backlog.divide()
                return True
            if is_refused or self._backlog.has_dropped:
                self._backlog.pop()
                self._refuse(body.samples, f"{receiver} refused an export" if is_refused else self._dropped_message)
                return True
        if answer.reason:
            self._guard.report(f"{receiver} takes nothing; {self._what} are kept and sent again", answer.reason)
        return False

    def _refuse(self, number: int, place: str, reason: str | None = None) -> None:
        """Must be called with `_changed` held."""
        self._refused += number
        self._guard.report(place, reason or self._problem or "")
        self._guard.count(self._undelivered, number)
