"""Requests that wait for their receiver, in the order in which they came, with a bound in bytes."""

from __future__ import annotations

import gzip
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

Instruments = frozenset[tuple[str, str]]
"""Scope and name of each instrument of an export."""

_OBJECT_BYTES: Final = 300
"""What a request takes in memory beside its content."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request in OTLP's protobuf form."""

    content: bytes
    is_gzip: bool
    """Whether the content is compressed: what has to wait takes about a tenth of the memory so."""
    samples: int
    repeats: Instruments | None = None
    """For an export without samples, its instruments: a later export of them says all that it says. Otherwise None."""

    @property
    def protobuf(self) -> bytes:
        """The content, not compressed."""
        return gzip.decompress(self.content) if self.is_gzip else self.content

    @property
    def gzip(self) -> bytes:
        """The content, compressed."""
        return self.content if self.is_gzip else gzip.compress(self.content, 1)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return len(self.content) + _OBJECT_BYTES


class Backlog:
    """A queue whose first request may be on its way, and is therefore never replaced or dropped. Not thread-safe.

    Args:
        most_bytes: so much may wait behind the first; where there would be more, the oldest are dropped.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bodies: deque[Body] = deque()
        self.has_dropped = False
        """Whether requests were dropped while the first was on its way: it may be what holds up all others."""

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def first(self) -> Body:
        """The oldest request; there has to be one."""
        return self._bodies[0]

    @property
    def samples(self) -> int:
        """How many samples wait, with those on their way."""
        return sum(body.samples for body in self._bodies)

    @property
    def waiting_bytes(self) -> int:
        """What the requests behind the first take in memory."""
        return sum(body.size for body in itertools.islice(self._bodies, 1, None))

    @property
    def is_half_full(self) -> bool:
        """Whether there is less room left than is taken."""
        return self.waiting_bytes > self._most_bytes / 2

    def put(self, bodies: Sequence[Body], instruments: Callable[[], Instruments]) -> int:
        """Add the requests of one export.

        Args:
            bodies: the requests.
            instruments: gives the export's instruments; only called where that matters.

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

    def pop(self) -> None:
        """Remove the first request, which is done with."""
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
