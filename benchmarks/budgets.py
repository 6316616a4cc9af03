"""What a run may cost, and whether it did: pure arithmetic on the figures that the benchmarks leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OURS = ("ours: mlflow", "ours: three trackers", "ours: otlp")


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit, and what was measured."""

    what: str
    measured: float
    most: float

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.measured <= self.most


def budgets(load: Callable[[str], Mapping[str, Any]]) -> list[Budget]:
    """All of them.

    Args:
        load: gives a benchmark's figures by its name.
    """
    found = []
    for rows, costs in load("overhead")["results"].items():
        found += [budget for case in OURS for budget in _of_rows(rows, case, costs)]
    for tracker, both in load("start")["results"].items():
        more_s = both["ours"]["median"] - both["their client"]["median"]
        found.append(Budget(f"start, {tracker}: seconds over its own client", more_s, 1.0))
    for tracker, rates in load("throughput")["results"].items():
        slower = rates["median"]["their client"] / rates["median"]["exporter"]
        found.append(Budget(f"exporter, {tracker}: time of its own client", slower, 1 / 0.9))
    gpus = load("gpu_collection")["results"]
    found.append(Budget("collection of 8 GPUs: ms of CPU", gpus["8"]["median_ms"], 5.0))
    starts = load("zero_code_start")["results"]
    later_ms = starts["hooks, three trackers, detector"]["start_ms"] - starts["without ours"]["start_ms"]
    found.append(Budget("script without Lightning: ms later", later_ms, 100.0))
    return found


def _of_rows(rows: str, case: str, costs: Mapping[str, Any]) -> list[Budget]:
    def more(other: str, figure: str) -> float:
        cost: float = costs[other][figure]["median"] - costs["no logger"][figure]["median"]
        return cost

    row = f"{case.removeprefix('ours: ')}, row {rows.removeprefix('rows ')}"
    row_us = more(case, "row_us")
    all_us = row_us + more(case, "other_threads_us_per_row")
    return [
        Budget(f"{row}, training thread: x do-nothing logger", row_us / more("do-nothing logger", "row_us"), 1 / 3),
        Budget(f"{row}, training thread: x CSVLogger", row_us / more("CSVLogger", "row_us"), 1 / 30),
        Budget(f"{row}, all threads: x CSVLogger", all_us / more("CSVLogger", "row_us"), 1.0),
        Budget(f"{row}, peak RSS: MiB over no logger", more(case, "peak_rss_mib"), 60.0),
    ]
