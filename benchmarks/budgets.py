"""What a run may cost, and whether it did: pure arithmetic on the figures that the benchmarks leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

GPU_COLLECTION_MS = 5.0
"""Of processor time, for 8 GPUs."""
ZERO_CODE_START_MS = 100.0
"""By which a script without Lightning may start later."""
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


def over_nothing(costs: Mapping[str, Any], case: str, figure: str) -> list[float]:
    """What a way to log costs on top of a training without any logger, in each repetition.

    Args:
        costs: of rows of one size, by case, as `overhead` leaves them.
        case: the way to log.
        figure: which cost, in the unit of its name.
    """
    cost, nothing = (costs[one][figure]["each"] for one in (case, "no logger"))
    return [more - less for more, less in zip(cost, nothing, strict=True)]


def all_threads_us(costs: Mapping[str, Any], case: str) -> list[float]:
    """What a row costs the threads of a training together, the end of the run included, as `over_nothing` has it."""
    figures = ("row_us", "other_threads_and_end_us_per_row")
    return [sum(both) for both in zip(*(over_nothing(costs, case, one) for one in figures), strict=True)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of what repetitions give, each for itself: a machine is faster in one than in another."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def budgets(load: Callable[[str], Mapping[str, Any]]) -> list[Budget]:
    """All of them.

    Args:
        load: gives a benchmark's figures by its name.
    """
    found = []
    for rows, costs in load("overhead")["results"].items():
        found += [budget for case in OURS if case in costs for budget in _of_rows(rows, case, costs)]
    for tracker, both in load("start")["results"].items():
        more_s = both["ours"]["median"] - both["their client"]["median"]
        found.append(Budget(f"start, {tracker}: seconds over its own client", more_s, 1.0))
    for tracker, rates in load("throughput")["results"].items():
        slower = rates["median"]["their client"] / rates["median"]["exporter"]
        found.append(Budget(f"exporter, {tracker}: time of its own client", slower, 1 / 0.9))
    gpus = load("gpu_collection")["results"]
    found.append(Budget("collection of 8 GPUs: ms of CPU", gpus["8"]["median_ms"], GPU_COLLECTION_MS))
    starts = load("zero_code_start")["results"]
    later_ms = starts["hooks, three trackers, detector"]["start_ms"] - starts["without ours"]["start_ms"]
    found.append(Budget("script without Lightning: ms later", later_ms, ZERO_CODE_START_MS))
    return found


def _of_rows(rows: str, case: str, costs: Mapping[str, Any]) -> list[Budget]:
    row = f"{case.removeprefix('ours: ')}, row {rows.removeprefix('rows ')}"
    row_us = over_nothing(costs, case, "row_us")
    dummy_us, csv_us = (over_nothing(costs, one, "row_us") for one in ("do-nothing logger", "CSVLogger"))
    rss_mib = median(over_nothing(costs, case, "peak_rss_mib"))
    return [
        Budget(f"{row}, training thread: x do-nothing logger", ratio(row_us, dummy_us), 1 / 3),
        Budget(f"{row}, training thread: x CSVLogger", ratio(row_us, csv_us), 1 / 30),
        Budget(f"{row}, all threads: x CSVLogger", ratio(all_threads_us(costs, case), csv_us), 1.0),
        Budget(f"{row}, peak RSS: MiB over no logger", rss_mib, 60.0),
    ]
