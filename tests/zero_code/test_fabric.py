"""A script that trains with Fabric and has never heard of us, under the stock `opentelemetry-instrument`."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.csv_points import csv_points
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.waiting import wait_until

SCRIPT = "fabric_training.py"
slow = pytest.mark.slow


def expected(directory: Path) -> Counter[tuple[str, int, float]]:
    """What Fabric's own logger has."""
    (path,) = directory.glob("csv/*/*/metrics.csv")
    return csv_points(path)


def in_store(database: Path) -> Counter[tuple[str, int, float]]:
    return Counter((name, step, value) for run in stored_runs(database) for name, step, value, _ in run.points)


@pytest.mark.parametrize(("strategy", "devices"), [("auto", 1), ("ddp_fork", 2), pytest.param("ddp", 2, marks=slow)])
def test_each_value_is_there_once(tmp_path, instrumented, database, strategy, devices):
    child = instrumented(SCRIPT, "mlflow", STRATEGY=strategy, DEVICES=str(devices))
    assert child.returncode == 0, child.stderr
    wait_until(lambda: stored_run(database).status == "FINISHED", 60, "the run's end")
    assert in_store(database) == expected(tmp_path)
    assert stored_run(database).params["lightning/fabric/world_size"] == str(devices)


@slow
@pytest.mark.cold
def test_the_package_may_be_fabrics_own(tmp_path, instrumented, database):
    """Which imports nothing of Lightning's trainer."""
    child = instrumented(SCRIPT, "mlflow", PACKAGE="lightning_fabric")
    assert child.returncode == 0, child.stderr
    assert in_store(database) == expected(tmp_path)
    assert stored_run(database).status == "FINISHED"


def test_what_fails_before_its_first_row_is_a_failed_run(instrumented, database):
    child = instrumented(SCRIPT, "mlflow", ENDS="before the first row")
    assert child.returncode == 1
    wait_until(lambda: stored_run(database).status == "FAILED", 60, "the run's end")
    assert stored_run(database).tags["tracelet.exception.type"] == "ArithmeticError"
    assert in_store(database) == Counter()


def test_a_killed_training_keeps_its_values(tmp_path, start_instrumented, database):
    child = start_instrumented(SCRIPT, "mlflow", ENDS="when it is killed")
    try:
        assert child.stdout.readline() == "ready\n"
        wait_until(lambda: in_store(database) == expected(tmp_path), 60, "all values")
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    wait_until(lambda: stored_run(database).status == "KILLED", 60, "the end of the run")
    assert in_store(database) == expected(tmp_path)
