"""What a row costs the exporter to W&B, by what it does, beside W&B's client by itself.

    python -m benchmarks.wandb_parts

The rows of `throughput`, with processor time of the exporter's two threads and of the client's caller, and of all
threads of the process beside the time that a row takes. With "rows ready" the exporter does nothing: W&B's client, set
up as by the exporter, gets rows that were made before. Interleaved repetitions; medians.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.options import run
from benchmarks.overhead import summary
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.stopwatch import ALL_THREADS, ELAPSED
from benchmarks.throughput import EXPORTER, METRICS, READY, SMALLEST, THEIRS, Size, rates

TRACKER = "W&B, offline"
CLIENT = ("wandb", "Run.log", "W&B's `run.log`")
PARTS = (
    ("benchmarks.throughput", "readings_of", "readings out of a request"),
    ("tracelet_otel.exporters.wandb.rows", "RowBuilder.made_of", "rows of readings"),
    ("tracelet_otel.exporters.wandb.history", "wait_for_row", "end of the file"),
    ("tracelet_otel.exporters.writer", "Writer.write_readings", "what a batch takes"),
    CLIENT,
)
CASES: dict[str, tuple[str, Sequence[tuple[str, str, str]]]] = {
    "its own client": (THEIRS, (CLIENT,)),
    "rows ready": (READY, (CLIENT,)),
    "our exporter": (EXPORTER, PARTS),
}


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures."""
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(size.repetitions):
        for case, (script, parts) in CASES.items():
            figures = rates(script, TRACKER, size.rows, parts=parts)
            found[case].append({part: figures[part] for part in (*(part for *_, part in parts), ALL_THREADS, ELAPSED)})
    measured = {case: summary(of_case) for case, of_case in found.items()}
    how = {"repetitions": size.repetitions, "rows": size.rows, "metrics": METRICS}
    results.write("wandb_parts", {**how, "results": measured})
    show(results, "wandb parts")


if __name__ == "__main__":
    run(main, Size(), SMALLEST)
