"""The exporter that sends the stream to a relay, and keeps what was not accepted.

The stock OTLP exporter draws from Python's global random generator, obeys proxies even for
loopback, and drops what it could not send within ten seconds.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import urllib3
from google.protobuf.message import DecodeError
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tracelet_otel._support.guard import UNDELIVERED, Guard, log
from tracelet_otel._support.pauses import spread
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.errors import RunLostError
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.encode import encode
from tracelet_otel.protocol.messages import MAX_BODY_BYTES
from tracelet_otel.protocol.metrics_data import sample_count, with_attributes
from tracelet_otel.protocol.requests import count_samples, parse, split
from tracelet_otel.session.calls import Address, HttpConnection

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_LARGEST_BACKLOG_BYTES: Final = 32 * 2**20
"""Of bodies that wait; compressed, they are about 2,000,000 samples."""
_OBJECT_BYTES: Final = 300
_FINAL: Final = (400, 410, 413, 415)
"""What a relay answers to a body that it will never accept."""


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes
    encoding: str | None
    """How the content is encoded, as HTTP's `Content-Encoding` has it; None where it is not."""
    samples: int
    repeats: bool
    """Whether its whole export has no samples: then the next export says all that it says."""

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return len(self.content) + _OBJECT_BYTES


class RelayExporter(MetricExporter):
    """Queues each export for a relay; a thread of its own sends, as often as that takes.

    In a forked child it does nothing: what it holds is its parent's to send.

    Args:
        address: asked before each request, since a relay that was started again may be elsewhere.
        revive: called after a request without an answer; starts a relay that has died. `RunLostError`
            says that there is nobody to send to any more.
        guard: where errors end.
        attributes: of the resource, where they are known later than it; over those that it has.
        largest_bytes: a body that is larger is split.
        backlog_bytes: bodies that wait may have so many; where they would have more, the oldest are dropped.
    """

    def __init__(
        self,
        address: Callable[[], Address],
        revive: Callable[[], None],
        guard: Guard,
        attributes: Callable[[], Mapping[str, Any]] = dict,
        largest_bytes: int = MAX_BODY_BYTES // 2,
        backlog_bytes: int = _LARGEST_BACKLOG_BYTES,
    ) -> None:
        super().__init__(
            preferred_temporality=samples.preferred_temporality(),
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self._address = address
        self._revive = revive
        self._guard = guard
        self._attributes = attributes
        self._largest_bytes = largest_bytes
        self._backlog_bytes = backlog_bytes
        self._pid = os.getpid()
        self._changed = ProgressCondition()
        self._bodies: deque[_Body] = deque()
        self._closed = False
        self._lost = False
        self._woken = threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="tracelet-sender", daemon=True)
        self._sends_itself = True
        with contextlib.suppress(RuntimeError):
            # At exit some interpreters start no more threads: then whoever flushes sends.
            self._thread.start()
            self._sends_itself = False

    @property
    def queued(self) -> int:
        """Samples that the relay has not accepted yet."""
        with self._changed:
            return sum(body.samples for body in self._bodies)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Queue an export."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        if self._lost:
            self._guard.count(UNDELIVERED, sample_count(metrics_data))
            return MetricExportResult.FAILURE
        try:
            content = encode(with_attributes(metrics_data, self._attributes()))
            bodies = self._bodies_of(content, sample_count(metrics_data))
        except Exception as error:
            self._guard.report("an export was dropped", error)
            return MetricExportResult.FAILURE
        # Points are repeated at each collection: of those without samples only the newest matters,
        # but the first may be on its way.
        with self._changed:
            while len(self._bodies) > 1 and self._bodies[-1].repeats:
                self._bodies.pop()
            dropped = self._make_room(bodies)
            self._bodies.extend(bodies)
            self._changed.notify_all()
        if dropped:
            self._guard.report("so much waits for the relay that the oldest values were dropped", "it takes nothing")
            self._guard.count(UNDELIVERED, dropped)
        return MetricExportResult.SUCCESS

    def _make_room(self, bodies: Sequence[_Body]) -> int:
        """Drop the oldest that wait, but not the first, which may be on its way; returns how many samples they had."""
        size, dropped = self.waiting_bytes + sum(body.size for body in bodies), 0
        while size > self._backlog_bytes and len(self._bodies) > 1:
            size -= self._bodies[1].size
            dropped += self._bodies[1].samples
            del self._bodies[1]
        return dropped

    @property
    def waiting_bytes(self) -> int:
        """What bodies take in memory that wait for the first one, which is on its way."""
        with self._changed:
            return sum(body.size for body in itertools.islice(self._bodies, 1, None))

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until there is room for as much again as waits, or until the relay has taken nothing for so long."""
        half = self._backlog_bytes / 2
        self._changed.wait_until(lambda: self.waiting_bytes <= half or self._closed or self._sends_itself, timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the relay has accepted everything."""
        if os.getpid() != self._pid:
            return True
        self._woken.set()
        if self._sends_itself:
            self._send_until(time.monotonic() + timeout_millis / 1e3)
        with self._changed:
            return self._changed.wait_for(lambda: not self._bodies, timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Wait until the relay has accepted everything, and send no more."""
        if os.getpid() != self._pid or self._closed:
            return
        timeout_ms = max(kwargs.get("timeout", timeout_millis), 0)
        try:
            if not self.force_flush(timeout_ms):
                self._guard.report(f"{self.queued} values were not delivered", "the relay did not accept them in time")
        finally:
            with self._changed:
                self._closed = True
                self._woken.set()
                self._changed.notify_all()

    def _bodies_of(self, content: bytes, samples: int) -> list[_Body]:
        parts = [(content, samples)]
        if len(content) > self._largest_bytes:
            halves = split(parse(content), self._largest_bytes)
            parts = [(part.SerializeToString(), count_samples(part)) for part in halves]
        waits = len(self._bodies) > 0 or len(parts) > 1
        # What has to wait behind another body takes a tenth of the room so.
        return [
            _Body(gzip.compress(part, 1) if waits else part, "gzip" if waits else None, count, repeats=not samples)
            for part, count in parts
        ]

    def _work(self) -> None:
        # Under somebody's auto-instrumentation each request would become a span.
        with suppress_instrumentation():
            self._send_all()

    def _send_until(self, deadline_s: float) -> None:
        with suppress_instrumentation(), HttpConnection() as connection:
            while self._bodies and time.monotonic() < deadline_s:
                if self._send(connection, self._bodies[0]):
                    self._bodies.popleft()
                else:
                    time.sleep(_FIRST_PAUSE_S)

    def _send_all(self) -> None:
        pause_s = _FIRST_PAUSE_S
        with HttpConnection() as connection:
            while (body := self._next()) is not None:
                if self._send(connection, body):
                    pause_s = _FIRST_PAUSE_S
                    with self._changed:
                        if self._bodies:
                            self._bodies.popleft()
                    self._changed.advance()
                else:
                    self._woken.wait(spread(pause_s))
                    self._woken.clear()
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _next(self) -> _Body | None:
        """Wait for a body; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._bodies))
            return None if self._closed else self._bodies[0]

    def _send(self, connection: HttpConnection, body: _Body) -> bool:
        """Returns whether the body is done with."""
        try:
            answer = connection.post(self._address(), body.content, body.encoding)
        except urllib3.exceptions.HTTPError as error:
            self._guarded_revive(error)
            return False
        except Exception as error:
            self._guard.report("the relay could not be asked", error)
            return False
        if answer.status == HTTPStatus.OK:
            self._pass_on(answer.data)
            return True
        reason = f"HTTP status {answer.status}: {answer.data[:300]!r}"
        if answer.status in _FINAL:
            self._guard.report("the relay refused an export", reason)
            self._guard.count(UNDELIVERED, body.samples)
            return True
        self._guard.report("the relay does not accept; the export is kept and sent again", reason)
        return False

    def _pass_on(self, content: bytes) -> None:
        try:
            news = ExportMetricsServiceResponse.FromString(content).partial_success.error_message.splitlines()
        except DecodeError as error:
            self._guard.report("the relay's answer could not be read", error)
            return
        for line in news:
            # The relay counts it.
            if line not in self._told:
                self._told.add(line)
                log.warning("relay: %s", line)

    def _lose(self, reason: RunLostError) -> None:
        with self._changed:
            self._lost = True
            missing = sum(body.samples for body in self._bodies)
            self._bodies.clear()
            self._changed.notify_all()
        if missing:
            self._guard.report("the relay is gone", str(reason))
            self._guard.count(UNDELIVERED, missing)

    def _guarded_revive(self, error: Exception) -> None:
        if self._closed:
            return
        try:
            self._revive()
        except RunLostError as lost:
            self._lose(lost)
        except Exception as problem:
            self._guard.report("the relay could not be started again", problem)
