"""What the comparison with TraceML reads and shows, where TraceML itself is not there."""

from __future__ import annotations

import pytest
from benchmarks.results import Results
from benchmarks.time_tables import cost_of_verdicts, verdicts
from benchmarks.verdicts import by_itself, by_ours, by_traceml

pytestmark = pytest.mark.whole

TRAINING = {
    "whole_s": 8.0,
    "parts": {"data_wait": 1.0, "forward": 0.5, "backward": 0.25, "optimizer": 0.25, "callback Slow": 4.0},
    "TraceML": {
        # As TraceML 0.5.0 writes it, without what is not read.
        "primary_diagnosis": {"status": "RESIDUAL-HEAVY", "summary": "Residual time is 25.0% of the Step Time."},
        "step_time": {
            "global": {
                "window": {"steps_analyzed": 100},
                "average": {
                    "step_time_ms": 40.0,
                    "input_wait_ms": 10.0,
                    "forward_ms": 5.0,
                    "backward_ms": 2.5,
                    "optimizer_ms": None,
                    "residual_ms": 10.0,
                },
            }
        },
    },
    "ours": {
        "verdict": {"name": "callback-bound", "owner": "Slow", "text": "50% of the time hooks of Slow run."},
        "total_s": 8.0,
        "phases": {
            "data_wait": 1.0, "forward": 0.5, "backward": 0.5, "optimizer": 0.5, "callback Slow": 4.0,
            "callback TraceletRankCallback": 0.5, "lightning": 1.0,
        },
    },
}  # fmt: skip


def test_a_training_says_itself_what_it_took():
    assert by_itself("callback", TRAINING) == {
        "shares": {
            "input": 0.125, "forward": 0.0625, "backward": 0.03125, "optimizer": 0.03125, "cause": 0.5, "residual": 0.25
        },
        "of_fit": 1.0,
    }  # fmt: skip


def test_what_traceml_did_not_measure_is_no_zero():
    assert by_traceml("callback", TRAINING) == {
        "verdict": "RESIDUAL-HEAVY",
        "text": "Residual time is 25.0% of the Step Time.",
        "shares": {"input": 0.25, "forward": 0.125, "backward": 0.0625, "optimizer": None, "residual": 0.25},
        "of_fit": 0.5,
        "steps": 100,
    }


def test_what_is_lightnings_own_is_what_ours_cannot_name():
    assert by_ours("callback", TRAINING) == {
        "verdict": "callback-bound Slow",
        "text": "50% of the time hooks of Slow run.",
        "shares": {
            "input": 0.125, "forward": 0.0625, "backward": 0.0625, "optimizer": 0.0625, "cause": 0.5, "residual": 0.125
        },
        "of_fit": 1.0,
    }  # fmt: skip


def cost(least: float) -> dict[str, dict[str, float]]:
    return {figure: {"min": least, "max": 2 * least} for figure in ("step_us", "whole_s", "command_s")}


@pytest.mark.parametrize("version", ["0.5.0", None])
def test_the_tables_say_where_traceml_was_not_measured(tmp_path, version):
    case = {"ours": {**by_ours("callback", TRAINING), "itself": by_itself("callback", TRAINING)}}
    if version:
        case = {"TraceML": {**by_traceml("callback", TRAINING), "itself": by_itself("callback", TRAINING)}} | case
    results = Results(tmp_path)
    figures = {"callback": case, "cost": {"neither": cost(100.0), "ours": cost(150.0)}}
    results.write("verdicts", {"traceml": version, "fast_steps": 100, "results": figures})
    note = "TraceML was not measured"
    table = verdicts(results)
    assert [line.split(" | ")[:4] for line in table.splitlines()[2:] if line.startswith("|")] == [
        ["| callback", "the training itself", "", "12.5%"],
        *([["| ", "TraceML 0.5.0", "RESIDUAL-HEAVY", "25.0%"]] if version else []),
        ["| ", "ours", "callback-bound Slow", "12.5%"],
    ]
    assert (note in table) == (not version)
    assert "| ours | 150 | 150 to 300 | 1.50 | 50 | 150.00 to 300.00 | 150.0 |" in cost_of_verdicts(results)
    assert (note in cost_of_verdicts(results)) == (not version)
