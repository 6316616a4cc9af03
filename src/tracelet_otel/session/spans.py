"""The spans of this process on their way to the run's relay and to a collector."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.spans import OtlpSpans
from tracelet_otel.protocol.spans import FinishedSpan, Trace
from tracelet_otel.session.role import Role

_MOST_KEPT: Final = 10_000
"""Spans that are kept until the run is found."""
_RELAY_S: Final = 2.0
"""Seconds that a relay has for spans before it is told that the run has ended."""
_COLLECTOR_S: Final = 5.0
"""Seconds that spans have at the end of a run, as long as a collector that takes nothing is waited for."""


class SpanSenders:
    """Sends spans once the run is found; keeps them until then. In a forked child it does nothing.

    Args:
        guard: where errors are reported.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._role: Role | None = None
        self._senders: list[OtlpSpans] = []
        self._kept: deque[tuple[FinishedSpan, Trace]] = deque(maxlen=_MOST_KEPT)

    def open(self, role: Role, identity: Resource) -> None:
        """Send to where the role of this process leads.

        Args:
            role: is open.
            identity: resource of the run in this process.
        """
        senders = role.span_senders(identity, self._guard)
        with self._lock:
            self._role, self._senders = role, senders
            self._send()

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Take spans that have ended, without waiting."""
        if os.getpid() == self._pid:
            with self._lock:
                self._kept.extend((span, trace) for span in spans)
                self._send()

    def hurry(self) -> None:
        """Have everything sent now, and wait a little for a relay: it may close the run as soon as that has ended."""
        for sender in self._senders:
            self._guarded(lambda one=sender: one.flush(_RELAY_S if one.is_to_relay else 0))  # type: ignore[misc]

    def finish(self, began_s: float, stop_timeout_s: float) -> None:
        """Send what is left, and stop. A collector that takes nothing is not waited for twice, for metrics and spans.

        Args:
            began_s: when the end of the run began, on the monotonic clock.
            stop_timeout_s: how long the end may take.
        """
        with self._lock:
            self._send()
        left_s = began_s + min(stop_timeout_s, _COLLECTOR_S) - time.monotonic()
        for sender in self._senders:
            self._guarded(lambda one=sender: one.close(max(left_s, 0.0)))  # type: ignore[misc]

    def _send(self) -> None:
        """Must be called with `_lock` held."""
        if self._role is None or not self._role.run_id or not self._kept:
            return
        kept = list(self._kept)
        self._kept.clear()
        for sender in self._senders:
            self._guarded(lambda one=sender: one.export([span for span, _ in kept], kept[0][1]))  # type: ignore[misc]

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            self._guard.report("spans were not delivered", error)
