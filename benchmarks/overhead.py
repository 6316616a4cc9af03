"""What logging a row costs a training, beside what people use today.

    python -m benchmarks.overhead [--quick]

Each case trains in a process of its own, torch on one thread, a row at each step. Repetitions are interleaved;
medians of them, with the smallest and the largest. Rows are measured on the training thread, around Lightning's logger
connector; the other threads over `fit` and the end of the run.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.child import figures
from benchmarks.results import bars, write
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
ROWS = {5: 2000, 50: 600}
"""How many rows of so many metrics."""
REPETITIONS = 3


def train(case: str, metrics: int, rows: int, addresses: dict[str, str]) -> dict[str, float]:
    """Costs of one training."""
    with tempfile.TemporaryDirectory() as home:
        order = {"case": case, "metrics": metrics, "rows": rows, **addresses}
        return figures(["-m", "benchmarks.training"], order, home)


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """Median, smallest and largest of each figure."""
    return {
        name: {
            "median": statistics.median(one[name] for one in found),
            "min": min(one[name] for one in found),
            "max": max(one[name] for one in found),
        }
        for name in found[0]
    }


def table(metrics: int, costs: dict[str, dict[str, Any]]) -> None:
    """Print what came out for rows of so many metrics."""
    nothing = costs["no logger"]
    dummy = costs["do-nothing logger"]["row_us"]["median"] - nothing["row_us"]["median"]
    print(f"\nrows of {metrics} metrics")
    print(
        f"{'':22} {'row us':>9} {'(min to max)':>16} {'x do-nothing':>12} {'other threads us':>17} "
        f"{'RSS MiB':>8} {'start s':>8} {'stop s':>7}"
    )
    for case, cost in costs.items():
        row = cost["row_us"]
        own_us = row["median"] - nothing["row_us"]["median"]
        spread = f"{row['min']:.1f} to {row['max']:.1f}"
        print(
            f"{case:22} {own_us:9.1f} {spread:>16} {own_us / dummy:12.2f} "
            f"{cost['other_threads_us_per_row']['median'] - nothing['other_threads_us_per_row']['median']:17.0f} "
            f"{cost['peak_rss_mib']['median'] - nothing['peak_rss_mib']['median']:8.0f} "
            f"{cost['start_s']['median']:8.2f} {cost['stop_s']['median']:7.2f}"
        )


def main() -> None:
    """Run it, print the tables, and leave figures and plots."""
    repetitions = 1 if "--quick" in sys.argv else REPETITIONS
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server, collector(Path(home)) as otlp:
        addresses = {"server": server, "collector": otlp}
        for metrics, rows in ROWS.items():
            found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
            for _ in range(repetitions):
                for case in CASES:
                    found[case].append(train(case, metrics, rows, addresses))
            costs = {case: summary(of_case) for case, of_case in found.items()}
            table(metrics, costs)
            results[f"rows of {metrics} metrics"] = costs
            nothing_us = costs["no logger"]["row_us"]["median"]
            own = {case: cost["row_us"]["median"] - nothing_us for case, cost in costs.items() if case != "no logger"}
            bars(
                f"overhead_{metrics}",
                f"A row of {metrics} metrics, on the training thread",
                "microseconds over no logger",
                own,
            )
    write("overhead", {"repetitions": repetitions, "rows": ROWS, "results": results})
    print("\nEach figure but the start's and the end's is what comes on top of no logger.")


if __name__ == "__main__":
    main()
