"""A delivery whose queue is a list in memory, filled by the test itself."""

from __future__ import annotations

from collections.abc import Iterable

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.decode import Batch, Param, Report
from tracelet_otel.protocol.report_kinds import HPARAMS
from tracelet_otel.testing import ListQueue


class FedDelivery(Delivery):
    """A delivery that is given batches."""

    def __init__(self, tracker: Tracker, guard: Guard) -> None:
        self.queue = ListQueue()
        self._begun = False
        super().__init__(tracker, guard, self.queue)

    def put(self, batch: Batch, params: Iterable[tuple[str, Param]] = ()) -> None:
        """Take what a process has sent, and begin to deliver with the first reading."""
        self.queue.put(batch.readings)
        self.tell(batch.outcome, batch.end_unix_nano, [*batch.reports, *(Report(HPARAMS, *param) for param in params)])
        if batch.readings:
            self.begin(batch.resource)
        self.wake()
