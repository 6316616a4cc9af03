"""Neither a killed training nor a killed relay loses a value or doubles one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until

INTERVAL_S = 0.2
SCRIPT = f"""
import sys, time
import tracelet_otel as tracelet
run = tracelet.start_logging("deaths", config={{"export_interval": {INTERVAL_S}}})
run.log_params({{"lr": 0.1}})
print("ready", flush=True)
for step in range(int(sys.argv[1])):
    run.log_metric("loss", 1 / (step + 1), step)
    run.log_metric("odd", float("nan") if step % 3 else float("inf"), step)
    print(step, time.time(), flush=True)
    time.sleep(0.002)
run.stop()
assert run.errors == {{}}, run.errors
"""


def once_and_some(chosen: int):
    """A test for each of 20 random moments, all but the first in `make test-all`."""
    return [pytest.param(seed, marks=[] if seed < chosen else pytest.mark.slow) for seed in range(20)]


def start(tmp_path, rows: int) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    child = subprocess.Popen(
        [sys.executable, str(script), str(rows)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = child.stdout.readline()
    assert line == "ready\n", child.stderr.read()
    return child


@pytest.mark.parametrize("seed", once_and_some(2))
def test_a_killed_training_is_closed_as_killed_with_all_its_rows(tmp_path, database, seed):
    child = start(tmp_path, 100_000)
    logged: dict[int, float] = {}
    rows = random.Random(seed).randrange(1, 1200)
    for line in child.stdout:
        step, moment = line.split()
        logged[int(step)] = float(moment)
        if len(logged) == rows:
            break
    killed = time.time()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    run = stored_run(database)
    assert run.status == "KILLED"
    steps = Counter((name, step) for name, step, _, _ in run.points)
    assert set(steps.values()) <= {1}, "something is there twice"
    # What was logged has to leave once more after an interval; on a busy machine that takes its time.
    old = {step for step, moment in logged.items() if moment < killed - 2 * INTERVAL_S}
    assert old <= {step for name, step in steps if name == "loss"}
    assert old <= {step for name, step in steps if name == "odd"}
    assert all(value == 1 / (step + 1) for name, step, value, _ in run.points if name == "loss")
    assert run.params == ({"lr": "0.1"} if old else run.params)


@pytest.mark.parametrize("seed", once_and_some(2))
def test_a_killed_relay_is_started_again_and_the_run_is_complete(tmp_path, database, seed):
    rows = 1200
    child = start(tmp_path, rows)
    (relay,) = relays(tmp_path)
    at = random.Random(seed).randrange(0, rows)
    while at and int(child.stdout.readline().split()[0]) < at:
        pass
    relay.kill()
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert run.params == {"lr": "0.1"}
    assert Counter((name, step) for name, step, _, _ in run.points) == Counter(
        (name, step) for name in ("loss", "odd") for step in range(rows)
    )
    assert all(value == 1 / (step + 1) for name, step, value, _ in run.points if name == "loss")


@pytest.mark.slow
def test_a_relay_that_is_killed_again_and_again(tmp_path, database):
    child = start(tmp_path, 3000)
    first = None
    for _ in range(4):
        wait_until(lambda last=first: {one.pid for one in relays(tmp_path)} - {last}, 30, "the relay's start")
        (relay,) = relays(tmp_path)
        first = relay.pid
        relay.kill()
    child.communicate(timeout=240)
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert Counter(step for name, step, _, _ in stored_run(database).points if name == "loss") == Counter(range(3000))


@pytest.mark.slow
def test_a_relay_that_is_told_to_finish_does_and_the_run_goes_on(tmp_path, database):
    child = start(tmp_path, 3000)
    (relay,) = relays(tmp_path)
    relay.terminate()
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    (run,) = stored_runs(database)
    assert run.status == "FINISHED"
    assert Counter(step for name, step, _, _ in run.points if name == "loss") == Counter(range(3000))


def test_ctrl_c_does_not_reach_the_relay(tmp_path, database):
    child = start(tmp_path, 100_000)
    (relay,) = relays(tmp_path)
    assert os.getsid(relay.pid) == relay.pid != os.getsid(child.pid)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=240)
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"


def check_finished(database, rows: int) -> None:
    run = stored_run(database)
    assert run.status == "FINISHED"
    assert Counter(step for _, step, _, _ in run.points) == Counter(range(rows))


SELDOM = """
import os, signal
import tracelet_otel as tracelet
run = tracelet.start_logging("seldom", config={"export_interval": 1000})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_relay_that_is_told_to_finish_after_its_owners_death_waits_for_no_interval(tmp_path, database, python):
    assert python(SELDOM).returncode == -signal.SIGKILL
    (relay,) = relays(tmp_path)
    relay.terminate()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert stored_run(database).status == "KILLED"


LONG = """
import tracelet_otel as tracelet
with tracelet.start_logging("long", config={"export_interval": 1000, "stop_timeout": 120}) as run:
    for step in range(60_000):
        run.log_metric("loss", 1 / (step + 1), step)
assert run.errors == {}, run.errors
assert run.accounts["mlflow"].delivered == 60_000
"""


@pytest.mark.slow
def test_rows_that_are_all_still_queued_at_the_end_are_all_delivered(tmp_path, database, python):
    child = python(LONG)
    assert child.returncode == 0, child.stderr
    check_finished(database, 60_000)


TOGETHER = """
import os, signal
import tracelet_otel as tracelet
run = tracelet.start_logging("together", config={"export_interval": 0.1})
for step in range(500):
    run.log_metric("loss", 1 / (step + 1), step)
os.kill(run._destination._connection.pid, signal.SIGTERM)
run.stop()
assert run.errors == {}, run.errors
assert run.accounts["mlflow"].delivered == 500
"""


def test_a_relay_that_is_told_to_finish_while_the_run_ends(tmp_path, database, python):
    child = python(TOGETHER)
    assert child.returncode == 0, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    check_finished(database, 500)


KILLED_WHEN_DONE = """
import os, signal
import tracelet_otel as tracelet
from tracelet_otel.relay.calls import fetch_status, wait_for
run = tracelet.start_logging("done", config={"export_interval": 0.1})
for step in range(500):
    run.log_metric("loss", 1 / (step + 1), step)
relay = run._destination._connection
real = run._destination.finish
def finish(deadline_s):
    assert wait_for(lambda: fetch_status(relay.address, run.id).over, deadline_s + 30)
    os.kill(relay.pid, signal.SIGKILL)
    real(deadline_s)
run._destination.finish = finish
run.stop()
assert run.accounts["mlflow"].delivered == 500, run.accounts
assert not set(run.errors) - {"the relay could not be asked"}, run.errors
"""


def test_a_relay_that_is_killed_when_all_is_done_and_before_its_owner_asks(tmp_path, database, python):
    child = python(KILLED_WHEN_DONE)
    assert child.returncode == 0, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    check_finished(database, 500)
