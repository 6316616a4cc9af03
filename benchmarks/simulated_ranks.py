"""Ranks that nobody trains: they send to a relay what real ranks would, without the cost of a training.

A process of this module simulates many ranks. What one rank exports is recorded once, with the real recorder and SDK.
For every other export its resource, samples and counts are replaced, and our own encoder writes it. Each rank has a
connection of its own. A request is sent again until the relay has accepted it, after the pause that the relay asks for.

It is started with an `Order` as its argument, and prints a `Report`, both as JSON.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import Metric, MetricsData, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from tests.support.sdk import KeepingExporter, provider, reader

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol.encode import encode
from tracelet_otel.protocol.samples import Moment, Samples

_ANSWER_S = 30.0


@dataclass(frozen=True)
class Order:
    """What ranks have to send."""

    endpoint: str
    """Of the relay."""
    token: str
    runs: list[str]
    """Ids of runs that have all of their ranks in this process, or the one run of which it has some."""
    ranks: int
    """How many ranks each run has in all."""
    first: int
    last: int
    """The ranks of each run that this process simulates."""
    names: int
    rows: int
    interval_s: float
    began_s: float
    """When the first rows are logged, in seconds since the epoch."""
    rows_a_request: int = 1
    owns_run: bool = False
    """Whether rank 0 ends its run."""


@dataclass
class Report:
    """What became of the requests."""

    requests: int = 0
    again: int = 0
    """Requests that had to be sent again."""
    refused: int = 0
    longest_s: float = 0.0
    """The longest time from a row to the answer that it is accepted."""
    last_s: float = 0.0
    """From the last row of a rank to the answer that it is accepted, of the slowest rank."""


def value(rank: int, name: int, row: int) -> float:
    """What a rank logs; sums and means of it are exact."""
    return float(rank * name + row)


def mean(ranks: int, name: int, row: int) -> float:
    """The mean of what all ranks log."""
    return sum(value(rank, name, row) for rank in range(ranks)) / ranks


def compared(found: Iterable[tuple[Hashable, float]], means: Mapping[Any, float]) -> dict[str, int]:
    """How many points are wrong, how many means are missing, and how many are there more than once.

    Args:
        found: place and value of each point in the tracker.
        means: what has to be there, by place.
    """
    points = list(found)
    times = Counter(place for place, _ in points)
    return {
        "wrong": sum(means.get(place) != value for place, value in points),
        "missing": len(means.keys() - times.keys()),
        "twice": sum(count > 1 for count in times.values()),
    }


class _Trainer:
    """What a rank reports of its own."""

    global_step = current_epoch = 0


class Frame:
    """An export of one rank as the SDK makes it, which is filled with the samples of others."""

    def __init__(self, names: int, *, owns_run: bool, ends: bool) -> None:
        keeping = KeepingExporter()
        metrics = provider(only := reader(keeping))
        signals = make_signals(metrics, Guard(), 10, Participation(owns_run=owns_run))
        # As of a rank that trains.
        signals.outcome.value = semconv.OUTCOME_RUNNING
        trainer = _Trainer()
        signals.progress.watch(trainer, lambda trainer: trainer.global_step)
        signals.hparams.update({"lr": 0.1, "batch_size": 32, "model": {"name": "cnn", "width": 64}})
        values = {f"metric {name}": 0.0 for name in range(names)}
        signals.recorder.record(Row(time.time_ns(), values, 0, semconv.AXIS_TRAINER, "fit", 0, 1, 2))
        if ends:
            signals.outcome.settle("finished", None)
            signals.outcome.end()
        only.collect()
        (self._resource,) = keeping.exports[0].resource_metrics
        metrics.shutdown()

    def filled(self, resource: Resource, rank: int, moments: list[Moment], first_sequence: int, names: int) -> bytes:
        """The export as bytes, with other samples.

        Args:
            resource: of the process.
            rank: its rank.
            moments: of its rows.
            first_sequence: number of the first sample.
            names: how many metrics a row has.
        """
        sent = first_sequence + names * len(moments) - 1

        def of(metric: Metric) -> Metric:
            if metric.name == semconv.SAMPLES:
                return _with_point(metric, value=sent)
            attributes = metric.data.data_points[0].attributes or {}
            if semconv.METRIC_NAME not in attributes:
                return metric
            name = int(str(attributes[semconv.METRIC_NAME]).removeprefix("metric "))
            sequences = [first_sequence + place * names + name for place in range(len(moments))]
            values = [value(rank, name, moment.step) for moment in moments]
            return _with_point(metric, exemplars=Samples(moments, sequences, values), value=values[-1])

        scopes = [replace(scope, metrics=[of(one) for one in scope.metrics]) for scope in self._resource.scope_metrics]
        return encode(MetricsData([replace(self._resource, resource=resource, scope_metrics=scopes)]))


def _with_point(metric: Metric, **changes: Any) -> Metric:
    (point,) = metric.data.data_points
    assert isinstance(point, NumberDataPoint)
    return replace(metric, data=replace(metric.data, data_points=[replace(point, **changes)]))


class Rank:
    """One rank, with its connection."""

    def __init__(self, order: Order, run: str, number: int, frames: dict[bool, Frame], report: Report) -> None:
        self._order, self._number, self._frames, self._report = order, number, frames, report
        self._endpoint = urlsplit(order.endpoint)
        self._resource = Resource(
            {
                semconv.RUN_ID: run,
                semconv.RUN_NAME: run,
                semconv.PROJECT_NAME: "ranks",
                semconv.RANK: number,
                "service.name": "benchmark",
                "service.instance.id": f"{run} rank {number}",
                "host.name": f"node-{number // 8}",
                "process.pid": 1000 + number % 8,
                "process.runtime.name": "cpython",
                "process.runtime.version": "3.11.7",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
                "vcs.repository.url.full": "https://git.example/team/model.git",
                "vcs.ref.head.revision": "0123456789abcdef0123456789abcdef01234567",
            }
        )
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def train(self) -> None:
        """Log all rows, and send each as soon as its interval is over."""
        order = self._order
        # As ranks are that have not begun at the same moment.
        delay_s = random.random() * order.interval_s
        for first in range(0, order.rows, order.rows_a_request):
            rows = range(first, min(first + order.rows_a_request, order.rows))
            logged_s = order.began_s + rows[-1] * order.interval_s / order.rows_a_request + delay_s
            await asyncio.sleep(max(logged_s - time.time(), 0))
            is_last = rows[-1] == order.rows - 1
            moments = [Moment(time.time_ns(), row, semconv.AXIS_TRAINER, 0, 1, order.ranks) for row in rows]
            frame = self._frames[is_last]
            body = frame.filled(self._resource, self._number, moments, 1 + first * order.names, order.names)
            await self._deliver(gzip.compress(body, 1))
            took_s = time.time() - logged_s
            self._report.longest_s = max(self._report.longest_s, took_s)
            if is_last:
                self._report.last_s = max(self._report.last_s, took_s)
        if self._stream is not None:
            self._stream[1].close()

    async def _deliver(self, body: bytes) -> None:
        pause_s = 0.25
        while True:
            self._report.requests += 1
            try:
                status, asked_s = await asyncio.wait_for(self._post(body), _ANSWER_S)
            except (OSError, EOFError, asyncio.TimeoutError):
                status, asked_s, self._stream = 0, None, None
            if status == 200:
                return
            if status in (400, 410, 413):
                self._report.refused += 1
                return
            self._report.again += 1
            await asyncio.sleep((asked_s or 0) + random.uniform(0.5, 1.0) * pause_s)
            pause_s = min(2 * pause_s, 5.0)

    async def _post(self, body: bytes) -> tuple[int, float | None]:
        if self._stream is None:
            self._stream = await asyncio.open_connection(self._endpoint.hostname, self._endpoint.port)
        incoming, outgoing = self._stream
        outgoing.write(
            f"POST /v1/metrics HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {self._order.token}\r\n"
            f"Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
            "".encode()
            + body
        )
        head = (await incoming.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        await incoming.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            outgoing.close()
            self._stream = None
        return int(head[0].split()[1]), float(headers["retry-after"]) if "retry-after" in headers else None


async def _simulate(order: Order) -> Report:
    report = Report()
    frames = {
        owns: {ends: Frame(order.names, owns_run=owns, ends=ends) for ends in (False, True)} for owns in (False, True)
    }
    ranks = [
        Rank(order, run, number, frames[order.owns_run and number == 0], report)
        for run in order.runs
        for number in range(order.first, order.last)
    ]
    await asyncio.gather(*(rank.train() for rank in ranks))
    return report


def main() -> None:
    """Carry out the order of the command line."""
    print(json.dumps(asdict(asyncio.run(_simulate(Order(**json.loads(sys.argv[1])))))))


if __name__ == "__main__":
    main()
