"""The queue of one OTLP endpoint: retry, bounds and accounting, on a thread of its own.

A stock exporter does the sending. What it could not send within its time limit, ten seconds, it drops: here that is
kept and sent again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.guard import UNDELIVERED, Guard, log
from tracelet_otel._support.pauses import spread
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.exporters.otlp.backlog import Backlog, Waiting
from tracelet_otel.exporters.otlp.failures import ExportFailure, FailureListener
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.metrics_data import divided, sample_count

_HEAVIEST_BACKLOG: Final = 500_000
"""Points and samples, which take about 450 bytes each."""
_HEAVIEST_EXPORT: Final = 10_000
"""About 1.5 MB: a collector takes no more than 4 MiB by gRPC."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_ATTEMPTS: Final = 10
_PATIENCE_S: Final = 5.0


class OtlpDelivery:
    """Hands exports to a stock exporter until each was delivered or refused.

    Args:
        stock: used by one thread at a time.
        said: hears why it fails.
        endpoint: where it sends to, as it may be shown.
        guard: where errors end.
    """

    def __init__(self, stock: MetricExporter, said: FailureListener, endpoint: str, guard: Guard) -> None:
        self._stock = stock
        self._said = said
        self._endpoint = endpoint
        self._guard = guard
        self._too_much = f"so much waits for {endpoint} that the oldest values were dropped"
        self._changed = ProgressCondition()
        self._backlog = Backlog(_HEAVIEST_BACKLOG)
        self._sending: Waiting | None = None
        self._crowding: Waiting | None = None
        self._delivered = 0
        self._refused = 0
        self._problem: str | None = None
        self._closed = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracelet-otlp", daemon=True)
        self._thread.start()

    @property
    def account(self) -> Account:
        """The state of things at this moment."""
        with self._changed:
            pending = self._backlog.samples + (self._sending.samples if self._sending else 0)
            # Before the first attempt has ended, what was said of it is all that is known.
            return Account(self._delivered, self._refused, pending, self._problem or self._said.words or None)

    def put(self, data: MetricsData) -> bool:
        """Queue an export; returns whether it was taken."""
        exports = [Waiting.of(part) for part in divided(data, _HEAVIEST_EXPORT)]
        with self._changed:
            if self._closed:
                self._refuse(sample_count(data), f"values came after {self._endpoint} was closed", "they were dropped")
                return False
            dropped = sum(self._backlog.put(export, begins=number == 0) for number, export in enumerate(exports))
            if dropped:
                # It is the oldest, and may be what holds up the others.
                self._crowding = self._sending
                self._refuse(dropped, self._too_much, self._problem or "it is slow")
            self._changed.notify_all()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Block until all that was put is done with, or nothing was for 5 s; returns whether nothing is left."""
        return self._wait_until(self._idle, timeout_s)

    def wait_for_room(self, timeout_s: float) -> None:
        """Block until less than half of what fits in waits, or nothing was done with for 5 s."""
        self._wait_until(lambda: self._closed or not self._backlog.is_half_full, timeout_s)

    def _wait_until(self, is_reached: Callable[[], bool], timeout_s: float) -> bool:
        self._woken.set()
        return self._changed.wait_until(is_reached, _PATIENCE_S, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Wait as `wait` does, send no more, and say what was not delivered."""
        if self._closed:
            return
        try:
            self.wait(timeout_s)
        finally:
            # Also where somebody interrupts the wait: what is missing is named.
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._woken.set()
            self._say_missing()
            self._let_go()

    def _idle(self) -> bool:
        return self._sending is None and not self._backlog

    def _say_missing(self) -> None:
        account = self.account
        if self._idle() and not account.refused:
            return
        self._guard.count(UNDELIVERED, account.pending)
        if not self._idle() and not account.pending:
            self._guard.count("the last state of metrics was not delivered", 1)
        log.error(
            "otlp: %d values delivered, %d refused, %d not delivered to %s: %s",
            account.delivered,
            account.refused,
            account.pending,
            self._endpoint,
            account.problem or "it did not answer in time",
        )

    def _let_go(self) -> None:
        try:
            # This ends its pauses, by gRPC also a call that hangs; one by HTTP is left behind with its thread.
            self._stock.shutdown()
        except Exception as error:
            self._guard.report("the OTLP exporter could not be closed", error)
        if self._idle():
            self._thread.join(_PATIENCE_S)

    def _work(self) -> None:
        # Requests of our own are nobody's spans.
        with suppress_instrumentation(), self._said.listening():
            while (export := self._next()) is not None:
                self._deliver(export)

    def _next(self) -> Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._backlog))
            if self._closed:
                return None
            self._sending = self._backlog.take()
            return self._sending

    def _deliver(self, export: Waiting) -> None:
        """Send an export until it is done with, or until the end gives up on it."""
        doubts = 0
        pause_s = _FIRST_PAUSE_S
        while (fate := self._attempt(export)) is not None:
            doubts += fate is ExportFailure.DOUBTFUL
            is_refused = fate is ExportFailure.REFUSED or doubts == _ATTEMPTS
            if is_refused or self._crowding is export:
                place = f"{self._endpoint} refused an export" if is_refused else self._too_much
                with self._changed:
                    self._refuse(export.samples, place, self._problem or "")
                    self._done()
                return
            place = f"{self._endpoint} takes nothing; values are kept and sent again"
            self._guard.report(place, self._problem or "")
            # Whoever waits for the end has no time for long pauses.
            pause_s = _FIRST_PAUSE_S if self._woken.wait(spread(pause_s)) else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._woken.clear()
            if self._closed:
                return
        with self._changed:
            self._delivered += export.samples
            self._done()

    def _attempt(self, export: Waiting) -> ExportFailure | None:
        """Send once, or as often as the stock exporter does; None where the export was delivered."""
        self._said.forget()
        try:
            if self._stock.export(export.data) is MetricExportResult.SUCCESS:
                self._said.forget()
                return None
            # What cannot be encoded fails like a lost connection.
            encode_metrics(export.data)
        except Exception as error:
            self._problem = str(error)
            return ExportFailure.DOUBTFUL
        self._problem = self._said.words or "the stock exporter does not say why"
        return self._said.fate

    def _done(self) -> None:
        """Must be called with `_changed` held."""
        self._sending = None
        self._changed.advance()

    def _refuse(self, number: int, place: str, reason: str) -> None:
        """Must be called with `_changed` held."""
        self._refused += number
        self._guard.report(place, reason)
        self._guard.count(UNDELIVERED, number)
