"""What a training and its relay left, because both were killed, is delivered by the next start."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import multiset, stored_runs
from tests.support.waiting import wait_until
from tracelet_otel.relay.owner import started

LEAVES = """
import os, signal, sys, time
import tracelet_otel
run = tracelet_otel.start_logging("left", config={"export_interval": 0.1})
for step in range(200):
    run.log_metric("loss", step / 3, step)
for reader in run._readers:
    reader.collect()
assert run._destination._exporter.force_flush(20_000)
os.kill(run._destination._connection.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def left(tmp_path, database) -> Path:
    """A journal whose training and relay are gone."""
    child = subprocess.run([sys.executable, "-c", LEAVES], cwd=tmp_path, timeout=240, check=False)
    assert child.returncode == -signal.SIGKILL
    (journal,) = (tmp_path / "journals").glob("*.journal")
    return journal


def stored(database):
    (found,) = [run for run in stored_runs(database) if run.name == "left"]
    return found


def change_owner(journal: Path, **owner) -> None:
    with closing(sqlite3.connect(journal)) as connection, connection:
        (before,) = connection.execute("SELECT value FROM state WHERE key = 'owner'").fetchone()
        after = json.dumps({**json.loads(before), **owner})
        connection.execute("UPDATE state SET value = ? WHERE key = 'owner'", (after,))


def start_and_stop(name: str) -> None:
    run = tracelet.start_logging(name)
    relay = psutil.Process(run._destination._connection.pid)
    run.stop()
    wait_until(lambda: not relay.is_running() or relay.status() == psutil.STATUS_ZOMBIE, 60, "the relay's end")


def test_the_next_start_delivers_and_closes_it(left, database):
    start_and_stop("next")
    assert stored(database).multiset == multiset(("loss", step, step / 3) for step in range(200))
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
