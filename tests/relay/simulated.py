"""Ranks of a run that nobody trains."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData

from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.relay.parts import RequestPart, part_of
from tracelet_otel.relay.run import RelayedRun

RUN_ID = "r1"
RESOURCE = {semconv.RUN_ID: RUN_ID, semconv.RUN_NAME: "relayed", semconv.PROJECT_NAME: "Default"}


def accept(run: RelayedRun, part: RequestPart) -> None:
    """Let a run accept one part; the error is raised."""
    (error,) = run.accept([part])
    if error is not None:
        raise error


class Trainer:
    """What is reported of one."""

    global_step = current_epoch = 0


class Rank:
    """What a rank sends, in parts of one request each."""

    def __init__(
        self, number: int, *, owns_run: bool = False, run_id: str = RUN_ID, world_size: int = 2, attempt: int = 1
    ) -> None:
        self._world_size = world_size
        self._exporter = KeepingExporter()
        self._reader = reader(self._exporter)
        attributes = {semconv.RANK: number, "host.name": "simulated", "service.instance.id": f"{number}"}
        if attempt > 1:
            attributes[semconv.RUN_ATTEMPT] = attempt
        self._provider = provider(self._reader, **{**RESOURCE, **attributes, semconv.RUN_ID: run_id})
        self.signals = make_signals(self._provider, Guard(), 10, Participation(owns_run=owns_run))
        self._time = 0
        self._measurements = KeepingExporter()
        self._host = reader(self._measurements)
        meter = provider(self._host, **RESOURCE, **attributes).get_meter("any")
        self._threads = meter.create_gauge("process.thread.count")

    def train(self) -> None:
        """Say that a training goes on, until `end` says how it went."""
        self._trainer = Trainer()
        self.signals.outcome.value = semconv.OUTCOME_RUNNING
        self.signals.progress.watch(self._trainer, lambda trainer: trainer.global_step)

    def end(self) -> None:
        """Say that the training has ended well, and that nothing more comes; the next export has it."""
        self.signals.outcome.settle(semconv.OUTCOME_FINISHED, None)
        self.signals.outcome.end()

    def record(self, step: int, **values: float) -> None:
        """Log a row, which the next export has."""
        self._time += 10_000_000
        self.signals.recorder.record(Row(self._time, values, step, semconv.AXIS_TRAINER, "fit", 0, 1, self._world_size))

    def logs(self, step: int, **values: float) -> RequestPart:
        """Log a row, and export it."""
        self.record(step, **values)
        return self.part()

    def measure(self, threads: int) -> None:
        self._threads.set(threads)

    def measured(self) -> MetricsData:
        self._host.collect()
        return self._measurements.exports[-1]

    def request(self) -> ExportMetricsServiceRequest:
        """An export, as it travels."""
        self._reader.collect()
        request: ExportMetricsServiceRequest = encode_metrics(self._exporter.exports[-1])
        return request

    def part(self) -> RequestPart:
        return part_of(self.request().resource_metrics)
