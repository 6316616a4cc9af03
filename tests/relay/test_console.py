"""What a run prints is in its trackers, with the last lines of one that has failed: real processes, read back."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.clearml_stored import session_files
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import stored_runs
from tests.support.relays import ended_clean
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files
from tests.support.wandb_stored import files_of_offline_run
from tracelet_otel import semconv

LINES = [*(f"line {number}" for number in range(300)), "the token is ***", "step 99", "WARNING:root:careful"]


@pytest.fixture
def ends(run: Any, tmp_path: Path) -> Any:
    """Runs the script to its end, and the end of its relay; returns the child."""

    def ends(how: str, backends: str, **environment: str) -> Any:
        environment = {"TRACELET_CONSOLE": "true", "MY_TOKEN": "supersecret", **environment}
        child = run("prints_and_ends.py", how, backends, **environment)
        wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
        return child

    return ends


def stored(database: Path) -> Any:
    (run,) = stored_runs(database)
    return mlflow_files(f"sqlite:///{database}", database, run.tags[semconv.RUN_ID])


def by_stream(lines: list[str]) -> list[list[str]]:
    """Lines of two pipes, whose order nobody knows."""
    return [[one for one in lines if one.startswith("line ") is which] for which in (True, False)]


def test_each_tracker_has_what_was_printed(ends, database, tmp_path):
    child = ends("ends", "mlflow,wandb,clearml")
    assert child.returncode == 0, child.stderr
    assert child.stdout == "".join(f"line {number}\n" for number in range(300))
    assert "the token is supersecret\n" in child.stderr
    found = stored(database)
    assert by_stream(found.console[0]) == by_stream(LINES)
    assert found.files == {}
    (session,) = (tmp_path / "clearml" / "offline").glob("*.zip")
    paths = {path.resolve() for path in offline_files(tmp_path / "wandb")}
    for one in (session_files(session), files_of_offline_run(sorted(paths))):
        assert by_stream(one.console[0]) == by_stream(LINES)
        assert one.files == {}


@pytest.mark.parametrize(("how", "code"), [("fails", 1), ("killed", -signal.SIGKILL)])
def test_the_last_lines_are_with_the_reason_of_a_failure(ends, database, how, code):
    child = ends(how, "mlflow")
    assert child.returncode == code
    found = stored(database)
    console, tail = found.console[0], found.files.pop("console-tail.txt").decode().splitlines()
    assert tail == console[-200:]
    assert by_stream(console)[0] == by_stream(LINES)[0]
    rest = by_stream(console)[1]
    assert rest[:3] == by_stream(LINES)[1]
    if how == "fails":
        assert rest[3] == "Traceback (most recent call last):"
        assert rest[-1] == "ValueError: a bug"
        assert "ValueError: a bug" in found.files.pop("exception.txt").decode()
    assert found.files == {}


def test_nothing_is_recorded_by_default(ends, database):
    child = ends("fails", "mlflow", TRACELET_CONSOLE="off")
    assert child.returncode == 1
    found = stored(database)
    assert found.console == {}
    assert list(found.files) == ["exception.txt"]
