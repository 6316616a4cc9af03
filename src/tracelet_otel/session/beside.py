"""What this process sends beside metrics: spans and events, on their way to the run's relay and to a collector."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.events import OtlpEvents
from tracelet_otel.exporters.otlp.records import OtlpRecords
from tracelet_otel.exporters.otlp.spans import OtlpSpans
from tracelet_otel.protocol.events import Event
from tracelet_otel.protocol.spans import FinishedSpan, Trace
from tracelet_otel.session.role import Role

_MOST_KEPT: Final = 10_000
"""Exports that are kept until the run is found."""
_RELAY_S: Final = 2.0
"""Seconds that a relay has for what is left before it is told that the run has ended."""
_COLLECTOR_S: Final = 5.0
"""Seconds that a collector has at the end of a run, as long as one that takes nothing is waited for."""


class BesideMetrics:
    """Sends spans and events once the run is found; keeps them until then. In a forked child it does nothing.

    Args:
        guard: where errors are reported.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._role: Role | None = None
        self._spans: list[OtlpSpans] = []
        self._events: list[OtlpEvents] = []
        self._kept: deque[Callable[[], object]] = deque(maxlen=_MOST_KEPT)

    def open(self, role: Role, identity: Resource) -> None:
        """Send to where the role of this process leads.

        Args:
            role: is open.
            identity: resource of the run in this process.
        """
        spans, events = role.span_senders(identity, self._guard), role.event_senders(identity, self._guard)
        with self._lock:
            self._role, self._spans, self._events = role, spans, events
            self._send()

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Take spans that have ended, without waiting."""

        def send() -> None:
            for one in self._spans:
                one.export(spans, trace)

        self._keep(send)

    def export_events(self, events: list[Event]) -> None:
        """Take events, without waiting."""

        def send() -> None:
            for one in self._events:
                one.export_events(events)

        self._keep(send)

    def hurry(self) -> None:
        """Have everything sent now, and wait a little for a relay: it may close the run as soon as that has ended."""
        for sender in self._senders:
            self._guarded(lambda one=sender: one.flush(_RELAY_S if one.is_to_relay else 0))  # type: ignore[misc]

    def finish(self, began_s: float, stop_timeout_s: float) -> None:
        """Send what is left, and stop. A collector that takes nothing is not waited for twice, for metrics and these.

        Args:
            began_s: when the end of the run began, on the monotonic clock.
            stop_timeout_s: how long the end may take.
        """
        with self._lock:
            self._send()
        for sender in self._senders:
            left_s = began_s + min(stop_timeout_s, _COLLECTOR_S) - time.monotonic()
            self._guarded(lambda one=sender, left_s=left_s: one.close(max(left_s, 0.0)))  # type: ignore[misc]

    @property
    def _senders(self) -> list[OtlpRecords]:
        return [*self._spans, *self._events]

    def _keep(self, send: Callable[[], object]) -> None:
        if os.getpid() == self._pid:
            with self._lock:
                if len(self._kept) == _MOST_KEPT:
                    self._guard.report("spans or events were not delivered", "too many came before the run was found")
                self._kept.append(send)
                self._send()

    def _send(self) -> None:
        """Must be called with `_lock` held."""
        if self._role is not None and self._role.run_id:
            while self._kept:
                self._guarded(self._kept.popleft())

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            self._guard.report("spans or events were not delivered", error)
