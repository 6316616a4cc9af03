"""A run whose training has died says why, as far as that can be known: real processes, read back from MLflow."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.kernel import keeps_exit_status
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until
from tracelet_otel._support.processes import started
from tracelet_otel.protocol.fault_files import fault_file
from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH
from tracelet_otel.relay.death import GONE

STACK = 'Fatal Python error: Bus error\n\nCurrent thread 0x1 (most recent call first):\n  File "model.py", line 7\n'


def told(run: StoredRun) -> tuple[str, str, str, str]:
    """Status, kind, message and note."""
    tags = run.tags
    kind, message = tags["tracelet.exception.type"], tags["tracelet.exception.message"]
    return run.status, kind, message, run.note or ""


@pytest.mark.parametrize(
    ("how", "code", "kind", "message"),
    [
        ("segfault", -signal.SIGSEGV, "SIGSEGV", "killed by SIGSEGV (segmentation fault)"),
        ("abort", -signal.SIGABRT, "SIGABRT", "killed by SIGABRT (aborted)"),
    ],
)
def test_a_crash_is_a_failure_with_the_stack_of_the_process(tmp_path, database, run, how, code, kind, message):
    child = run("dies.py", how)
    assert (child.returncode, child.stderr) == (code, "")
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    stored = stored_run(database)
    assert told(stored) == ("FAILED", kind, message, f"of mine\n\nfailed: {message}")
    stack = stored.tags["mlflow.tracelet.exception.stacktrace"]
    header, current, *_ = stack.split("\n\n")
    assert header.startswith("Fatal Python error: ")
    assert current.startswith("Current thread")
    assert 'dies.py", line' in current
    assert len(stack) <= MAX_VALUE_LENGTH


@pytest.mark.parametrize(
    ("how", "code", "kind", "message"),
    [
        ("SIGKILL", -signal.SIGKILL, "SIGKILL", "killed by SIGKILL"),
        ("SIGTERM", -signal.SIGTERM, "SIGTERM", "killed by SIGTERM"),
        ("exit", 3, "exit status", "the process has ended itself with exit status 3 and has reported nothing"),
    ],
)
def test_who_is_killed_or_leaves_without_a_word_keeps_its_status(tmp_path, database, run, how, code, kind, message):
    assert run("dies.py", how).returncode == code
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    stored = stored_run(database)
    found = told(stored)
    if not keeps_exit_status() and found[1] == "unknown":
        kind, message = "unknown", GONE
    assert found == ("KILLED", kind, message, f"of mine\n\n{message}")
    assert stored.tags["mlflow.tracelet.exception.stacktrace"] == ""


@pytest.mark.slow
def test_a_relay_that_is_started_again_knows_why_its_owner_died(tmp_path, database, run):
    child = run("dies.py", "segfault", RELAY="killed")
    assert child.returncode == -signal.SIGSEGV, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert told(stored_run(database))[:2] == ("FAILED", "SIGSEGV")


@pytest.mark.slow
def test_faulthandler_of_the_user_stays_as_it_is(tmp_path, database, run):
    child = run("dies.py", "segfault", FAULTHANDLER="user")
    assert child.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in child.stderr
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    stored = stored_run(database)
    assert stored.tags["mlflow.tracelet.exception.stacktrace"] == ""
    if keeps_exit_status():
        assert told(stored)[:2] == ("FAILED", "SIGSEGV")


@pytest.fixture
def left(tmp_path: Path, database: Path, run: Callable) -> Path:
    """A journal whose training and relay are gone."""
    child = run("leaves_rows.py", 1)
    assert child.returncode == -signal.SIGKILL, child.stderr
    (journal,) = (tmp_path / "journals").glob("*.journal")
    return journal


def adopted(journal: Path, database: Path, change: Callable[[dict], dict]) -> StoredRun:
    """The run that the next start has delivered from a journal, of which something is changed."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        (before,) = connection.execute("SELECT value FROM state WHERE key = 'owner'").fetchone()
        after = change(json.loads(before))
        connection.execute("UPDATE state SET value = ? WHERE key = 'owner'", (json.dumps(after),))
    tracelet.start_logging("next").stop()
    wait_until(lambda: not relays(Path.cwd()), 60, "the relay's end")
    assert not list(journal.parent.iterdir())
    (found,) = [run for run in stored_runs(database) if run.name == "left"]
    return found


def test_the_next_relay_says_that_nothing_is_known(left, database):
    assert told(adopted(left, database, dict)) == ("KILLED", "unknown", GONE, GONE)


def test_the_next_relay_reads_the_stack(left, database):
    def crash(owner: dict) -> dict:
        fault_file(left.parent, owner["pid"], owner["started"]).write_text(STACK)
        return owner

    run = adopted(left, database, crash)
    assert told(run)[:3] == ("FAILED", "SIGBUS", "killed by SIGBUS (bus error)")
    assert run.tags["mlflow.tracelet.exception.stacktrace"] == STACK.strip()


@pytest.mark.slow
def test_the_next_relay_says_that_a_process_was_killed_for_memory(tmp_path, left, database):
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\n")
    run = adopted(left, database, lambda owner: {**owner, "kills": {"path": str(events), "count": 1}})
    rise = f"oom_kill in {events} rose from 1 to 3"
    message = f"{GONE}; a process of this container was killed for memory ({rise})"
    assert told(run)[:3] == ("KILLED", "unknown", message)


@pytest.mark.slow
def test_the_next_relay_says_that_the_machine_was_restarted(left, database):
    ticks = started(os.getpid()).partition("/")[2]
    run = adopted(left, database, lambda owner: {**owner, "started": f"another/{ticks}"})
    message = "the machine was restarted before the process had reported its end"
    assert told(run)[:3] == ("KILLED", "restart", message)
