"""The documents say what the benchmarks have measured, and nothing else."""

from __future__ import annotations

import pytest
from benchmarks.budgets import budgets, ratio
from benchmarks.report import DOCUMENTS, ROOT, filled
from benchmarks.results import KEPT


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_are_those_of_the_results(name):
    text = (ROOT / name).read_text()
    assert "<!-- figures: " in text
    assert filled(text, KEPT) == text


def measured(**more):
    """Figures as the benchmarks leave them, all within their budgets but for what is said."""
    cost = {
        "no logger": (0.0, 0.0, 0.0),
        "do-nothing logger": (9.0, 0.0, 0.0),
        "CSVLogger": (90.0, 0.0, 0.0),
        "ours: mlflow": (3.0, 87.0, 60.0),
        "ours: three trackers": (3.0, 87.0, 60.0),
        "ours: otlp": (3.0, 87.0, 60.0),
    }
    figures = ("row_us", "other_threads_and_end_us_per_row", "peak_rss_mib")
    rows = {
        case: {figure: {"each": [more.get(figure, value) if case == "ours: otlp" else value]}
               for figure, value in zip(figures, costs, strict=True)}
        for case, costs in cost.items()
    }  # fmt: skip
    return {
        "overhead": {"results": {"rows of 5 metrics": rows}},
        "start": {"results": {"MLflow": {"ours": {"median": more.get("start", 3.0)}, "their client": {"median": 2.0}}}},
        "throughput": {"results": {"W&B": {"median": {"their client": 100.0, "exporter": more.get("rate", 90.0)}}}},
        "gpu_collection": {"results": {"8": {"median_ms": more.get("gpu", 5.0)}}},
        "zero_code_start": {
            "results": {
                "without ours": {"start_ms": 100.0},
                "hooks, three trackers, detector": {"start_ms": more.get("zero", 200.0)},
            }
        },
    }.__getitem__


def test_what_is_within_its_budgets_holds():
    assert all(one.holds for one in budgets(measured()))


@pytest.mark.parametrize(
    ("more", "broken"),
    [
        (
            {"row_us": 3.1, "other_threads_and_end_us_per_row": 0.0},
            ["otlp, row of 5 metrics, training thread: x do-nothing logger",
             "otlp, row of 5 metrics, training thread: x CSVLogger"],
        ),
        ({"other_threads_and_end_us_per_row": 87.5}, ["otlp, row of 5 metrics, all threads: x CSVLogger"]),
        ({"peak_rss_mib": 61.0}, ["otlp, row of 5 metrics, peak RSS: MiB over no logger"]),
        ({"start": 3.1}, ["start, MLflow: seconds over its own client"]),
        ({"rate": 89.0}, ["exporter, W&B: time of its own client"]),
        ({"gpu": 5.1}, ["collection of 8 GPUs: ms of CPU"]),
        ({"zero": 201.0}, ["script without Lightning: ms later"]),
    ],
)  # fmt: skip
def test_what_is_over_a_budget_is_named(more, broken):
    assert [one.what for one in budgets(measured(**more)) if not one.holds] == broken


def test_a_ratio_is_of_what_was_measured_together():
    """Where the machine is faster in one repetition than in another, medians are of different ones."""
    assert ratio([1.0, 2.0, 3.0], [3.0, 3.0, 9.0]) == 1 / 3


def test_every_budget_is_on_the_page():
    page = (ROOT / "docs/performance.md").read_text()
    missing = [one.what for one in budgets(KEPT.load) if f"| {one.what} |" not in page]
    assert not missing
