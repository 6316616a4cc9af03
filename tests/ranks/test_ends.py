"""However a rank ends, there is one run, with the right status and all rows that were exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.ranks.witness import TRAINING, combined, witnessed
from tests.support.mlflow_store import StoredRun, stored_run
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until

STEPS = 100_000
PAUSE_S = 0.03
INTERVAL_S = 0.2
"""As the training exports."""

pytestmark = pytest.mark.slow


@pytest.fixture
def training(tmp_path, database):
    """A training of two ranks that would take an hour, when both have logged for a second."""
    log = (tmp_path / "output").open("w")
    child = subprocess.Popen(
        [sys.executable, str(TRAINING), "ddp", str(STEPS), str(PAUSE_S)],
        cwd=tmp_path,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    log.close()
    wait_until(lambda: all(steps(tmp_path, rank) > 1 / PAUSE_S for rank in range(2)), 90, "the training's start")
    yield child
    child.poll()
    for rank in range(2):
        process = json.loads((tmp_path / f"process.{rank}").read_text())["pid"]
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    child.wait()


def steps(tmp_path, rank: int) -> int:
    path = tmp_path / f"rows.{rank}"
    return sum(line.startswith('["mean_step"') for line in path.read_text().splitlines()) if path.exists() else 0


def pid(tmp_path, rank: int) -> int:
    return int(json.loads((tmp_path / f"process.{rank}").read_text())["pid"])


def has_what_was_exported(tmp_path, run, killed_s: float) -> bool:
    """What both ranks logged two intervals before; the evaluation's rows and those of epochs too."""
    stored = Counter((name, step, value) for name, step, value, _ in run.points)
    assert set(Counter((name, step) for name, step, _, _ in run.points if name == "mean_step").values()) == {1}
    old: dict[tuple[str, int], list[float]] = {}
    for rank in range(2):
        for name, step, value, moment_s in witnessed(tmp_path, rank):
            if moment_s < killed_s - 2 * INTERVAL_S and name in ("mean_step", "sum_step", "mean/sync_step", "only1"):
                old.setdefault((name, step), []).append(value)
    assert len(old) > 10
    missing = {
        (name, step) for (name, step), values in old.items() if (name, step, combined(name, values)) not in stored
    }
    assert missing == set()
    return True


def ended_run(tmp_path, training) -> StoredRun:
    training.wait(60)
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    return stored_run(tmp_path / "mlflow.db")


def test_rank_1_is_killed(tmp_path, training):
    killed_s = time.time()
    os.kill(pid(tmp_path, 1), signal.SIGKILL)
    run = ended_run(tmp_path, training)
    # Lightning kills the other rank, which may have seen before that it is alone, and have said so.
    assert run.status in ({"KILLED", "FAILED"} if training.returncode == -signal.SIGKILL else {"FAILED"})
    assert has_what_was_exported(tmp_path, run, killed_s)


def test_rank_0_is_killed(tmp_path, training):
    killed_s = time.time()
    os.kill(pid(tmp_path, 0), signal.SIGKILL)
    run = ended_run(tmp_path, training)
    # The other rank fails in the next collective, and says so.
    assert run.status == "FAILED"
    assert has_what_was_exported(tmp_path, run, killed_s)


def test_ctrl_c(tmp_path, training):
    killed_s = time.time()
    os.killpg(training.pid, signal.SIGINT)
    run = ended_run(tmp_path, training)
    assert run.status == "KILLED"
    assert has_what_was_exported(tmp_path, run, killed_s)


def test_the_relay_is_killed(tmp_path, training):
    (relay,) = relays(tmp_path)
    relay.kill()
    killed_s = time.time() + 1
    wait_until(lambda: steps(tmp_path, 0) > 2 / PAUSE_S, 60, "more rows")
    wait_until(lambda: relays(tmp_path) != [], 60, "the next relay")
    wait_until(lambda: time.time() > killed_s + 2, 30, "some seconds")
    os.killpg(training.pid, signal.SIGINT)
    run = ended_run(tmp_path, training)
    assert run.status == "KILLED"
    assert has_what_was_exported(tmp_path, run, killed_s)
