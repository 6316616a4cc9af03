"""Nodes of one run: ranks that are simulated, collectors that are real, and what one has sent, for other nodes."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import urllib3
from benchmarks.child import environment
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.support.otlp_receiver import HttpReceiver
from tests.support.shipped import ShippedCollector
from tests.support.sidecar import TOKEN

from tracelet_otel import semconv
from tracelet_otel.session.calls import Address, HttpConnection

NAMES = 10
RUN_ID = "many-nodes"
TIMEOUT_S, PAUSE_S = 30.0, 1.0
"""Of the exporter in `collector-config/node-to-relay.yaml`."""
KEPT = (429, 502, 503, 504)
"""What it sends again where it is answered so."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is sent."""

    nodes: int = 64
    real: int = 2
    """How many of the nodes have a real collector."""
    ranks: int = 64
    """Of each node."""
    seconds: int = 30
    """Each rank logs one row a second."""
    hparams: int = 20
    """Hyperparameters, which each export of a rank repeats."""
    start_s: float = 10.0
    """From the start of the ranks' processes to the first row."""

    @property
    def world(self) -> int:
        """How many ranks there are in all."""
        return self.nodes * self.ranks

    @property
    def means(self) -> dict[tuple[str, int], float]:
        """What has to be in the tracker, by name and step."""
        middle = sum(range(self.world)) / self.world
        return {(f"metric {name}", step): middle * name + step for name in range(NAMES) for step in range(self.seconds)}


RANKS_OF_A_NODE = """
import json, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol import samples
from tracelet_otel.resource.detector import TraceletResourceDetector
from tracelet_otel.session.calls import Address
from tracelet_otel.session.transport import relay_exporter

class Trainer:
    global_step = current_epoch = 0

order = json.loads(sys.stdin.read())
first, count, world, owns = order["first"], order["ranks"], order["world"], order["owns"]
identity, guard, trainer = TraceletResourceDetector().detect().attributes, Guard(), Trainer()
providers, ranks, exporters = [], [], []
for rank in range(first, first + count):
    exporter = relay_exporter(lambda: Address(order["endpoint"], order["token"]), lambda: None, guard)
    reader = PeriodicExportingMetricReader(exporter, 1000, cardinality_limits=samples.cardinality_limits())
    own = {semconv.RUN_ID: order["run"], semconv.RUN_NAME: order["run"], semconv.PROJECT_NAME: "Default",
           semconv.RANK: rank, semconv.HOST_NAME: order["host"], semconv.SERVICE_INSTANCE_ID: f"rank {rank}"}
    provider = MeterProvider([reader], Resource({**identity, **own}), shutdown_on_exit=False)
    signals = make_signals(provider, guard, 1.0, Participation(owns_run=owns and rank == 0))
    signals.hparams.update({f"hyperparameter/{number}": number for number in range(order["hparams"])})
    signals.outcome.value = semconv.OUTCOME_RUNNING
    signals.progress.watch(trainer, lambda trainer: trainer.global_step)
    providers.append(provider); ranks.append((rank, signals)); exporters.append(exporter)
for step in range(order["seconds"]):
    time.sleep(max(order["began_s"] + step - time.time(), 0))
    for rank, signals in ranks:
        values = {f"metric {name}": float(rank * name + step) for name in range(order["names"])}
        signals.recorder.record(Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", 0, 1, world))
for rank, signals in ranks:
    signals.outcome.settle("finished", None)
    signals.outcome.end()
for provider in providers:
    provider.shutdown(60_000)
print(json.dumps({"errors": guard.counts, "left": sum(exporter.account.pending for exporter in exporters)}))
"""


@dataclass(frozen=True)
class Ranks:
    """The ranks of one node, in a process of their own."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, size: Size, node: int, endpoint: str, began_s: float, *, owns: bool) -> Ranks:
        """Start them; they log from a moment on.

        Args:
            size: how much they send.
            node: number of their node.
            endpoint: of the node's collector.
            began_s: when they log the first row, in seconds since the epoch.
            owns: whether rank 0 of them owns the run.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", RANKS_OF_A_NODE],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        order = {
            "first": node * size.ranks, "ranks": size.ranks, "world": size.world, "owns": owns, "run": RUN_ID,
            "host": f"node-{node}", "endpoint": endpoint, "token": TOKEN, "hparams": size.hparams, "names": NAMES,
            "seconds": size.seconds, "began_s": began_s,
        }  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        return cls(process)

    def problems(self) -> list[str]:
        """Wait for their end; returns what went wrong."""
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.read())
        self.process.wait()
        return [*said["errors"], *([f"{said['left']} readings were not sent"] if said["left"] else [])]


class Recorder(HttpReceiver):
    """Takes what a collector sends, and remembers when it came."""

    def __init__(self) -> None:
        self.came_s: list[float] = []
        super().__init__()

    def keep(self, request: ExportMetricsServiceRequest, headers: dict[str, str]) -> None:
        self.came_s.append(time.time())
        super().keep(request, headers)


@dataclass(frozen=True)
class Recorded:
    """A request of a node's collector, for one node."""

    at_s: float
    """When it came, since the first row."""
    request: ExportMetricsServiceRequest


def recorded(size: Size, home: Path) -> list[Recorded]:
    """What a real collector sends for node 0, where nobody owns the run."""
    recorder = Recorder()
    with collector(home, recorder.endpoint) as (endpoint, _):
        began_s = time.time() + size.start_s
        problems = Ranks.start(size, 0, endpoint, began_s, owns=False).problems()
    recorder.stop()
    if problems:
        sys.exit(f"not recorded as it was sent: {problems}")
    return [Recorded(at_s - began_s, one) for at_s, one in zip(recorder.came_s, recorder.requests, strict=True)]


def of_node(request: ExportMetricsServiceRequest, node: int, size: Size) -> bytes:
    """A request of node 0 as another node would send it, as it travels."""
    other = ExportMetricsServiceRequest()
    other.CopyFrom(request)
    further = node * size.ranks
    for resource in other.resource_metrics:
        attributes = {one.key: one.value for one in resource.resource.attributes}
        rank = attributes[semconv.RANK].int_value + further
        attributes[semconv.RANK].int_value = rank
        attributes[semconv.HOST_NAME].string_value = f"node-{node}"
        attributes[semconv.SERVICE_INSTANCE_ID].string_value = f"rank {rank}"
        for scope in resource.scope_metrics:
            if scope.scope.name != semconv.SCOPE_LOGGED:
                continue
            for metric in scope.metrics:
                for point in metric.gauge.data_points:
                    name = next(one.value for one in point.attributes if one.key == semconv.METRIC_NAME).string_value
                    # A rank logs its number times the name's, and the step.
                    more = float(further * int(name.split()[1]))
                    point.as_double += more
                    for sample in point.exemplars:
                        sample.as_double += more
    return gzip.compress(other.SerializeToString(), 1)


@dataclass
class Node(threading.Thread):
    """A node that sends what was recorded: one request after the other, each until it is accepted."""

    address: Address
    requests: Sequence[tuple[float, bytes]]
    """When each is due, since the first row, and its body."""
    began_s: float
    waits_s: list[float] = field(default_factory=list)
    """How long after it was due each was accepted."""
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    # Threads are known by their identity.
    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        with HttpConnection() as connection:
            for due_s, body in self.requests:
                time.sleep(max(self.began_s + due_s - time.time(), 0))
                while not self._is_done(connection, body):
                    time.sleep(PAUSE_S)
                self.waits_s.append(time.time() - self.began_s - due_s)

    def _is_done(self, connection: HttpConnection, body: bytes) -> bool:
        try:
            answer = connection.post(self.address, body, "gzip", TIMEOUT_S)
        except urllib3.exceptions.HTTPError:
            return False
        if answer.status in KEPT:
            return False
        if answer.status != 200 or answer.data:
            self.refused.append(f"{answer.status}: {answer.data[:200]!r}")
        return True


@contextlib.contextmanager
def collector(home: Path, to: str) -> Iterator[tuple[str, psutil.Process]]:
    """A node's real collector; gives its HTTP endpoint and its process."""
    home.mkdir()
    one = ShippedCollector(home, "node-to-relay.yaml", TRACELET_RELAY_ENDPOINT=to, TRACELET_RELAY_TOKEN=TOKEN)
    one.start()
    try:
        yield f"http://127.0.0.1:{one.http}", psutil.Process(one.pid)
    finally:
        one.stop()
