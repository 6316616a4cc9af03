"""Events of the run in this process, on their way to whoever exports them."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final, Protocol

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.events import Event

_MOST_KEPT: Final = 100
"""Events that are kept for exporters that come later; there are few of them in a run."""


class EventExporter(Protocol):
    """Takes events of this process."""

    def export_events(self, events: list[Event]) -> None:
        """Pass events on without waiting for whoever gets them."""
        ...


class Events:
    """Passes each event to all exporters. In a forked child it does nothing.

    Args:
        guard: where errors are reported.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._exporters: list[EventExporter] = []
        self._emitted: deque[Event] = deque(maxlen=_MOST_KEPT)
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def add_exporter(self, exporter: EventExporter) -> None:
        """Export by this one too, also what has been emitted before. May be called on any thread."""
        with self._lock:
            self._exporters.append(exporter)
            if self._emitted:
                self._export([exporter], list(self._emitted))

    def emit(self, event: Event) -> None:
        """Export an event. Never raises."""
        if os.getpid() == self._pid:
            with self._lock:
                self._emitted.append(event)
                self._export(self._exporters, [event])

    def _export(self, exporters: list[EventExporter], events: list[Event]) -> None:
        for exporter in exporters:
            try:
                exporter.export_events(events)
            except Exception as error:
                self._guard.report("events were not delivered", error)
