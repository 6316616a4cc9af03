"""A training's memory does not grow with what it has logged and delivered."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

import tracelet_otel as tracelet
from tests.support.otlp_receiver import GrpcReceiver
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("with_time")

ROWS = 40_000
MOST_BYTES = 2**19


class Forgetting(GrpcReceiver):
    """Counts samples, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def keep(self, request, headers):
        self.count += sum(
            len(point.exemplars)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.gauge.data_points
        )


@pytest.mark.slow
def test_rows_that_are_delivered_leave_nothing_behind(monkeypatch):
    receiver = Forgetting()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    run = tracelet.start_logging(backend="otlp", config={"export_interval": 0.05})
    used = []
    tracemalloc.start()
    try:
        for row in range(1, ROWS + 1):
            run.log_metric("loss", row / 3, row)
            if row % (ROWS // 10) == 0:
                wait_until(lambda row=row: receiver.count == row, 60, "the delivery")
                gc.collect()
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    run.stop()
    receiver.stop()
    assert receiver.count == ROWS
    # The first tenth pays for what is made once.
    assert max(used[1:]) - used[0] < MOST_BYTES, used
