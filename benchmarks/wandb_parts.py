"""What a row costs the exporter to W&B, by what it does, beside W&B's client by itself.

    python -m benchmarks.wandb_parts [--quick]

The rows of `throughput`, with processor time of the exporter's two threads and of the client's caller. Medians.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.overhead import summary
from benchmarks.report import show
from benchmarks.results import write
from benchmarks.throughput import EXPORTER, METRICS, REPETITIONS, ROWS, THEIRS, rates

TRACKER = "W&B, offline"
CLIENT = ("wandb", "Run.log", "W&B's `run.log`")
PARTS = (
    ("benchmarks.throughput", "readings_of", "readings out of an export"),
    ("tracelet_otel.exporters.wandb.client", "rows", "rows of readings"),
    ("tracelet_otel.exporters.writer", "Writer.write_readings", "columns, and what a batch takes"),
    CLIENT,
)
CASES: dict[str, tuple[str, Sequence[tuple[str, str, str]]]] = {
    "its own client": (THEIRS, (CLIENT,)),
    "our exporter": (EXPORTER, PARTS),
}


def main() -> None:
    """Run it, print the table, and leave figures."""
    rows, repetitions = (500, 1) if "--quick" in sys.argv else (ROWS, REPETITIONS)
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(repetitions):
        for case, (script, parts) in CASES.items():
            figures = rates(script, TRACKER, rows, parts=parts)
            found[case].append({part: figures[part] for _, _, part in parts})
    results = {case: summary(of_case) for case, of_case in found.items()}
    write("wandb_parts", {"repetitions": repetitions, "rows": rows, "metrics": METRICS, "results": results})
    show("wandb parts")


if __name__ == "__main__":
    main()
