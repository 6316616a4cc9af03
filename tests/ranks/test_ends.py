"""However a rank ends, there is one run, with the right status and all rows that were exported."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ranks.witness import combined, process, witnessed
from tests.support.kernel import keeps_exit_status
from tests.support.mlflow_store import StoredRun, stored_run
from tests.support.relays import ended_clean, relays
from tests.support.torchrun import ranks_of_a_node
from tests.support.waiting import wait_until
from tests.support.warm import WarmProcess
from tracelet_otel.relay.death import GONE

STEPS = 100_000
PAUSE_S = 0.03
INTERVAL_S = 0.2
"""As the training exports."""
ROWS = 30

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Training:
    """One of two ranks that takes an hour if nobody ends it."""

    directory: Path
    children: list[WarmProcess]

    def steps(self, rank: int) -> int:
        """How many this rank has logged; its last line may not be whole."""
        path = self.directory / f"rows.{rank}"
        return sum(line.startswith('["mean_step"') for line in path.read_text().splitlines()) if path.exists() else 0

    def pid(self, rank: int) -> int:
        return int(process(self.directory, rank)["pid"])

    def signal(self, *ranks: int, number: int) -> float:
        """Send a signal to ranks; returns the time before."""
        now_s = time.time()
        for rank in ranks:
            os.kill(self.pid(rank), number)
        return now_s

    def stored(self) -> StoredRun:
        return stored_run(self.directory / "mlflow.db")

    def ended_run(self) -> StoredRun:
        """What is left of it when all its processes have ended."""
        for child in self.children:
            child.wait(60)
        wait_until(lambda: ended_clean(self.directory), 60, "the relay's end")
        return self.stored()


def launched_by(launcher: str):
    """Who starts the second rank: Lightning in rank 0, or somebody outside."""
    return pytest.mark.parametrize("training", [launcher], indirect=True)


@pytest.fixture
def training(request: pytest.FixtureRequest, tmp_path: Path, database: Path, start: Callable) -> Iterator[Training]:
    """A training of which both ranks have logged for a second."""
    environments = [{}] if request.param == "ddp" else ranks_of_a_node(2)
    with (tmp_path / "output").open("w") as log:
        children = [start("training.py", "ddp", STEPS, PAUSE_S, output=log, **one) for one in environments]
    training = Training(tmp_path, children)
    wait_until(lambda: all(training.steps(rank) > ROWS for rank in range(2)), 90, "the training's start")
    yield training
    for rank in range(2):
        try:
            training.signal(rank, number=signal.SIGKILL)
        except ProcessLookupError:
            continue
    for child in children:
        child.wait()


def check_has_what_was_exported(training: Training, run: StoredRun, ended_s: float) -> None:
    """What both ranks logged two intervals before; the evaluation's rows and those of epochs too."""
    stored = Counter((name, step, value) for name, step, value, _ in run.points)
    assert set(Counter((name, step) for name, step, _, _ in run.points if name == "mean_step").values()) == {1}
    values: dict[tuple[str, int], list[float]] = {}
    young = set()
    for rank in range(2):
        for name, step, value, moment_s in witnessed(training.directory, rank):
            if name in ("mean_step", "sum_step", "mean/sync_step", "only1"):
                values.setdefault((name, step), []).append(value)
                if moment_s >= ended_s - 2 * INTERVAL_S:
                    young.add((name, step))
    # One that is young in a rank is not asked for: the ranks do not log a step at the same moment.
    old = values.keys() - young
    assert len(old) > 10
    missing = {(name, step) for name, step in old if (name, step, combined(name, values[name, step])) not in stored}
    assert missing == set()


@launched_by("ddp")
def test_rank_1_is_killed(training):
    ended_s = training.signal(1, number=signal.SIGKILL)
    run = training.ended_run()
    # Lightning kills the other rank, which may have seen before that it is alone, and have said so.
    killed = [child.returncode for child in training.children] == [-signal.SIGKILL]
    assert run.status in ({"KILLED", "FAILED"} if killed else {"FAILED"})
    check_has_what_was_exported(training, run, ended_s)


@launched_by("ddp")
def test_rank_1_crashes(training):
    training.signal(1, number=signal.SIGSEGV)
    run = training.ended_run()
    assert run.status == "FAILED"
    # The other rank may have seen that it is alone, and have said so, before Lightning kills it.
    message, _, more = run.tags["tracelet.exception.message"].partition(", and the run has failed with ")
    assert message == "rank 1: killed by SIGSEGV (segmentation fault)"
    # Any of its threads may have got the signal.
    assert run.tags["mlflow.tracelet.exception.stacktrace"].startswith("Fatal Python error: Segmentation fault\n\n")
    assert not more or more in (run.note or "")


@launched_by("torchrun")
def test_rank_0_is_killed(training):
    ended_s = training.signal(0, number=signal.SIGKILL)
    run = training.ended_run()
    # The other rank fails in the next collective, and says so.
    assert run.status == "FAILED"
    how = "killed by SIGKILL" if keeps_exit_status() else GONE
    assert run.tags["tracelet.exception.message"] == f"{how}, after rank 1 had failed"
    check_has_what_was_exported(training, run, ended_s)


@launched_by("ddp")
def test_ctrl_c(training):
    ended_s = training.signal(0, 1, number=signal.SIGINT)
    run = training.ended_run()
    assert run.status == "KILLED"
    check_has_what_was_exported(training, run, ended_s)


@launched_by("torchrun")
def test_the_relay_is_killed(tmp_path, training):
    (relay,) = relays(tmp_path)
    relay.kill()
    seen = training.steps(0)
    wait_until(lambda: relays(tmp_path) != [], 60, "the next relay")
    more = seen + ROWS
    wait_until(lambda: max(step for _, step, *_ in training.stored().points) > more, 60, "rows by the next relay")
    ended_s = training.signal(0, 1, number=signal.SIGINT)
    run = training.ended_run()
    assert run.status == "KILLED"
    check_has_what_was_exported(training, run, ended_s)
