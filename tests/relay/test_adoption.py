"""What a training and its relay left, because both were killed, is delivered by the next start."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import StoredRun, multiset, stored_runs
from tests.support.relays import relays
from tests.support.waiting import wait_until
from tracelet_otel._support.processes import started

ROWS = 200


@pytest.fixture
def left(tmp_path: Path, database: Path, run: Callable) -> Path:
    """A journal whose training and relay are gone."""
    child = run("leaves_rows.py", ROWS)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert stored(database).points == []
    (journal,) = (tmp_path / "journals").glob("*.journal")
    return journal


def stored(database: Path) -> StoredRun:
    (found,) = [run for run in stored_runs(database) if run.name == "left"]
    return found


def change_owner(journal: Path, **owner) -> None:
    with closing(sqlite3.connect(journal)) as connection, connection:
        (before,) = connection.execute("SELECT value FROM state WHERE key = 'owner'").fetchone()
        after = json.dumps({**json.loads(before), **owner})
        connection.execute("UPDATE state SET value = ? WHERE key = 'owner'", (after,))


def start_and_stop(name: str) -> None:
    tracelet.start_logging(name).stop()
    wait_until(lambda: not relays(Path.cwd()), 60, "the relay's end")


def test_the_next_start_delivers_and_closes_it(left, database):
    start_and_stop("next")
    assert stored(database).multiset == multiset(("loss", step, step / 3) for step in range(ROWS))
    assert stored(database).status == "KILLED"
    assert not left.exists()
    assert not left.with_suffix(".log").exists()


def test_what_belongs_to_a_process_that_lives_is_left_alone(left, database):
    change_owner(left, pid=os.getpid(), started=started(os.getpid()))
    start_and_stop("next")
    assert left.exists()
    assert stored(database).status == "RUNNING"


def test_what_belongs_to_another_machine_is_left_alone_until_it_is_old(left, database):
    change_owner(left, host="another")
    start_and_stop("next")
    assert left.exists()
    assert stored(database).status == "RUNNING"
    old_s = time.time() - 600
    os.utime(left, (old_s, old_s))
    start_and_stop("after that")
    assert not left.exists()
    assert stored(database).status == "KILLED"


def test_what_is_no_journal_does_not_matter(left, database):
    left.with_name("broken.journal").write_bytes(b"no database" * 1000)
    # Beginnings of a database: opened, and then not readable.
    torn = left.with_name("another.journal")
    with closing(sqlite3.connect(torn)) as connection, connection:
        connection.execute("CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO state VALUES ('settings', 'no JSON')")
    older = left.with_name("older.journal")
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO state VALUES ('settings', '{}'), ('owner', '{}')")
    start_and_stop("next")
    assert stored(database).status == "KILLED"
    assert {path.name for path in left.parent.glob("*.journal")} == {
        "broken.journal",
        "another.journal",
        "older.journal",
    }
