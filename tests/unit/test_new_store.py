"""Who makes MLflow's database: the lock, and a database of somebody else's that is not ready yet."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tracelet_otel.exporters.mlflow.address import database_file
from tracelet_otel.exporters.mlflow.new_store import make_store, process_lock


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where locks are, and nothing else."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sqlite:////data/mlflow.db", "/data/mlflow.db"),
        ("sqlite:////data/sub/../mlflow.db?timeout=20", "/data/mlflow.db"),
        ("sqlite+pysqlite:////data/mlflow.db", "/data/mlflow.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:some?mode=memory&uri=true", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://host/mlflow", None),
    ],
)
def test_the_file_of_an_address(uri, name):
    assert database_file(uri) == (None if name is None else Path(name))


def test_two_names_of_one_database_are_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert database_file(f"sqlite:///{tmp_path}/link/mlflow.db") == database_file(f"sqlite:///{tmp_path}/mlflow.db")


def test_one_holds_the_lock_at_a_time_and_none_is_left(tmp_path, locks):
    """Locks of two descriptors exclude each other also within a process. Each is removed while others wait for it."""
    holders, most, names = 0, 0, []

    def open_it_often() -> None:
        nonlocal holders, most
        for _ in range(40):
            with process_lock(f"sqlite:///{tmp_path}/mlflow.db"):
                holders += 1
                most = max(most, holders)
                names.extend(path.name for path in locks.iterdir())
                time.sleep(0)  # another thread may run
                holders -= 1

    threads = [threading.Thread(target=open_it_often) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(set(names)) == 1
    assert list(locks.iterdir()) == []


def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(tmp_path, locks):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    reading, writing = os.pipe()
    with process_lock(uri):
        # Another one waits for the file that the child has open as well.
        waiting = threading.Thread(target=lambda: process_lock(uri).__enter__(), daemon=True)
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        waiting.start()
    try:
        waiting.join(20)
        assert not waiting.is_alive()
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_a_database_that_somebody_else_is_making_is_waited_for(tmp_path):
    path = tmp_path / "mlflow.db"
    done: list[float] = []
    with closing(sqlite3.connect(path)) as maker:
        maker.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        waiting = threading.Thread(target=lambda: (make_store(f"sqlite:///{path}"), done.append(time.monotonic())))
        waiting.start()
        for number in range(10):
            # Each of these is a change, as a migration is one.
            maker.execute(f"CREATE TABLE made_{number} (a INTEGER)")
            maker.commit()
            time.sleep(0.05)
        assert not done
        before_s = time.monotonic()
        maker.execute("INSERT INTO experiments VALUES (0)")
        maker.commit()
        wait_until(lambda: done, 20, "the end of waiting")
    waiting.join()
    assert done[0] >= before_s


def test_what_nobody_is_making_is_left_to_mlflow(tmp_path, monkeypatch):
    """An empty file, as one that was killed leaves it."""
    monkeypatch.setattr("tracelet_otel.exporters.mlflow.new_store._QUIET_S", 0.2)
    path = tmp_path / "mlflow.db"
    path.touch()
    make_store(f"sqlite:///{path}")
    assert path.stat().st_size == 0


def test_where_nothing_can_be_written_nothing_is_raised(tmp_path):
    (tmp_path / "file").touch()
    make_store(f"sqlite:///{tmp_path}/file/mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
