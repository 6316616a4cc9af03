"""How requests gather before they are taken."""

from __future__ import annotations

import asyncio
import gzip
import threading

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.messages import Taken
from tracelet_otel.relay import intake
from tracelet_otel.relay.intake import Intake

MIB = 2**20


def body(size: int) -> bytes:
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().schema_url = "x" * size
    return request.SerializeToString()


class Taking:
    """Takes requests when it is told to, and remembers which came together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_take = threading.Event()

    def __call__(self, requests):
        self.groups.append([request.ByteSize() for request in requests])
        assert self.may_take.wait(60)
        return [Taken() for _ in requests]


@pytest.mark.parametrize("is_gzip", [False, True])
def test_what_is_in_memory_at_once_is_bounded_however_well_it_is_compressed(is_gzip):
    taking = Taking()
    bodies = [body(MIB)] * 30 + [body(20 * MIB)] + [body(MIB)] * 3

    async def send() -> list[Taken]:
        asked = Intake(taking, Guard())
        answers = [
            asyncio.ensure_future(asked.take(gzip.compress(one) if is_gzip else one, is_gzip=is_gzip)) for one in bodies
        ]
        while sum(map(len, taking.groups)) + len(asked._queue) < len(bodies):
            await asyncio.sleep(0)
        taking.may_take.set()
        found = await asyncio.gather(*answers)
        asked.stop()
        return found

    assert asyncio.run(send()) == [Taken()] * len(bodies)
    assert [size for group in taking.groups for size in group] == [len(one) for one in bodies]
    # One that is larger than the bound is taken by itself.
    large = [group for group in taking.groups if sum(group) > intake._MOST_BYTES_AT_ONCE]
    assert large == [[len(body(20 * MIB))]]
    assert len(taking.groups) < 8
