"""The spans of the trainings of this process, from what the training thread has noted to whoever exports them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter_ns
from typing import Final, Protocol

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import SpanContext

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.tracing.builder import NewSpan, SpanBuilder
from tracelet_otel.instrumentation.tracing.files import size_of_directory
from tracelet_otel.instrumentation.tracing.notes import SpanNotes, type_of_call
from tracelet_otel.protocol.spans import FinishedSpan, Trace, new_span_id

PROGRESS_S: Final = 600.0
"""After how many seconds of a span a part of it becomes a span of its own."""
_MOST_KEPT: Final = 10_000
"""Spans that are kept until the run is known; the oldest are dropped beyond that."""
_MOST_REPEATED: Final = 1_000
"""Spans that an exporter gets which was added when they had been exported."""
_UNDELIVERED: Final = "spans were not delivered"


class SpanExporter(Protocol):
    """Takes spans of this process that have ended."""

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        """Pass spans on without waiting for whoever gets them."""
        ...


class Tracing:
    """Makes spans when metrics are collected. The training thread only notes beginnings and ends.

    In a forked child it does nothing: what was noted belongs to the process that made it.

    Args:
        meter_provider: where a counter of spans is created, whose collections make the spans.
        guard: where errors are reported.
        run_id: returns the run's id; empty as long as it is not known. Spans are kept until then.
        carrier: `traceparent` and `tracestate` of the environment, as far as they are there.
        progress_s: after how many seconds of a span a part of it becomes a span of its own.
    """

    def __init__(
        self,
        meter_provider: MeterProvider,
        guard: Guard,
        run_id: Callable[[], str],
        carrier: Mapping[str, str],
        progress_s: float = PROGRESS_S,
    ) -> None:
        self.notes = SpanNotes(guard)
        self._guard = guard
        self._run_id = run_id
        self._carrier = carrier
        self._trace: Trace | None = None
        self._builder = SpanBuilder(new_span_id, int(progress_s * 1e9), size_of_directory)
        self._kept: deque[FinishedSpan] = deque(maxlen=_MOST_KEPT)
        self._exporters: list[SpanExporter] = []
        self._exported: deque[FinishedSpan] = deque(maxlen=_MOST_REPEATED)
        self._count = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_counter(
            semconv.SPANS,
            callbacks=[self._observe],
            unit=semconv.SPANS_UNIT,
            description="Spans of trainings that have ended",
        )

    @property
    def trace(self) -> Trace | None:
        """The trace of the run; None as long as the run is not known."""
        if self._trace is None and (run_id := self._run_id()):
            self._trace = Trace.of(run_id, self._carrier)
        return self._trace

    def add_exporter(self, exporter: SpanExporter) -> None:
        """Export by this one too, also what has been exported before. May be called on any thread."""
        with self._lock:
            self._exporters.append(exporter)
            trace = self.trace
            if self._exported and trace is not None:
                exporter.export(list(self._exported), trace)

    def collect(self) -> None:
        """Make spans of what was noted, and export those that have ended. Never raises."""
        if os.getpid() == self._pid:
            with self._lock:
                self._collect()

    def finish(self, error: BaseException | None = None) -> None:
        """End all spans that are open, and export them: the run ends. Never raises.

        Args:
            error: what has ended the run; None for nothing.
        """
        if os.getpid() == self._pid:
            with self._lock:
                self._collect()
                self._keep(self._builder.settle(perf_counter_ns(), self.notes.step_of, type_of_call(error)))
                self._export()

    def add(self, span: NewSpan) -> SpanContext | None:
        """Add a span that has ended, with all that is in it, to the span that was open when it began.

        Returns:
            What refers to the span; None where nothing was open then, or the run is not known yet.
        """
        if os.getpid() != self._pid:
            return None
        with self._lock:
            self._take_notes()
            added = self._builder.add(span)
            self._keep(added)
            return self._context(added[0].span_id if added else None)

    def context_at(self, time_ns: int) -> SpanContext | None:
        """What refers to the innermost span that was open at a time.

        Args:
            time_ns: a time of `perf_counter_ns`, of the last thousand spans or so.

        Returns:
            None where nothing was open then, or the run is not known yet.
        """
        if os.getpid() != self._pid:
            return None
        with self._lock:
            self._take_notes()
            return self._context(self._builder.open_at(time_ns))

    def _context(self, span_id: int | None) -> SpanContext | None:
        return None if span_id is None or self.trace is None else self.trace.context(span_id)

    def _collect(self) -> None:
        try:
            self._take_notes()
            self._keep(self._builder.progress(perf_counter_ns(), self.notes.step_of))
        except Exception as error:
            self._guard.report("spans could not be made", error)
        self._export()

    def _take_notes(self) -> None:
        notes = self.notes.queue
        for _ in range(len(notes)):
            self._keep(self._builder.take(notes.popleft()))

    def _keep(self, spans: Iterable[FinishedSpan]) -> None:
        for span in spans:
            self._count += 1
            if len(self._kept) == _MOST_KEPT:
                self._guard.count(_UNDELIVERED, 1)
            self._kept.append(span)

    def _export(self) -> None:
        """Must be called with `_lock` held."""
        try:
            trace = self.trace
            if not self._kept or trace is None:
                return
            spans = list(self._kept)
            self._kept.clear()
            self._exported.extend(spans)
            for exporter in self._exporters:
                exporter.export(spans, trace)
        except Exception as error:
            self._guard.report(_UNDELIVERED, error)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        if os.getpid() != self._pid:
            return []
        self.collect()
        return [Observation(self._count)] if self._count else []
