"""Every way in which a process can end, and forks, as real processes."""

from __future__ import annotations

import pytest

from tests.integration.conftest import BOTH
from tests.support.mlflow_store import multiset, stored_run


@BOTH
def test_a_script_that_never_stops_delivers_everything_and_ends_the_run(run, database):
    child = run("never_stops.py")
    assert (child.returncode, child.stderr) == (0, "")
    stored = stored_run(database)
    assert stored.multiset == multiset(("loss", step, step / 3) for step in range(3000))
    assert stored.status == "FINISHED"


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [("error", 1, "FAILED"), ("interrupt", -2, "KILLED"), ("0", 0, "FINISHED"), ("3", 3, "FINISHED")],
)
def test_the_outcome_of_a_script_that_never_stops(run, database, end, code, status):
    child = run("ends.py", end)
    assert child.returncode == code
    assert "tracelet" not in child.stderr.replace("tracelet.start_logging", "")
    stored = stored_run(database)
    assert stored.multiset == multiset([("loss", 0, 1.0)])
    assert stored.status == status


@BOTH
def test_forked_dataloader_workers_deliver_nothing_twice(run, database):
    for who in ("ours", "native"):
        child = run("forked_workers.py", who)
        assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.multiset == stored_run(database.with_name("native.db")).multiset
    assert stored.status == "FINISHED"


@BOTH
def test_a_forked_child_that_exits_normally_does_not_end_its_parents_run(run, database):
    child = run("forked_child.py")
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.multiset == multiset([("loss", 0, 1.0), ("loss", 1, 3.0)])
    assert stored.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.cold
def test_the_lightning_hook_is_put_in_when_lightning_is_imported(run, database):
    child = run("late_import.py")
    assert child.returncode == 0, child.stderr
    assert "train/loss_epoch" in {name for name, *_ in stored_run(database).points}


def test_a_backend_that_is_not_installed_is_named_with_the_command(run):
    child = run("without_mlflow.py")
    assert "pip install 'tracelet-otel[mlflow]'" in child.stdout, child.stderr


@BOTH
def test_a_long_queue_survives_the_exit_of_somebodys_sdk(run, database):
    child = run("long_queue.py")
    assert child.returncode == 0, child.stderr
    assert stored_run(database).multiset == multiset(("loss", step, step / 3) for step in range(20_000))
