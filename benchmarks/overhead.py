"""What logging a row costs a training, beside what people use today.

    python -m benchmarks.overhead

Each case trains in a process of its own, torch on one thread, a row at each step. Repetitions are interleaved;
medians of them, with the smallest and the largest. Rows are measured on the training thread, around Lightning's logger
connector; the other threads over `fit`, and all threads at the end of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.budgets import OURS, over_nothing
from benchmarks.child import figures
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results, spread
from benchmarks.servers import collector, mlflow_server

CASES = (
    "no logger",
    "do-nothing logger",
    "CSVLogger",
    "TensorBoardLogger",
    "MLFlowLogger, SQLite",
    "MLFlowLogger, server",
    "WandbLogger, offline",
    *OURS,
)
METRICS = (5, 50)
"""In a row."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    rows: int = 400
    """Of a training. What is paid once, for the start of threads and the end of a run, is divided by it."""
    repetitions: int = 3
    few: Sequence[str] = CASES
    """The cases in which a row has the fewest metrics."""
    many: Sequence[str] = CASES
    """Those in which it has the most."""


SMALLEST = Size(
    rows=60,
    repetitions=1,
    few=[case for case in CASES if case not in ("MLFlowLogger, SQLite", "ours: mlflow")],
    many=("no logger", "do-nothing logger"),
)
"""The cases that are left out are there with a server, and as one of three trackers."""


def train(
    case: str,
    metrics: int,
    rows: int,
    addresses: dict[str, str],
    program: str = "benchmarks.training",
    **environment: str,
) -> dict[str, float]:
    """What a program finds in one training; see `figures` for the environment."""
    with tempfile.TemporaryDirectory() as home:
        order = {"case": case, "metrics": metrics, "rows": rows, **addresses}
        return figures(["-m", program], order, home, **environment)


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """The spread of each figure."""
    return {name: spread([one[name] for one in found]) for name in found[0]}


def main(size: Size, results: Results) -> None:
    """Run it, print the tables, and leave figures and plots."""
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server, collector(Path(home)) as otlp:
        addresses = {"server": server, "collector": otlp}
        for metrics, cases in zip(METRICS, (size.few, size.many), strict=True):
            found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
            for _ in range(size.repetitions):
                for case in cases:
                    found[case].append(train(case, metrics, size.rows, addresses))
            costs = {case: summary(of_case) for case, of_case in found.items()}
            measured[f"rows of {metrics} metrics"] = costs
            own = {case: median(over_nothing(costs, case, "row_us")) for case in costs if case != "no logger"}
            results.bars(
                f"overhead_{metrics}",
                f"A row of {metrics} metrics, on the training thread",
                "microseconds over no logger",
                own,
            )
    results.write("overhead", {"repetitions": size.repetitions, "rows": size.rows, "results": measured})
    show(results, *(f"overhead {metrics}" for metrics in METRICS))
    print("Each figure but the start's and the end's is what comes on top of no logger.")


if __name__ == "__main__":
    run(main, Size(), SMALLEST)
