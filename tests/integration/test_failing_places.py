"""Wherever a training fails, before its first value or after its last one, it is a run that says how and why."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support import failing
from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until

AT_ONCE = {
    "module: prepare_data",
    "module: configure_optimizers",
    "module: training_step",
    "module: teardown",
    "module without training_step",
    "worker of the dataloader",
    "after fit",
}
"""Places that stand for the others, which are tested before a change lands."""


def places(*, sudden: bool, at_once: set[str] = AT_ONCE, without: frozenset[str] = frozenset()) -> pytest.MarkDecorator:
    found = [name for name, one in failing.ENDINGS.items() if one.is_sudden == sudden and name not in without]
    return pytest.mark.parametrize(
        "place", [pytest.param(name, marks=() if name in at_once else pytest.mark.slow) for name in found]
    )


def check(place: str, database: Path) -> None:
    """The only run of a database is that of a training that failed at a place."""
    ending, run = failing.ENDINGS[place], stored_run(database)
    kind, message = (run.tags.get(f"tracelet.exception.{what}") for what in ("type", "message"))
    trace = run.tags.get("mlflow.tracelet.exception.stacktrace", "")
    assert run.status == ending.status
    assert [step for name, step, *_ in run.points if name == "loss"] == list(range(ending.steps))
    assert (kind and kind.rpartition(".")[2]) == ending.kind
    assert (message or "").startswith(ending.message)
    if place == "module: training_step":
        assert run.params["lightning/trainer/max_epochs"] == "1"
    if ending.kind == "PlannedError":
        assert "in fail\n" in trace, trace


@IN_PROCESS
@pytest.mark.filterwarnings("ignore")  # Lightning's, of loaders without workers and of what is missing
@places(sudden=False)
def test_a_training_in_a_with_block(database, monkeypatch, place):
    # What nobody catches in a thread is printed.
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with contextlib.suppress(BaseException), tracelet.start_logging():
        failing.train(place)
    check(place, database)


@places(sudden=True, at_once={"module: training_step, kill -9"})
def test_a_process_that_ends_suddenly(start, database, place):
    child = start("fails_somewhere.py", place)
    _, errors = child.communicate(timeout=240)
    assert child.wait() == failing.ENDINGS[place].code, errors
    wait_until(lambda: stored_run(database).status != "RUNNING", 60, "the end of the run")
    check(place, database)
