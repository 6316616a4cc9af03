"""Many processes that start their runs in the same moment, in a place where nothing is yet."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.clearml_files import session
from tests.support.mlflow_store import multiset, stored_runs
from tests.support.waiting import wait_until
from tests.support.wandb_files import history, offline_files

WORKERS = 16


@pytest.fixture
def run_workers(tmp_path: Path, start: Callable) -> Callable[..., list[str]]:
    """Runs the workers, and returns the ids of their runs."""

    def run_workers(**environment: str) -> list[str]:
        gate = tmp_path / "gate"
        gate.mkdir()
        told = {"TRACELET_PROJECT": "of all", "TRACELET_TRACK_GIT": "false", **environment}
        children = [start("one_of_many.py", number, gate, **told) for number in range(WORKERS)]
        wait_until(lambda: len(list(gate.glob("ready-*"))) == WORKERS, 120, "the start of all workers")
        (gate / "go").touch()
        ended = [(child.communicate(timeout=280), child.wait()) for child in children]
        assert [(code, errors) for (_, errors), code in ended if code] == []
        return [output.split()[-1] for (output, _), _ in ended]

    return run_workers


def values(number: int) -> list[tuple[str, int, float]]:
    return [("value", step, number + step / 100) for step in range(20)]


@pytest.mark.parametrize(
    ("relay", "place"), [("true", "mlflow.db"), pytest.param("false", "made/for/all.db", marks=pytest.mark.slow)]
)
def test_a_new_store(tmp_path, run_workers, relay, place):
    """By default, and in a directory that is not there either; with relays, and in the workers themselves."""
    uri = {} if place == "mlflow.db" else {"MLFLOW_TRACKING_URI": f"sqlite:///{place}"}
    run_workers(TRACELET_RELAY=relay, **uri)
    runs = {run.name: run for run in stored_runs(tmp_path / place)}
    assert len(runs) == WORKERS
    for number in range(WORKERS):
        run = runs[f"worker {number}"]
        assert (run.status, run.experiment, run.multiset) == ("FINISHED", "of all", multiset(values(number)))
    with closing(sqlite3.connect(tmp_path / place)) as connection:
        assert connection.execute("SELECT name FROM experiments ORDER BY name").fetchall() == [
            ("Default",),
            ("of all",),
        ]
    # Nothing of how it came to be is left beside it.
    assert [path.name for path in (tmp_path / place).parent.glob("*.db*")] == [Path(place).name]


@pytest.mark.slow
def test_new_folders_of_the_offline_trackers(tmp_path, run_workers):
    ids = run_workers(TRACELET_BACKEND="wandb,clearml")
    for number, run_id in enumerate(ids):
        (path,) = [one for one in offline_files(tmp_path / "wandb", run_id) if not one.parent.is_symlink()]
        rows = [(row["trainer/global_step"], row["value"]) for row in history(path.parent) if "value" in row]
        assert rows == [(step, value) for _, step, value in values(number)]
        task = session(tmp_path / "clearml" / "offline" / f"offline-{run_id}.zip")
        stored = [(step, value) for (*_, step), (value, _) in sorted(task.points.items())]
        assert stored == rows


def test_nobody_meets_a_store_that_is_half_made(tmp_path):
    """Who looks while it is made finds nothing, or all of it."""
    from tracelet_otel.exporters.mlflow.new_store import make_store

    path = tmp_path / "mlflow.db"
    made = threading.Thread(target=make_store, args=(f"sqlite:///{path}",))
    made.start()
    looked = 0
    while made.is_alive() and not path.exists():
        looked += 1
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (name,) = connection.execute("SELECT name FROM experiments").fetchone()
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    made.join()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == tables
    assert (name, looked > 100) == ("Default", True)
    assert [one.name for one in tmp_path.glob("mlflow*")] == ["mlflow.db"]
