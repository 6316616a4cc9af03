"""A queue of OTLP requests that wait for their receiver, with a bound on its size in bytes."""

from __future__ import annotations

import gzip
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracelet_otel.protocol.requests import protobuf_size

Instruments = frozenset[tuple[str, str]]
"""Scope and name of each instrument of an export."""

_OBJECT_BYTES: Final = 300
"""Memory that a request takes in addition to its content."""


@dataclass(frozen=True, slots=True)
class Body:
    """An OTLP request in protobuf form."""

    content: bytes
    is_gzip: bool
    """Whether the content is compressed. Requests that have to wait are, since they then take about a tenth of the
    memory."""
    samples: int
    repeats: Instruments | None = None
    """The instruments of an export without samples, which a later export of the same instruments makes superfluous;
    None for an export with samples."""

    parts: tuple[Body, ...] = ()
    """The requests that were joined to this one; none where it is as it was exported."""

    @classmethod
    def joined(cls, bodies: Sequence[Body]) -> Body:
        """One request that says what several do, in the same order."""
        # It has no `repeats`: only requests behind the first give way to others, and this one becomes the first.
        # In protobuf's wire format, messages that follow each other are one message with the lists of all.
        whole = cls(
            b"".join(body.protobuf for body in bodies),
            is_gzip=False,
            samples=sum(body.samples for body in bodies),
            parts=tuple(bodies),
        )
        return whole.packed

    @property
    def protobuf_size(self) -> int:
        """Size of the content when it is not compressed, in bytes."""
        return protobuf_size(self.content, is_gzip=self.is_gzip)

    @property
    def protobuf(self) -> bytes:
        """The content, not compressed."""
        return gzip.decompress(self.content) if self.is_gzip else self.content

    @property
    def gzip(self) -> bytes:
        """The content, compressed."""
        return self.content if self.is_gzip else gzip.compress(self.content, 1)

    @property
    def packed(self) -> Body:
        """The same request, with its content compressed."""
        return replace(self, content=self.gzip, is_gzip=True)

    @property
    def size(self) -> int:
        """Memory that the request takes, in bytes."""
        return len(self.content) + _OBJECT_BYTES + sum(part.size for part in self.parts)


class Backlog:
    """A queue of requests. Not thread-safe.

    The first request may be in the middle of an attempt to send it, so `put` never drops it.

    Args:
        most_bytes: how much memory the requests behind the first may take; the oldest of them are dropped beyond that.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bodies: deque[Body] = deque()
        self.has_dropped = False
        """Whether requests were dropped while the first was being sent: it may be what holds up all others."""

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def first(self) -> Body:
        """The oldest request; there has to be one."""
        return self._bodies[0]

    @property
    def samples(self) -> int:
        """How many samples all requests have, the first included."""
        return sum(body.samples for body in self._bodies)

    @property
    def waiting_bytes(self) -> int:
        """Memory that the requests behind the first take, in bytes."""
        return sum(body.size for body in itertools.islice(self._bodies, 1, None))

    @property
    def is_half_full(self) -> bool:
        """Whether more than half of the room behind the first request is taken."""
        return self.waiting_bytes > self._most_bytes / 2

    def put(self, bodies: Sequence[Body], instruments: Callable[[], Instruments]) -> int:
        """Add the requests of one export.

        Args:
            bodies: the requests.
            instruments: returns the export's instruments; called only where they are needed.

        Returns:
            How many samples were dropped to make room.
        """
        if any(body.repeats is not None for body in itertools.islice(self._bodies, 1, None)):
            self._drop_repeated(instruments())
        size, dropped = self.waiting_bytes + sum(body.size for body in bodies), 0
        while size > self._most_bytes and len(self._bodies) > 1:
            size -= self._bodies[1].size
            dropped += self._bodies[1].samples
            del self._bodies[1]
        self.has_dropped = self.has_dropped or dropped > 0
        self._bodies.extend(bodies)
        return dropped

    def join(self, most_bytes: int) -> None:
        """Make the first requests one, as long as it is no larger than a limit. None of them may be being sent.

        Args:
            most_bytes: largest size of the request, not compressed.
        """
        sizes = itertools.accumulate(body.protobuf_size for body in self._bodies)
        bodies = [body for body, size in zip(self._bodies, sizes, strict=True) if size <= most_bytes]
        if len(bodies) > 1 and not any(body.parts for body in bodies):
            for _ in bodies:
                self._bodies.popleft()
            self._bodies.appendleft(Body.joined(bodies))

    def divide(self) -> int:
        """Put the requests that were joined to the first one in its place again; returns how many they are."""
        parts = self._bodies.popleft().parts
        self._bodies.extendleft(reversed(parts))
        return len(parts)

    def pop(self) -> None:
        """Remove the first request, which was delivered or refused."""
        self._bodies.popleft()
        self.has_dropped = False

    def clear(self) -> int:
        """Remove all requests; returns how many samples they had."""
        samples = self.samples
        self._bodies.clear()
        return samples

    def _drop_repeated(self, instruments: Instruments) -> None:
        first, *rest = self._bodies
        self._bodies = deque([first])
        self._bodies.extend(body for body in rest if body.repeats is None or not body.repeats <= instruments)
