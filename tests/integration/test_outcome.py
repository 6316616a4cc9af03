"""How a training really ended, as real child processes with real signals.

How an exception becomes an outcome, and an outcome a tracker's status, is tested for all of them in `tests/unit` and
`tests/contract`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until

ENDS = [
    ("normal", 0, "FINISHED"),
    ("should_stop", 0, "FINISHED"),
    ("exception", 1, "FAILED"),
    ("bad argument", 1, "FAILED"),
    ("caught", 0, "FAILED"),
    ("caught, then good", 0, "FINISHED"),
    ("SIGINT", 1, "KILLED"),
    ("SIGTERM", 0, "KILLED"),
]


def ends(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("how", "code", "status"), [end for end in ENDS if not names or end[0] in names])


@ends()
def test_the_status_says_how_the_training_ended_and_all_rows_before_are_there(start, database, how, code, status):
    check(start, database, how, code, status)


@pytest.mark.slow
@ends("normal", "exception", "caught", "SIGINT")
def test_the_status_is_the_same_where_the_script_stops_the_run(start, database, how, code, status):
    check(start, database, how, code, status, STOP="yes")


@pytest.mark.slow
@IN_PROCESS
@ends("normal", "exception", "SIGINT")
def test_the_status_is_the_same_without_a_relay(start, database, how, code, status):
    check(start, database, how, code, status)


@pytest.mark.slow
@pytest.mark.cold
@ends("exception", "SIGTERM")
def test_the_status_is_the_same_in_an_interpreter_of_its_own(start, database, how, code, status):
    check(start, database, how, code, status)


def check(start: Callable, database: Path, how: str, code: int, status: str, **environment: str) -> None:
    with Path("log").open("wb") as log:
        child = start("training_that_ends.py", how, output=log, **environment)
    if how.startswith("SIG"):
        wait_until(lambda: Path("ready").exists() or child.poll() is not None, 60, "the fifth batch")
        child.send_signal(getattr(signal, how))
    assert child.wait(60) == code, Path("log").read_text()
    stored = stored_run(database)
    assert stored.status == status
    if how == "bad argument":
        return
    logged = {step for name, step, *_ in stored.points if name == "train/step_only"}
    seen = [int(line) for line in Path("rows").read_text().split()]
    # Lightning hands out the row of a batch after the hook in which these trainings end.
    before_the_end = set(seen[:-1] if how in {"exception", "caught", "SIGINT"} else seen)
    assert before_the_end
    assert (logged & before_the_end if how == "caught, then good" else logged) == before_the_end
