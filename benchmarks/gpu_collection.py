"""What a collection of all metrics of 8 GPUs costs in processor time, the driver's own left out.

    python -m benchmarks.gpu_collection

The GPUs are those of the tests' stand-in for NVML, which the real pynvml loads, under the real SDK. The
first collection opens NVML and its devices; the others are what a run pays at each interval.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from tests.gpu import stand_in

GPUS = (0, 1, 8)

SCRIPT = """
import os, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tracelet_otel.gpu import observe_gpus
from tracelet_otel._support.guard import Guard

guard, reader = Guard(), InMemoryMetricReader()
observe_gpus(MeterProvider([reader], shutdown_on_exit=False), guard, os.environ)
for _ in range(int(sys.argv[1]) + 1):
    began = time.process_time_ns()
    data = reader.get_metrics_data()
    ms = (time.process_time_ns() - began) / 1e6
    metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
    print(ms, sum(len(metric.data.data_points) for metric in metrics))
assert not guard.counts, guard.counts
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is collected."""

    collections: int = 500
    """After the first, at least 2, for the 95th percentile of them."""


def measure(machine: stand_in.StandIn, gpus: int, collections: int) -> tuple[list[float], int]:
    """Milliseconds of each collection, the first included, and how many points one gave."""
    machine.plays(stand_in.machine(gpus))
    command = [sys.executable, "-c", SCRIPT, str(collections)]
    child = subprocess.run(command, env=environment(**machine.environment), capture_output=True, text=True, check=True)
    lines = [line.split() for line in child.stdout.splitlines()]
    return [float(ms) for ms, _points in lines], int(lines[-1][1])


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures and a plot."""
    measured: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        machine = stand_in.StandIn(stand_in.build(Path(directory)), Path(directory) / "nvml.txt")
        for gpus in GPUS:
            (first, *others), points = measure(machine, gpus, size.collections)
            median, p95 = statistics.median(others), statistics.quantiles(others, n=20)[-1]
            measured[gpus] = {"points": points, "first_ms": first, "median_ms": median, "p95_ms": p95}
    plotted = {f"{gpus} GPUs": one["median_ms"] for gpus, one in measured.items() if gpus}
    results.bars("gpu_collection", "A collection of all metrics of GPUs", "milliseconds of processor", plotted)
    results.write("gpu_collection", {"collections": size.collections, "results": measured})
    show(results, "gpus")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(collections=2))
