"""How much later a script that imports no Lightning starts and ends, with all of ours under `opentelemetry-instrument`.

    python -m benchmarks.zero_code_start

Interleaved repetitions; medians with the middle half.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results

INSTRUMENT = [
    str(Path(sys.executable).with_name("opentelemetry-instrument")),
    sys.executable,
    "-c",
    "import time; print(time.time_ns())",
]
OFF = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "lightning,nvidia_gpu", "OTEL_METRICS_EXPORTER": "none"}
CASES = {
    "without ours": OFF,
    "hooks": {"OTEL_METRICS_EXPORTER": "none"},
    "hooks, three trackers": {"OTEL_METRICS_EXPORTER": "mlflow,wandb,clearml"},
    "hooks, three trackers, detector": {
        "OTEL_METRICS_EXPORTER": "mlflow,wandb,clearml",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet",
    },
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is started."""

    repetitions: int = 15
    """At least 2, for the middle half of them."""


def start_and_end_ms(case: dict[str, str]) -> tuple[float, float]:
    """Milliseconds until the script's first line, and until its process has ended."""
    told = environment(OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none", **case)
    began_ns = time.time_ns()
    child = subprocess.run(INSTRUMENT, env=told, capture_output=True, check=True)
    return (int(child.stdout) - began_ns) / 1e6, (time.time_ns() - began_ns) / 1e6


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures and a plot."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(size.repetitions):
        for name, case in CASES.items():
            times[name].append(start_and_end_ms(case))
    starts = {name: statistics.median(start for start, _ in found) for name, found in times.items()}
    measured = {}
    for name, found in times.items():
        low, _, high = statistics.quantiles([start for start, _ in found], n=4)
        end = statistics.median(end for _, end in found)
        measured[name] = {"start_ms": starts[name], "middle_half_ms": [low, high], "end_ms": end}
    results.bars("zero_code_start", "Until a script's first line", "milliseconds", starts)
    results.write("zero_code_start", {"repetitions": size.repetitions, "results": measured})
    show(results, "zero code")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(repetitions=2))
