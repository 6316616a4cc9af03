"""What the other threads of a training do for us, of which `overhead` has the sum.

    python -m benchmarks.parts [--quick]

The trainings of `overhead`, each of our steps measured by the processor time of its thread, and one of them with fewer
collections: what each of these costs is divided by its rows. Medians.
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
RARELY_S = 5
"""Seconds between two collections, where there are fewer; the default is 1."""


def main() -> None:
    """Run it, print the table, and leave figures."""
    repetitions = 1 if "--quick" in sys.argv else REPETITIONS
    runs = {f"{case}, {metrics} metrics": (case, metrics, {}) for metrics in METRICS for case in CASES}
    rarely = {"TRACELET_EXPORT_INTERVAL": str(RARELY_S)}
    runs[f"{CASES[0]}, {METRICS[-1]} metrics, every {RARELY_S} s"] = CASES[0], METRICS[-1], rarely
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory)) as otlp:
        for _ in range(repetitions):
            for name, (case, metrics, environment) in runs.items():
                parts = train(case, metrics, {"collector": otlp}, "benchmarks.training_parts", **environment)
                found[name].append(parts)
    results = {name: summary(of_run) for name, of_run in found.items()}
    write("parts", {"repetitions": repetitions, "rows": ROWS, "results": results})
    show("parts")


if __name__ == "__main__":
    main()
