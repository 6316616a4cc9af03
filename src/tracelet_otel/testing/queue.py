"""A queue of readings for tests, which fill it themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from tracelet_otel.protocol.decode import Reading


class ListQueue:
    """A `Queue` in memory.

    Args:
        readings: the readings that it holds at the beginning.
    """

    def __init__(self, readings: Iterable[Reading] = ()) -> None:
        self._lock = threading.Lock()
        self._readings = list(readings)
        self._lost = False
        self.delivered = 0
        """How many readings the tracker has taken."""
        self.refused = 0
        """How many readings the tracker will never have."""

    @property
    def pending(self) -> int:
        """How many readings wait."""
        with self._lock:
            return len(self._readings)

    def put(self, readings: Iterable[Reading]) -> None:
        """Add readings at the end."""
        with self._lock:
            self._readings += readings
        if self._lost:
            self.lose()

    def first(self, most: int) -> Sequence[Reading]:
        """The next readings, up to a number; they stay in the queue."""
        with self._lock:
            return self._readings[:most]

    def take(self, delivered: int, refused: int) -> None:
        """Drop readings from the front, which the tracker has taken or refused.

        Args:
            delivered: how many the tracker has taken.
            refused: how many it has refused.
        """
        with self._lock:
            del self._readings[: delivered + refused]
            self.delivered += delivered
            self.refused += refused

    def lose(self) -> None:
        """Count all that waits, and all that comes, as refused, since the tracker accepts nothing more."""
        self._lost = True
        with self._lock:
            self.refused += len(self._readings)
            self._readings.clear()
