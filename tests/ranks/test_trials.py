"""Several trainings of two ranks in a script, each in a run of its own, as trials of a search or folds are."""

from __future__ import annotations

import json

import pytest

from tests.support.mlflow_store import multiset, stored_runs
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    "launcher",
    ["ddp_fork", pytest.param("ddp", marks=pytest.mark.slow), pytest.param("ddp_spawn", marks=pytest.mark.slow)],
)
def test_each_training_is_a_run_with_the_values_of_both_ranks(tmp_path, database, run, launcher):
    done = run("folds.py", launcher)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: [one.end_ms is None for one in stored_runs(database)] == [False] * 3, 60, "the end of all runs")
    script, *folds = stored_runs(database)
    assert (script.name, script.points) == ("folds", [])
    assert [one.name for one in folds] == ["folds-1-Module", "folds-2-Module"]
    for fold, one in enumerate(folds):
        assert one.tags["mlflow.parentRunId"] == script.run_id
        assert one.status == "FINISHED"
        steps = [row for step in (0, 1) for row in (("rank", step, 0.5), ("fold", step, fold), ("epoch", step, 0.0))]
        # Of copies Lightning does not bring the step back to the script's process.
        step, epoch = (2, 1.0) if launcher == "ddp" else (0, 0.0)
        test = [("test", step, 10.0 * fold + 0.5), ("epoch", step, epoch)]
        assert one.multiset == multiset([*steps, *test, ("by hand", 0, 10.0 * fold + 0.5)])
    written = [json.loads(path.read_text()) for path in tmp_path.glob("errors.*")]
    assert written == [{}] * (2 if launcher == "ddp" else 1)


@pytest.mark.slow
def test_a_training_in_a_script_that_a_script_starts_has_the_values_of_both_ranks(database, run):
    done = run("started_with_ddp.py")
    assert done.returncode == 0, done.stderr
    assert "not recorded" not in done.stderr
    wait_until(lambda: [one.end_ms is None for one in stored_runs(database)] == [False] * 2, 60, "the end of both runs")
    script, training = stored_runs(database)
    assert training.tags["mlflow.parentRunId"] == script.run_id
    assert {value for name, _, value, _ in training.points if name == "rank"} == {0.5}
