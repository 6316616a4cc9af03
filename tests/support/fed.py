"""A delivery whose queue is a list in memory, filled by the test itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.decode import Batch, Param, Reading


class ListQueue:
    """A `Queue` of readings in memory."""

    def __init__(self, readings: Iterable[Reading] = ()) -> None:
        self._lock = threading.Lock()
        self._readings = list(readings)
        self._lost = False
        self.delivered = 0
        self.refused = 0

    @property
    def pending(self) -> int:
        with self._lock:
            return len(self._readings)

    def put(self, readings: Iterable[Reading]) -> None:
        with self._lock:
            self._readings += readings
        if self._lost:
            self.lose()

    def first(self, most: int) -> Sequence[Reading]:
        with self._lock:
            return self._readings[:most]

    def take(self, delivered: int, refused: int) -> None:
        with self._lock:
            del self._readings[: delivered + refused]
            self.delivered += delivered
            self.refused += refused

    def lose(self) -> None:
        self._lost = True
        with self._lock:
            self.refused += len(self._readings)
            self._readings.clear()


class FedDelivery(Delivery):
    """A delivery that is given batches."""

    def __init__(self, tracker: Tracker, guard: Guard) -> None:
        self.queue = ListQueue()
        self._begun = False
        super().__init__(tracker, guard, self.queue)

    def put(self, batch: Batch, params: Iterable[tuple[str, Param]] = ()) -> None:
        """Take what a process has sent, and begin to deliver with the first reading."""
        self.queue.put(batch.readings)
        self.tell(batch.outcome, batch.end_unix_nano, params)
        if batch.readings:
            self.begin(batch.resource)
        self.wake()
