"""Neither a killed training nor a killed relay loses a value or doubles one."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.relay.trainings import INTERVAL_S, Start, begin, read_some, skip_to
from tests.support.kernel import keeps_exit_status
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until

NAMES = ("loss", "a/b/c", "odd")

SEEDS = pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 5))])
"""A test for each of some random moments."""


def check_values(points) -> None:
    for name, step, value, _ in points:
        if name in ("loss", "a/b/c"):
            assert value == {"loss": 1 / (step + 1), "a/b/c": step / 3}[name]


def check_finished(database: Path, rows: int) -> None:
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert Counter(step for name, step, *_ in run.points if name == "loss") == Counter(range(rows))


@SEEDS
def test_a_killed_training_is_closed_as_killed_with_all_its_rows(tmp_path, database, start: Start, seed):
    child = begin(start, 100_000)
    logged = read_some(child, random.Random(seed).randrange(1, 600))
    killed_s = time.time()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    run = stored_run(database)
    assert run.status == "KILLED"
    stored = Counter((name, step) for name, step, _, _ in run.points)
    assert set(stored.values()) <= {1}, "something is there twice"
    # What was logged has to leave once more after an interval; on a busy machine that takes its time.
    old = {step for step, moment_s in logged.items() if moment_s < killed_s - 2 * INTERVAL_S}
    assert {(name, step) for name in NAMES for step in old} <= stored.keys()
    check_values(run.points)
    assert run.params == ({"lr": "0.1", "model/width": "7"} if old else run.params)
    if old:
        how = "killed by SIGKILL" if keeps_exit_status() else run.tags["tracelet.exception.message"]
        assert (run.tags["team"], run.note) == ("vision", f"of many rows\n\n{how}")
        assert max(old) // 100 <= int(run.tags["hundreds"]) <= max(logged) // 100 + 1


@SEEDS
def test_a_killed_relay_is_started_again_and_the_run_is_complete(tmp_path, database, start: Start, seed):
    rows = 600
    child = begin(start, rows)
    (relay,) = relays(tmp_path)
    skip_to(child, random.Random(seed).randrange(rows))
    relay.kill()
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert run.params == {"lr": "0.1", "model/width": "7"}
    tags = [run.tags["team"], run.note, run.tags["hundreds"]]
    assert tags == ["vision", "of many rows", f"{(rows - 1) // 100}"]
    extremes = json.loads(run.tags["mlflow.tracelet.extremes"])
    for name in ("loss", "a/b/c"):
        values = [value for key, _, value, _ in run.points if key == name]
        assert (extremes[name][0], extremes[name][2]) == (min(values), max(values))
    assert Counter((name, step) for name, step, _, _ in run.points) == Counter(
        (name, step) for name in NAMES for step in range(rows)
    )
    check_values(run.points)


@pytest.mark.slow
def test_a_relay_that_is_killed_again_and_again(tmp_path, database, start: Start):
    rows = 2000
    child = begin(start, rows)
    killed: set[int] = set()
    for _ in range(4):
        wait_until(lambda: {one.pid for one in relays(tmp_path)} - killed, 30, "the relay's start")
        (relay,) = relays(tmp_path)
        killed.add(relay.pid)
        relay.kill()
    child.communicate(timeout=240)
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    check_finished(database, rows)


@pytest.mark.slow
def test_a_relay_that_is_told_to_finish_does_and_the_run_goes_on(tmp_path, database, start: Start):
    rows = 600
    child = begin(start, rows)
    (relay,) = relays(tmp_path)
    relay.terminate()
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert len(stored_runs(database)) == 1
    check_finished(database, rows)


def test_ctrl_c_does_not_reach_the_relay(tmp_path, database, start: Start):
    child = begin(start, 100_000)
    (relay,) = relays(tmp_path)
    assert os.getsid(relay.pid) == relay.pid != os.getsid(child.pid)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=240)
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"


def test_a_relay_that_is_told_to_finish_after_its_owners_death_waits_for_no_interval(tmp_path, database, run):
    assert run("killed_at_once.py").returncode == -signal.SIGKILL
    (relay,) = relays(tmp_path)
    relay.terminate()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"


def test_the_owner_dies_while_its_relay_opens_the_run(tmp_path, database, start: Start):
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        # The run cannot be created as long as this holds the database.
        other.execute("BEGIN IMMEDIATE")
        child = start("rows.py", 100_000, "mlflow")
        # It is there before it has its order, by which it knows the journal.
        wait_until(lambda: list(tmp_path.glob("journals/*.journal")), 60, "the relay")
        child.kill()
        child.communicate()
        other.rollback()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"


@pytest.mark.slow
def test_rows_that_are_all_still_queued_at_the_end_are_all_delivered(database, run):
    rows = 20_000
    child = run("all_at_the_end.py", rows)
    assert child.returncode == 0, child.stderr
    check_finished(database, rows)


@pytest.mark.parametrize("script", ["ends_with_its_relay.py", "relay_killed_when_done.py"])
def test_a_relay_that_ends_while_the_run_does(tmp_path, database, run, script):
    child = run(script, 500)
    assert child.returncode == 0, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    check_finished(database, 500)
