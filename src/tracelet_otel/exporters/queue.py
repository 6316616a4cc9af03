"""The readings that one tracker has yet to take."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from tracelet_otel.protocol.decode import Reading

_MOST_IN_MEMORY: Final = 150_000
"""Readings, which take about 330 bytes each."""


class Queue(Protocol):
    """A queue with one consumer; what fills it may be another thread."""

    @property
    def delivered(self) -> int:
        """How many readings the tracker has taken since the beginning of the run."""
        ...

    @property
    def refused(self) -> int:
        """How many readings it will never have: it has refused them, or there was no room for them."""
        ...

    @property
    def pending(self) -> int:
        """How many readings wait."""
        ...

    def first(self, most: int) -> Sequence[Reading]:
        """The next readings, up to a number; they stay in the queue.

        Raises:
            TraceletError: they cannot be read.
        """
        ...

    def take(self, delivered: int, refused: int) -> None:
        """Drop readings from the front, all of which `first` has given.

        Args:
            delivered: how many the tracker has taken.
            refused: how many it will never take.
        """
        ...

    def lose(self) -> None:
        """The tracker takes nothing more: what waits, and all that comes, counts as refused."""
        ...


class MemoryQueue:
    """A `Queue` in memory; where it is full, the oldest readings make room.

    Args:
        most: so many readings fit in.
    """

    def __init__(self, most: int = _MOST_IN_MEMORY) -> None:
        self._lock = threading.Lock()
        self._most = most
        self._readings: deque[Reading] = deque()
        self._given = 0
        """How many readings at the front `first` has given."""
        self._lost = False
        self.delivered = 0
        """See `Queue.delivered`."""
        self.refused = 0
        """See `Queue.refused`."""

    @property
    def pending(self) -> int:
        """See `Queue.pending`."""
        with self._lock:
            return len(self._readings)

    @property
    def is_half_full(self) -> bool:
        """Whether there is less room left than is taken."""
        return self.pending > self._most / 2

    def put(self, readings: Sequence[Reading]) -> int:
        """Add readings at the end; returns how many of those before them were dropped to make room."""
        with self._lock:
            if self._lost:
                self.refused += len(readings)
                return 0
            there = len(self._readings)
            dropped = max(min(there + len(readings) - self._most, there - self._given), 0)
            if dropped:
                given = [self._readings.popleft() for _ in range(self._given)]
                for _ in range(dropped):
                    self._readings.popleft()
                self._readings.extendleft(reversed(given))
                self.refused += dropped
            self._readings.extend(readings)
            return dropped

    def first(self, most: int) -> Sequence[Reading]:
        """See `Queue.first`."""
        with self._lock:
            found = list(itertools.islice(self._readings, most))
            self._given = len(found)
            return found

    def take(self, delivered: int, refused: int) -> None:
        """See `Queue.take`."""
        with self._lock:
            for _ in range(delivered + refused):
                self._readings.popleft()
            self._given -= delivered + refused
            self.delivered += delivered
            self.refused += refused

    def lose(self) -> None:
        """See `Queue.lose`."""
        with self._lock:
            self._lost = True
            self.refused += len(self._readings)
            self._readings.clear()
