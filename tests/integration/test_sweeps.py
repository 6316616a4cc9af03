"""A search for hyperparameters: each trial is a run that has what was chosen for it; a pruned one has not failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.mlflow_store import StoredRun, stored_runs
from tests.support.waiting import wait_until
from tracelet_otel import semconv

Run = Callable[..., "CompletedProcess[str]"]


def ended_runs(database: Path, count: int) -> list[StoredRun]:
    """All of a number of runs; a relay goes on when the script has ended."""
    wait_until(
        lambda: [one.end_ms is None for one in stored_runs(database)] == [False] * count, 60, "the end of all runs"
    )
    return stored_runs(database)


@pytest.mark.parametrize("mode", ["trainer", pytest.param("isolated", marks=pytest.mark.slow)])
def test_each_trial_of_optuna_is_a_run(database, run: Run, mode: str) -> None:
    child = run("sweep.py", MODE=mode)
    assert child.returncode == 0, child.stderr
    chosen = json.loads(child.stdout)
    assert [one["state"] for one in chosen] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    runs = ended_runs(database, 5 if mode == "trainer" else 4)
    trials = sorted((one for one in runs if one.name != "study"), key=lambda one: int(one.tags["trial"]))
    for number, trial in enumerate(trials):
        epochs = 2 if number == 2 else 3
        own = {(name, step, value) for name, step, value, _ in trial.points if name in ("by hand", "number")}
        assert {one for one in own if one[0] == "by hand"} == {("by hand", epoch, number) for epoch in range(epochs)}
        assert {value for _, _, value in own} == {number}
        assert len([name for name, *_ in trial.points if name == "loss"]) == 4 * epochs
        assert {name: trial.params[name] for name in chosen[number]["params"]} == chosen[number]["params"]
        assert trial.status == "FINISHED"
        assert trial.tags.get(semconv.PRUNED) == ("not worth its time" if number == 2 else None)
        assert semconv.FAILURE_PREFIX + semconv.EXCEPTION_TYPE not in trial.tags
    if mode == "trainer":
        (study,) = (one for one in runs if one.name == "study")
        assert study.points == []
        assert "rate" not in study.params
        assert {one.tags["mlflow.parentRunId"] for one in trials} == {study.run_id}
        assert sorted(one.name for one in trials) == [f"study-{number}-Net" for number in (1, 2, 3, 4)]
    else:
        assert [one.name for one in trials] == [f"trial {number}" for number in range(4)]
