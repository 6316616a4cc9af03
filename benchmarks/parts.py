"""What the other threads of a training do for us, of which `overhead` has the sum.

    python -m benchmarks.parts

The trainings of `overhead`, each of our steps measured by the processor time of its thread, and one of them with fewer
collections: what each of these costs is divided by its rows. Medians.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.options import run
from benchmarks.overhead import METRICS, summary, train
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import collector

CASES = ("ours: mlflow", "ours: otlp")
RARELY_S = 5
"""Seconds between two collections, where there are fewer; the default is 1."""
RARELY = f"{CASES[0]}, {METRICS[-1]} metrics, every {RARELY_S} s"
RUNS: dict[str, tuple[str, int, dict[str, str]]] = {
    **{f"{case}, {metrics} metrics": (case, metrics, {}) for metrics in METRICS for case in CASES},
    RARELY: (
        CASES[0], METRICS[-1], {"TRACELET_EXPORT_INTERVAL": str(RARELY_S)},
    ),
}  # fmt: skip
"""Case, metrics in a row, and environment of each training."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    rows: int = 400
    repetitions: int = 3
    runs: Sequence[str] = tuple(RUNS)


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in size.runs}
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory)) as otlp:
        for _ in range(size.repetitions):
            for name in size.runs:
                case, metrics, more = RUNS[name]
                addresses = {"collector": otlp}
                found[name].append(train(case, metrics, size.rows, addresses, "benchmarks.training_parts", **more))
    measured = {name: summary(of_run) for name, of_run in found.items()}
    results.write("parts", {"repetitions": size.repetitions, "rows": size.rows, "results": measured})
    show(results, "parts")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(rows=60, repetitions=1, runs=("ours: otlp, 5 metrics", RARELY)))
