"""What logging a row costs a training, beside what people use today.

    python -m benchmarks.overhead [--quick]

Each case trains in a process of its own, torch on one thread, a row at each step. Repetitions are interleaved;
medians of them, with the smallest and the largest. Rows are measured on the training thread, around Lightning's logger
connector; the other threads over `fit`, and all threads at the end of the run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.budgets import over_nothing
from benchmarks.child import figures
from benchmarks.report import show
from benchmarks.results import bars, spread, write
from benchmarks.servers import collector, mlflow_server

CASES = (
    "no logger",
    "do-nothing logger",
    "CSVLogger",
    "TensorBoardLogger",
    "MLFlowLogger, SQLite",
    "MLFlowLogger, server",
    "WandbLogger, offline",
    "ours: mlflow",
    "ours: three trackers",
    "ours: otlp",
)
METRICS = (5, 50)
"""In a row."""
ROWS = 400
"""Of a training. What is paid once, for the start of threads and the end of a run, is divided by it."""
REPETITIONS = 3


def train(
    case: str,
    metrics: int,
    addresses: dict[str, str],
    program: str = "benchmarks.training",
    **environment: str,
) -> dict[str, float]:
    """What a program finds in one training; see `figures` for the environment."""
    with tempfile.TemporaryDirectory() as home:
        order = {"case": case, "metrics": metrics, "rows": ROWS, **addresses}
        return figures(["-m", program], order, home, **environment)


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """The spread of each figure."""
    return {name: spread([one[name] for one in found]) for name in found[0]}


def main() -> None:
    """Run it, print the tables, and leave figures and plots."""
    repetitions = 1 if "--quick" in sys.argv else REPETITIONS
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server, collector(Path(home)) as otlp:
        addresses = {"server": server, "collector": otlp}
        for metrics in METRICS:
            found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
            for _ in range(repetitions):
                for case in CASES:
                    found[case].append(train(case, metrics, addresses))
            costs = {case: summary(of_case) for case, of_case in found.items()}
            results[f"rows of {metrics} metrics"] = costs
            own = {case: median(over_nothing(costs, case, "row_us")) for case in costs if case != "no logger"}
            bars(
                f"overhead_{metrics}",
                f"A row of {metrics} metrics, on the training thread",
                "microseconds over no logger",
                own,
            )
    write("overhead", {"repetitions": repetitions, "rows": ROWS, "results": results})
    show(*(f"overhead {metrics}" for metrics in METRICS))
    print("Each figure but the start's and the end's is what comes on top of no logger.")


if __name__ == "__main__":
    main()
