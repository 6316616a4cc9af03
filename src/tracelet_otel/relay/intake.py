"""Takes requests from the HTTP server to the relay: all that wait together, so that they share a write to the disk."""

from __future__ import annotations

import asyncio
import math
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import MAX_BODY_BYTES, Taken
from tracelet_otel.protocol.requests import MalformedError, parse, protobuf_size

_MOST_AT_ONCE: Final = 1_000
_MOST_BYTES_AT_ONCE: Final = 16 * 2**20
"""Most requests that are taken together, and most bytes of them when they are decompressed.

The first has to wait for all others, and the relay has all of them in memory, in a form that takes several times that.
"""
_MOST_WAITING_BYTES: Final = 64 * 2**20
"""Where so much waits, no more is taken."""
_BEHIND_S: Final = 5.0
"""Where a request has waited for so long, no more are taken."""
_RESTS: Final = 3
"""How many times as long as the last requests took is rested, while others gather."""
_REST_S: Final = 0.5
"""No request waits longer than this for others that it may share a write with."""
_PAUSE_S: Final = 5.0
"""How long the sender of a request that was not answered in time should wait before it sends that again."""
_DEADLINE_S: Final = 20.0
"""A request is answered within so many seconds. A sender would see no answer in less than 30."""

Accept = Callable[[Sequence[ExportMetricsServiceRequest]], Sequence["Taken | Exception"]]
"""Takes requests together; returns what became of each, or why it was not taken."""


class BehindError(TraceletError):
    """The relay has more to do than it can; the same request may be sent again after a pause."""

    def __init__(self, reason: str, pause_s: float) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        """Seconds after which the sender should try again."""


class TooLargeError(ValueError):
    """A body is too large when it is decompressed."""


@dataclass(slots=True)
class _Waiting:
    """A request that waits for its answer."""

    body: bytes
    is_gzip: bool
    answer: asyncio.Future[Taken]
    since_s: float = field(default_factory=time.monotonic)


class Intake:
    """Queues requests, and takes them on a thread of its own. While that waits for the disk, further requests gather.

    Args:
        accept: takes requests.
        guard: counts and logs errors.
    """

    def __init__(self, accept: Accept, guard: Guard) -> None:
        self._accept = accept
        self._guard = guard
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._taking_since_s: float | None = None
        """Since when the oldest of those that are being taken has waited; None where none are."""
        self._is_resting = False
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="tracelet-intake", daemon=True)
        self._thread.start()

    async def take(self, body: bytes, *, is_gzip: bool) -> Taken:
        """Pass on a request, and wait until it is taken.

        Args:
            body: the request in protobuf form.
            is_gzip: whether the body is compressed.

        Raises:
            BehindError: too much waits already, or the request was not taken in time.
            MalformedError: the body is no request, or not in the form of this package.
            TooLargeError: it is too large when it is decompressed.
            TraceletError: it cannot be taken, now or ever.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(body, is_gzip, loop.create_future())
        with self._changed:
            self._refuse_if_behind(len(body))
            self._queue.append(waiting)
            self._waiting_bytes += len(body)
            if not self._is_resting or len(self._queue) >= _MOST_AT_ONCE:
                self._changed.notify()
        deadline = loop.call_later(_DEADLINE_S, self._give_up, waiting)
        try:
            return await waiting.answer
        finally:
            deadline.cancel()

    def stop(self) -> None:
        """Take what waits, then end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(_DEADLINE_S)

    def _refuse_if_behind(self, size: int) -> None:
        oldest_s = self._taking_since_s
        if oldest_s is None:
            oldest_s = self._queue[0].since_s if self._queue else math.inf
        age_s = time.monotonic() - oldest_s
        if self._waiting_bytes and self._waiting_bytes + size > _MOST_WAITING_BYTES:
            raise BehindError(f"{self._waiting_bytes} bytes of requests wait to be taken", max(age_s, 1.0))
        if age_s > _BEHIND_S:
            raise BehindError(f"a request has waited for {age_s:.1f} s", age_s)

    def _give_up(self, waiting: _Waiting) -> None:
        if not waiting.answer.done():
            # It may still be taken. When it is sent again, its samples are known.
            waiting.answer.set_exception(BehindError(f"it was not taken within {_DEADLINE_S:g} s", _PAUSE_S))

    def _work(self) -> None:
        began_s = ended_s = time.monotonic()
        while group := self._next(ended_s - began_s):
            began_s = time.monotonic()
            try:
                answers = self._take(group)
            except Exception as error:
                self._guard.report("requests were not taken", error)
                answers = [error for _ in group]
            loop = group[0].answer.get_loop()
            try:
                loop.call_soon_threadsafe(_answer, group, answers)
            except RuntimeError as error:
                # The server has stopped in the meantime: nobody waits for the answers.
                self._guard.report("requests were taken and not answered", error)
            ended_s = time.monotonic()

    def _next(self, took_s: float) -> list[_Waiting]:
        """Wait for requests; none after `stop`.

        Args:
            took_s: how long the last ones took. A multiple of it is rested, unless a request would wait for too long:
                the more there is to do, the more requests share a write.
        """
        with self._changed:
            self._taking_since_s = None
            now_s = time.monotonic()
            oldest_s = self._queue[0].since_s if self._queue else now_s
            self._is_resting = True
            rest_s = min(_RESTS * took_s, oldest_s + _REST_S - now_s)
            self._changed.wait_for(lambda: self._stopped or len(self._queue) >= _MOST_AT_ONCE, rest_s)
            self._is_resting = False
            self._changed.wait_for(lambda: self._queue or self._stopped)
            group: list[_Waiting] = []
            unpacked_bytes = 0
            while self._queue and len(group) < _MOST_AT_ONCE:
                # A size that is wrong is found when the request is decompressed.
                unpacked_bytes += protobuf_size(self._queue[0].body, is_gzip=self._queue[0].is_gzip)
                if group and unpacked_bytes > _MOST_BYTES_AT_ONCE:
                    break
                group.append(self._queue.popleft())
                self._waiting_bytes -= len(group[-1].body)
            self._taking_since_s = group[0].since_s if group else None
            return group

    def _take(self, group: Sequence[_Waiting]) -> list[Taken | Exception]:
        parsed = [_parsed(one) for one in group]
        accepted = iter(self._accept([one for one in parsed if isinstance(one, ExportMetricsServiceRequest)]))
        return [one if isinstance(one, Exception) else next(accepted) for one in parsed]


def _answer(group: Sequence[_Waiting], answers: Sequence[Taken | Exception]) -> None:
    for one, answer in zip(group, answers, strict=True):
        if one.answer.done():
            continue
        if isinstance(answer, Exception):
            one.answer.set_exception(answer)
        else:
            one.answer.set_result(answer)


def _parsed(one: _Waiting) -> ExportMetricsServiceRequest | Exception:
    try:
        return parse(unpacked(one.body) if one.is_gzip else one.body)
    except (MalformedError, TooLargeError) as error:
        return error


def unpacked(body: bytes) -> bytes:
    """Decompress a body.

    Raises:
        MalformedError: it is not one whole gzip member.
        TooLargeError: it is too large then.
    """
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise MalformedError(f"the body is not gzip: {error}") from None
    if len(content) > MAX_BODY_BYTES:
        raise TooLargeError(f"the body is over {MAX_BODY_BYTES} bytes when unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedError("the body is not one whole gzip member")
    return content
