"""The spans of a run in the relay: kept in a file until each tracker that takes spans has them."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.pauses import spread
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.errors import TraceletError, TrackerUnavailableError
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.exporters.traces import TakesTraces, TraceWriter
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.protocol.run_identity import RunIdentity, run_identity
from tracelet_otel.relay.journal import JournalError
from tracelet_otel.relay.phase import TooLateError

SUFFIX: Final = ".spans"
"""Of the file beside the journal of the run."""
_MOST_BYTES: Final = 64 * 2**20
"""Where a file has so much, no more is taken."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_LENGTH: Final = struct.Struct("<I")
"""Length of a request, which stands before it."""


class RunSpans:
    """The spans of one run. What `accept` has taken is on the disk when it returns.

    What a relay before this one has left is delivered first. Trackers know a span that comes again.

    Args:
        path: the file, which is there as long as there are spans that some tracker does not have.
        guard: where problems are reported.
    """

    def __init__(self, path: Path, guard: Guard) -> None:
        self._path = path
        self._guard = guard
        self._changed = ProgressCondition()
        self._file: BinaryIO | None = None
        self._size = _whole_bytes(path)
        self._lanes: dict[str, _Lane] = {}
        self._run: RunIdentity | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Deliver to those trackers that take spans.

        Args:
            trackers: trackers of the run, by name.
            resource: attributes of the run's resource.
        """
        with self._changed:
            self._run = run_identity(resource)
            for name, tracker in trackers.items():
                if isinstance(tracker, TakesTraces):
                    self._lanes[name] = _Lane(tracker.trace_writer())
            self._start()

    def accept(self, spans: ExportTraceServiceRequest) -> None:
        """Take spans of this run.

        Raises:
            JournalError: they cannot be written; they may be sent again later.
            TooLateError: the run is over.
        """
        content = spans.SerializeToString()
        with self._changed:
            if self._closed:
                raise TooLateError("the run is over")
            if not self._lanes:
                return
            if self._size + len(content) > _MOST_BYTES:
                self._guard.report("spans were dropped", f"{self._path} has {self._size} bytes that wait for trackers")
                return
            try:
                self._append(_LENGTH.pack(len(content)) + content)
            except OSError as error:
                raise JournalError(f"the spans of a run cannot be written: {error}") from error
            self._start()
            self._changed.notify_all()

    def pending(self, tracker: str) -> bool:
        """Whether a tracker takes spans and does not have all of them."""
        with self._changed:
            lane = self._lanes.get(tracker)
            return lane is not None and not lane.is_lost and lane.done < self._size

    def close(self, patience_s: float) -> None:
        """Deliver what is left, and take no more. The file stays where a tracker has not taken all.

        Args:
            patience_s: give up on trackers that have taken nothing for so many seconds.
        """
        with self._changed:
            if self._thread is not None:
                self._changed.wait_until(lambda: not any(map(self.pending, self._lanes)), patience_s)
            self._closed = True
            self._changed.notify_all()
            if self._run is None:
                return
            is_complete = not any(map(self.pending, self._lanes))
            if self._file is not None:
                self._file.close()
            if is_complete:
                self._path.unlink(missing_ok=True)
            else:
                self._guard.report("spans were not delivered", f"they are in {self._path}")

    def _append(self, record: bytes) -> None:
        """Must be called with `_changed` held."""
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600), "r+b", buffering=0)
        try:
            self._file.seek(self._size)
            self._file.write(record)
            os.fsync(self._file.fileno())
        except BaseException:
            # What was written of it is overwritten by the next one.
            self._file.truncate(self._size)
            raise
        self._size += len(record)

    def _start(self) -> None:
        """Start the thread once there is something to deliver. Must be called with `_changed` held."""
        if self._thread is None and self._size and self._lanes:
            thread = threading.Thread(target=self._work, name="tracelet-spans", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # At exit, some interpreters start no more threads. What there is stays in the file.
                self._guard.report("spans were not delivered", error)
            else:
                self._thread = thread

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now_s = time.monotonic()
                waiting = [(name, lane) for name, lane in self._lanes.items() if self.pending(name)]
                if self._changed.is_awaited:
                    # Whoever waits has no time for long pauses.
                    for _, lane in waiting:
                        lane.pause_s, lane.due_s = _FIRST_PAUSE_S, min(lane.due_s, now_s + _FIRST_PAUSE_S)
                due = [(name, lane) for name, lane in waiting if lane.due_s <= now_s]
                if not due:
                    self._forget()
                    # Woken by what comes, and by whoever waits.
                    self._changed.wait(min((lane.due_s - now_s for _, lane in waiting), default=None))
            for name, lane in due:
                self._deliver(name, lane)

    def _forget(self) -> None:
        """Empty the file once each tracker has everything. Must be called with `_changed` held."""
        if self._size and self._file is not None and not any(map(self.pending, self._lanes)):
            self._file.truncate(0)
            self._size = 0
            for lane in self._lanes.values():
                lane.done = 0

    def _deliver(self, name: str, lane: _Lane) -> None:
        assert self._run is not None  # noqa: S101
        try:
            if not lane.is_open:
                lane.writer.open(self._run)
                lane.is_open = True
            record = self._read(lane.done)
            lane.writer.write(ExportTraceServiceRequest.FromString(record))
        except (TrackerUnavailableError, OSError) as error:
            lane.due_s = time.monotonic() + spread(lane.pause_s)
            lane.pause_s = min(2 * lane.pause_s, _LONGEST_PAUSE_S)
            if lane.pause_s == _LONGEST_PAUSE_S:
                self._guard.report(f"{name} takes no spans; they are kept and sent again", str(error))
            return
        except Exception as error:
            self._guard.report(f"{name} has refused spans", str(error) if isinstance(error, TraceletError) else error)
            if not lane.is_open:
                lane.is_lost = True
                self._changed.advance()
                return
            record = self._read(lane.done)
        with self._changed:
            lane.pause_s = _FIRST_PAUSE_S
            lane.done += _LENGTH.size + len(record)
        self._changed.advance()

    def _read(self, place: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(place)
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            return file.read(length)


class _Lane:
    """How far one tracker is."""

    def __init__(self, writer: TraceWriter) -> None:
        self.writer = writer
        self.is_open = False
        self.is_lost = False
        """Whether it will never take any."""
        self.done = 0
        """Up to which byte of the file it has the spans."""
        self.due_s = 0.0
        """When the next attempt is made, on the monotonic clock."""
        self.pause_s = _FIRST_PAUSE_S


def _whole_bytes(path: Path) -> int:
    """Size of the whole records of a file. A relay that was killed may have left a part of one, which is sent again."""
    place, size = 0, path.stat().st_size if path.exists() else 0
    if size:
        with path.open("rb") as file:
            while place + _LENGTH.size <= size:
                file.seek(place)
                end = place + _LENGTH.size + _LENGTH.unpack(file.read(_LENGTH.size))[0]
                if end > size:
                    break
                place = end
    return place


def accept_spans(content: bytes, spans_of: Callable[[str], RunSpans | None]) -> None:
    """Take a request, which may have spans of several runs. Spans of no run are passed over.

    Args:
        content: the request in protobuf form.
        spans_of: returns where the spans of a run go, by its id; None where they go nowhere.

    Raises:
        MalformedError: it is no request.
        TraceletError: it cannot be taken, now or ever.
    """
    try:
        request = ExportTraceServiceRequest.FromString(content)
    except DecodeError as error:
        raise MalformedError(f"the body is no request for traces: {error}") from None
    by_run: dict[str, ExportTraceServiceRequest] = {}
    for one in request.resource_spans:
        for attribute in one.resource.attributes:
            if attribute.key == semconv.RUN_ID:
                by_run.setdefault(attribute.value.string_value, ExportTraceServiceRequest()).resource_spans.append(one)
    for run_id, spans in by_run.items():
        found = spans_of(run_id)
        if found is not None:
            found.accept(spans)
