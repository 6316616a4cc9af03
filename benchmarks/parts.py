"""What the other threads of a training do for us, of which `overhead` has the sum.

    python -m benchmarks.parts [--quick]

The trainings of `overhead`, each of our steps measured by the processor time of its thread. Medians.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.overhead import METRICS, REPETITIONS, ROWS, summary, train
from benchmarks.report import show
from benchmarks.results import write
from benchmarks.servers import collector

CASES = ("ours: mlflow", "ours: otlp")


def main() -> None:
    """Run it, print the table, and leave figures."""
    repetitions = 1 if "--quick" in sys.argv else REPETITIONS
    runs = [(case, metrics) for metrics in METRICS for case in CASES]
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory)) as otlp:
        for _ in range(repetitions):
            for case, metrics in runs:
                parts = train(case, metrics, {"collector": otlp}, "benchmarks.training_parts")
                found[case, metrics].append(parts)
    results = {f"{case}, {metrics} metrics": summary(of_run) for (case, metrics), of_run in found.items()}
    write("parts", {"repetitions": repetitions, "rows": ROWS, "results": results})
    show("parts")


if __name__ == "__main__":
    main()
