"""A training is killed, and its script started again for the same job: one run goes on, in every tracker."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterable

import pytest

from tests.again.left import last_attempt
from tests.support.clearml_files import session
from tests.support.clearml_server import ClearmlServer
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.relays import relays
from tests.support.waiting import free_port, wait_until
from tests.support.wandb_files import offline_files, offline_run
from tests.support.wandb_server import WandbServer

KEY = {"TRACELET_RUN_KEY": "job 7", "TRACELET_TRACK_GIT": "false"}
ALL = ("mlflow", "wandb", "clearml")
KILLED_AT, SAVED_AT, STEPS = 70, 50, 100
FIRST, SECOND = [1.0], [2.0]
BOTH = {step: FIRST if step < SAVED_AT else FIRST + SECOND if step < KILLED_AT else SECOND for step in range(STEPS)}
"""Which attempts each step was done in."""
LAST = {step: values[-1] for step, values in BOTH.items()}
WORDS = ["tracelet.run.attempt:2", "tracelet.run.lost_steps:20"]


@pytest.fixture
def attempt(run):
    """Makes an attempt with a number: the first one is killed."""

    def attempt(number: int, *backends: str, **environment: str) -> None:
        child = run("attempt.py", *backends, ATTEMPT=str(number), **KEY, **environment)
        assert child.returncode == (-signal.SIGKILL if number == 1 else 0), child.stderr

    return attempt


def attempts_of(points: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    """Which attempts each step was done in, from points of the metric `by`, in the order of time."""
    found = defaultdict(list)
    for step, value in points:
        found[step].append(value)
    return dict(sorted(found.items()))


def of_mlflow(found: StoredRun) -> dict[int, list[float]]:
    by = sorted((ms, step, value) for name, step, value, ms in found.points if name == "by")
    losses = {
        step for name, step, value, _ in found.points if name == "loss" and value == pytest.approx(1 / (step + 1))
    }
    assert losses == set(range(STEPS))
    return attempts_of((step, value) for _, step, value in by)


def of_wandb(rows) -> dict[int, list[float]]:
    assert {int(row["trainer/global_step"]) for row in rows if "loss" in row} == set(range(STEPS))
    return attempts_of((int(row["trainer/global_step"]), row["by"]) for row in rows if "by" in row)


def of_clearml(points) -> dict[int, float]:
    assert {step for title, _, step in points if title == "loss"} == set(range(STEPS))
    return {step: value for (title, _, step), (value, _) in sorted(points.items()) if title == "by"}


def check_mlflow(found: StoredRun) -> None:
    assert found.status == "FINISHED"
    assert of_mlflow(found) == BOTH
    assert (found.tags["tracelet.run.attempt"], found.tags["tracelet.run.lost_steps"]) == ("2", "20")
    assert float(found.tags["tracelet.run.downtime"]) > 0
    assert found.note.startswith("attempt 2 resumed at step 50; steps done again so far: 20; seconds between attempts")
    assert found.params["lr"] == "0.05"


def test_each_tracker_has_one_run_with_both(tmp_path, database, attempt):
    attempt(1, *ALL)
    attempt(2, *ALL)
    check_mlflow(stored_run(database))
    first, second = (offline_run(path) for path in offline_files(tmp_path / "wandb") if not path.parent.is_symlink())
    assert first.run_id == second.run_id == stored_run(database).tags["tracelet.run.id"]
    assert first.name == second.name == stored_run(database).name
    assert of_wandb(first.rows + second.rows) == BOTH
    assert "tracelet.run.attempt:1" in first.tags
    assert second.config["otel"]["tracelet.run.attempt"] == 2
    assert second.exit_code == 0
    assert second.config["lr"] == 0.05
    (archive,) = (tmp_path / "clearml" / "offline").glob("*.zip")
    task = session(archive)
    assert of_clearml(task.points) == LAST
    assert [word for word in second.tags if word in WORDS] == [word for word in task.tags if word in WORDS] == WORDS
    assert "outcome: finished" in task.tags
    known = last_attempt(tmp_path)
    assert (known.number, known.step, known.lost_steps) == (2, STEPS, KILLED_AT - SAVED_AT)
    assert 0 < known.downtime_s < 120


def test_on_servers_it_is_as_if_it_had_never_ended(tmp_path, database, attempt, monkeypatch):
    wandb, clearml = WandbServer(), ClearmlServer()
    servers = {"WANDB_BASE_URL": wandb.uri, "WANDB_API_KEY": wandb.api_key, "CLEARML_API_HOST": clearml.uri}
    keys = {"CLEARML_API_ACCESS_KEY": clearml.access_key, "CLEARML_API_SECRET_KEY": clearml.secret_key}
    try:
        attempt(1, "wandb", "clearml", **servers, **keys)
        # The relay ends the run as that of a killed training.
        wait_until(lambda: not relays(tmp_path), 60, "the relay's end")
        (run,), (task,) = wandb.runs.values(), clearml.tasks.values()
        assert (run.exit_code, task.status) == (255, "stopped")
        attempt(2, "wandb", "clearml", **servers, **keys)
        (run,), (task,) = wandb.runs.values(), clearml.tasks.values()
        assert (run.exit_code, task.status) == (0, "completed")
        assert of_wandb(run.history) == BOTH
        assert of_clearml(task.points) == LAST
        assert [word for word in run.tags if word in WORDS] == [word for word in task.tags if word in WORDS] == WORDS
    finally:
        wandb.stop()
        clearml.stop()


def test_a_run_that_was_closed_is_running_again(tmp_path, database, attempt):
    attempt(1, "mlflow")
    wait_until(lambda: not relays(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"
    attempt(2, "mlflow")
    check_mlflow(stored_run(database))


def test_what_the_attempt_before_has_left_is_delivered(tmp_path, database, attempt):
    attempt(1, "mlflow", LEAVES="yes")
    assert stored_run(database).points == []
    attempt(2, "mlflow")
    check_mlflow(stored_run(database))
    wait_until(lambda: not relays(tmp_path), 60, "the relay's end")
    assert not list((tmp_path / "journals").glob("*.journal*"))


def test_on_another_machine_the_tracker_knows_the_number(tmp_path, database, attempt):
    attempt(1, "mlflow")
    wait_until(lambda: not relays(tmp_path), 60, "the relay's end")
    attempt(2, "mlflow", TRACELET_JOURNAL_DIR=str(tmp_path / "elsewhere"))
    found = stored_run(database)
    assert of_mlflow(found) == BOTH
    assert found.tags["tracelet.run.attempt"] == "2"
    assert "tracelet.run.lost_steps" not in found.tags
    assert found.note == "attempt 2 resumed at step 50"
    assert last_attempt(tmp_path, "elsewhere").lost_steps is None


def test_offline_on_another_machine_there_are_two_folders_of_one_run(tmp_path, attempt):
    attempt(1, "wandb", "clearml")
    wait_until(lambda: not relays(tmp_path), 60, "the relay's end")
    there = {"WANDB_DIR": str(tmp_path / "there"), "CLEARML_CACHE_DIR": str(tmp_path / "there")}
    (tmp_path / "there").mkdir()
    attempt(2, "wandb", "clearml", **there)
    first, second = (
        [offline_run(path) for path in offline_files(home / "wandb") if not path.parent.is_symlink()]
        for home in (tmp_path, tmp_path / "there")
    )
    assert [run.run_id for run in first] == [run.run_id for run in second]
    assert of_wandb(first[0].rows + second[0].rows) == BOTH
    tasks = [session(*home.glob("offline/*.zip")) for home in (tmp_path / "clearml", tmp_path / "there")]
    assert tasks[0].task_id == tasks[1].task_id == f"offline-{first[0].run_id}"
    steps = [{step for title, _, step in task.points if title == "by"} for task in tasks]
    assert steps == [set(range(KILLED_AT)), set(range(SAVED_AT, STEPS))]


def test_of_two_that_start_at_the_same_time_each_has_a_run(database, start):
    both = [start("held.py", stdin=subprocess.PIPE, **KEY) for _ in range(2)]
    ids = {child.stdout.readline().strip() for child in both}
    said = "".join(child.communicate(timeout=60)[1] for child in both)
    assert [child.returncode for child in both] == [0, 0], said
    assert {run.tags["tracelet.run.id"] for run in stored_runs(database)} == ids
    assert len(ids) == 2
    assert said.count("records the run of this job already") == 1


@pytest.mark.slow
@pytest.mark.cold
def test_what_torchrun_starts_again_goes_on_with_its_run(tmp_path, database, run, request):
    torchrun = importlib.util.find_spec("torch.distributed.run")
    assert torchrun is not None
    # One rank: with more, gloo may look for the rank that was killed where it was before.
    options = ["--nproc_per_node", 1, "--master_port", free_port(), "--max_restarts", 1]
    script = request.path.with_name("scripts") / "attempt.py"
    child = run(torchrun.origin, *options, script, "mlflow", TRACELET_RESUME="auto", TRACELET_TRACK_GIT="false")
    assert child.returncode == 0, child.stderr
    check_mlflow(stored_run(database))
