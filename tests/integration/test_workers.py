"""Trainings in processes that a recorded one has started: each is recorded, as if it were alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.mlflow_store import StoredRun, multiset, stored_runs
from tests.support.waiting import wait_until

Run = Callable[..., "CompletedProcess[str]"]
NUMBERS = range(4)


def logged(directory: Path, number: int) -> Counter[tuple[str, int, Any]]:
    """What a training's own logger got."""
    rows = json.loads((directory / f"rows.{number}.json").read_text())
    return multiset((name, step, value) for metrics, step in rows for name, value in metrics.items())


def number_of(run: StoredRun) -> int:
    (number,) = {value for name, _, value, _ in run.points if name == "number"}
    return int(number)


def ended(database: Path, count: int) -> bool:
    runs = stored_runs(database)
    return len(runs) == count and all(run.status != "RUNNING" for run in runs)


KINDS = [
    "fork",
    pytest.param("forkserver", marks=pytest.mark.slow),
    pytest.param("spawn", marks=pytest.mark.slow),
    "executor",
    "loky",
    "subprocess",
    pytest.param("nested", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_training_of_a_worker_is_a_run_below_that_of_the_script(tmp_path, database, run: Run, kind: str) -> None:
    # New interpreters take ten seconds each to import Lightning.
    numbers = range(2 if kind == "subprocess" else 4)
    child = run("pools.py", KIND=kind, COUNT=str(len(numbers)))
    assert (child.returncode, child.stdout) == (0, "{}\n"), child.stderr
    assert "tracelet" not in child.stderr.replace("tracelet: ", "")
    # The relay goes on when the script has ended.
    wait_until(lambda: ended(database, len(numbers) + 1), 60, "the end of all runs")
    script, *trainings = sorted(stored_runs(database), key=lambda one: one.name != "pool")
    assert (script.points, script.status) == ([], "FINISHED")
    assert {number_of(one): one.multiset for one in trainings} == {one: logged(tmp_path, one) for one in numbers}
    for one in trainings:
        assert one.status == "FINISHED"
        assert one.tags["trained"] == str(number_of(one))
        assert one.tags["mlflow.parentRunId"] == script.run_id
        assert one.experiment == "workers"
        assert one.name.startswith("pool-")
        assert one.name.endswith("-Net")
        assert one.params["lightning/trainer/max_epochs"] == "3"
    assert len({one.name for one in trainings}) == (len(numbers) if kind != "subprocess" else 1)


def test_workers_belong_to_the_run_of_the_script_where_that_is_asked_for(tmp_path, database, run: Run) -> None:
    child = run("pools.py", KIND="fork", CONFIG='{"workers": "same"}')
    assert (child.returncode, child.stdout) == (0, "{}\n"), child.stderr
    wait_until(lambda: ended(database, 1), 60, "the end of the run")
    (only,) = stored_runs(database)
    assert only.multiset == sum((logged(tmp_path, number) for number in NUMBERS), Counter())


def test_workers_are_left_out_where_that_is_asked_for(database, run: Run) -> None:
    child = run("pools.py", KIND="fork", CONFIG='{"workers": "off"}')
    assert (child.returncode, child.stdout) == (0, "{}\n"), child.stderr
    assert "is not recorded" not in child.stderr
    (only,) = stored_runs(database)
    assert only.points == []


def test_without_a_relay_workers_say_that_they_are_not_recorded(database, run: Run) -> None:
    child = run("pools.py", KIND="fork", CONFIG='{"relay": false}')
    assert (child.returncode, child.stdout) == (0, "{}\n"), child.stderr
    # Each worker says it once; one may have done all the work.
    assert child.stderr.count("is not recorded: without a relay (relay=False)") in (1, 2), child.stderr


@pytest.mark.parametrize("config", ["{}", pytest.param('{"relay": false}', marks=pytest.mark.slow)])
def test_each_trainer_of_a_script_has_a_run_where_that_is_asked_for(tmp_path, database, run: Run, config: str) -> None:
    child = run("pools.py", KIND="here", CONFIG=json.dumps({"runs": "trainer", **json.loads(config)}))
    assert (child.returncode, child.stdout) == (0, "{}\n"), child.stderr
    wait_until(lambda: ended(database, 5), 60, "the end of all runs")
    script, *trainings = stored_runs(database)
    assert (script.name, script.points) == ("pool", [])
    assert [one.name for one in trainings] == [f"pool-{number + 1}-Net" for number in NUMBERS]
    assert [one.multiset for one in trainings] == [logged(tmp_path, number) for number in NUMBERS]
    assert {one.tags["mlflow.parentRunId"] for one in trainings} == {script.run_id}


@pytest.mark.parametrize("event", ["parent stops", "parent is killed", "worker is killed"])
def test_a_worker_is_recorded_whatever_happens_to_its_parent_and_its_own_death_is_told(
    tmp_path, database, start, event: str
) -> None:
    child = start("outlives.py", event)
    if event == "parent is killed":
        wait_until(lambda: child.poll() is not None, 60, "the end of the script")
        (tmp_path / "go").touch()
        wait_until((tmp_path / "done").exists, 60, "the end of the worker")
    output, errors = child.communicate(timeout=120)
    assert (child.returncode, output) == ((-9, "") if event == "parent is killed" else (0, "{}\n")), errors
    wait_until(lambda: ended(database, 2), 60, "the end of both runs")
    script, training = sorted(stored_runs(database), key=lambda one: one.name != "parent")
    assert script.status == ("KILLED" if event == "parent is killed" else "FINISHED")
    batches = sorted(value for name, _, value, _ in training.points if name == "batches")
    if event == "worker is killed":
        # At most what was logged in the last interval is missing.
        assert (training.status, batches) == ("KILLED", [one + 1.0 for one in range(len(batches))])
    else:
        assert (training.status, batches) == ("FINISHED", [one + 1.0 for one in range(24)])
        # Only once: what begins after the end of the run is said.
        assert errors.count("is not recorded: the run of the process that started it is over") == 1


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("the pool outlives a run", {"first": [1], "second": [2]}),
        ("a run of a thread ends before", {"first": [1]}),
        ("the worker has a run of its own", {"first": [1, 3], "own": [2]}),
        pytest.param("each process starts a run", {"first": [1]}, marks=pytest.mark.slow),
    ],
)
def test_a_worker_belongs_to_the_run_that_goes_on_when_it_trains(
    database, run: Run, event: str, expected: dict[str, list[int]]
) -> None:
    child = run("runs_and_workers.py", EVENT=event)
    assert (child.returncode, child.stdout) == (0, ""), child.stderr
    assert "not recorded" not in child.stderr
    names = {"first", "second", "own", "isolated"}
    wait_until(lambda: all(run.status != "RUNNING" for run in stored_runs(database)), 60, "the end of all runs")
    runs = stored_runs(database)
    trained = [(run.tags.get("mlflow.parentRunId", run.run_id), number_of(run)) for run in runs if run.points]
    found = {run.run_id: run.name for run in runs if run.name in names}
    assert sorted((found[run_id], number) for run_id, number in trained) == sorted(
        (name, number) for name, numbers in expected.items() for number in numbers
    )


def test_all_of_a_pool_belongs_to_the_run_that_goes_on_where_workers_have_none(database, run: Run) -> None:
    child = run("runs_and_workers.py", EVENT="the pool outlives a run", WORKERS="same")
    assert (child.returncode, child.stdout) == (0, ""), child.stderr
    wait_until(lambda: ended(database, 2), 60, "the end of both runs")
    assert {run.name: number_of(run) for run in stored_runs(database)} == {"first": 1, "second": 2}
