"""One run in three trackers: each has all of it exactly once, whatever dies and whichever of them is ill."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections import Counter

import pytest

import tracelet_otel as tracelet
from tests.relay.trainings import INTERVAL_S, Start, begin, read_some, skip_to
from tests.support.clearml_files import session
from tests.support.clearml_server import ClearmlServer
from tests.support.mlflow_store import stored_run
from tests.support.relays import ended_clean, relays
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run
from tests.support.wandb_server import WandbServer

BACKENDS = ["mlflow", "wandb", "clearml"]

Points = Counter[tuple[str, int, float]]


class Offline:
    """What is on this machine."""

    def __init__(self, tmp_path):
        self.home = tmp_path

    def wandb(self) -> tuple[Points, object]:
        paths = [path for path in offline_files(self.home / "wandb") if not path.parent.is_symlink()]
        runs = [offline_run(path) for path in paths]
        assert len({run.run_id for run in runs}) == 1
        return _points(row for run in runs for row in run.rows), runs[-1].exit_code

    def clearml(self) -> tuple[Points, object]:
        (archive,) = (self.home / "clearml" / "offline").glob("*.zip")
        task = session(archive)
        return _clearml_points(task.points), [tag for tag in task.tags if tag.startswith("outcome: ")]

    def tags(self) -> list[list[str]]:
        """The words that W&B and ClearML have of the run."""
        path = [path for path in offline_files(self.home / "wandb") if not path.parent.is_symlink()][-1]
        (archive,) = (self.home / "clearml" / "offline").glob("*.zip")
        return [offline_run(path).tags, [tag for tag in session(archive).tags if not tag.startswith("outcome: ")]]


class Online(Offline):
    """What is on servers of their own."""

    def __init__(self, tmp_path, wandb: WandbServer, clearml: ClearmlServer):
        super().__init__(tmp_path)
        self.wandb_server, self.clearml_server = wandb, clearml

    def wandb(self):
        (run,) = self.wandb_server.runs.values()
        return _points(run.history), run.exit_code

    def clearml(self):
        (task,) = self.clearml_server.tasks.values()
        return _clearml_points(task.points), task.status

    def tags(self):
        (run,), (task,) = self.wandb_server.runs.values(), self.clearml_server.tasks.values()
        return [run.tags, task.tags]


def _points(rows) -> Points:
    return Counter(
        (name, int(row["trainer/global_step"]), float(value))
        for row in rows
        for name, value in row.items()
        if name != "trainer/global_step" and not name.startswith("_")
    )


def _clearml_points(points) -> Points:
    names = {("loss", "loss"): "loss", ("a_b", "c"): "a/b/c"}
    return Counter((names[title, series], step, value) for (title, series, step), (value, _) in points.items())


@pytest.fixture
def servers(monkeypatch):
    wandb, clearml = WandbServer(), ClearmlServer()
    yield wandb, clearml
    for server in (wandb, clearml):
        server.stop()


@pytest.fixture(params=["offline", pytest.param("online", marks=pytest.mark.slow)])
def places(request, tmp_path, monkeypatch, servers, database):
    if request.param == "offline":
        return Offline(tmp_path)
    return online(tmp_path, monkeypatch, servers)


def online(tmp_path, monkeypatch, servers) -> Online:
    wandb, clearml = servers
    monkeypatch.setenv("WANDB_BASE_URL", wandb.uri)
    monkeypatch.setenv("WANDB_API_KEY", wandb.api_key)
    monkeypatch.setenv("CLEARML_API_HOST", clearml.uri)
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", clearml.access_key)
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", clearml.secret_key)
    return Online(tmp_path, wandb, clearml)


def expected(rows: int) -> Points:
    return Counter(
        {(name, n, value): 1 for n in range(rows) for name, value in (("loss", 1 / (n + 1)), ("a/b/c", n / 3))}
    )


def mlflow_points(database) -> Points:
    return Counter((name, step, value) for name, step, value, _ in stored_run(database).points)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_killed_relay_is_started_again_and_each_tracker_has_all_rows_once(
    tmp_path, database, places, start: Start, seed
):
    rows = 600
    child = begin(start, rows, *BACKENDS)
    (relay,) = relays(tmp_path)
    skip_to(child, random.Random(seed).randrange(rows))
    relay.kill()
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    assert mlflow_points(database) == expected(rows)
    assert places.wandb() == (expected(rows), 0)
    points, status = places.clearml()
    assert points == expected(rows)
    assert status in ("completed", ["outcome: finished"])
    assert [sorted(words) for words in places.tags()] == [[f"hundreds:{(rows - 1) // 100}", "team:vision"]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_training_is_closed_in_each_tracker_with_all_its_rows(tmp_path, database, places, start: Start, seed):
    child = begin(start, 100_000, *BACKENDS)
    logged = read_some(child, random.Random(seed).randrange(300, 600))
    killed_s = time.time()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    old = [step for step, moment_s in logged.items() if moment_s < killed_s - 2 * INTERVAL_S]
    assert old
    assert stored_run(database).status == "KILLED"
    points = mlflow_points(database)
    assert points == expected(max(step for _, step, _ in points) + 1)
    assert set(old) <= {step for _, step, _ in points}
    assert places.wandb() == (points, 255)
    assert places.clearml()[0] == points
    assert places.clearml()[1] in ("stopped", ["outcome: unknown"], ["outcome: running"])


@pytest.mark.parametrize(
    "ill", ["wandb", *(pytest.param(one, marks=pytest.mark.slow) for one in ("clearml", "mlflow"))]
)
def test_one_that_is_ill_takes_nothing_from_the_others(tmp_path, database, servers, monkeypatch, ill, caplog):
    places = online(tmp_path, monkeypatch, servers)
    limits = {"export_interval": 0.1, "stop_timeout": 4.0, "relay_patience": 1.0}
    run = tracelet.start_logging("one is ill", backend=BACKENDS, config=limits)
    if ill == "mlflow":
        # SQLite has one writer: as long as somebody else writes, MLflow's client waits.
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        servers[("wandb", "clearml").index(ill)].ill = "500"
    for step in range(300):
        run.log_metric("loss", 1 / (step + 1), step)
        run.log_metric("a/b/c", step / 3, step)
    run.stop("finished")
    accounts = run.accounts
    well = {*BACKENDS} - {ill}
    assert {name: accounts[name].delivered for name in well} == dict.fromkeys(well, 600)
    assert {name: accounts[name].pending for name in well} == dict.fromkeys(well, 0)
    # W&B's client keeps what it cannot upload; that its run is not closed shows in the report.
    assert accounts[ill].pending == (0 if ill == "wandb" else 600)
    said = [one.getMessage() for one in caplog.records if "not delivered yet" in one.getMessage()]
    assert [one.partition(":")[0] for one in said] == [ill], "only the one that is ill is named"
    if ill == "mlflow":
        other.rollback()
        other.close()
    else:
        assert stored_run(database).status == "FINISHED"
        assert mlflow_points(database) == expected(300)
    if ill != "wandb":
        assert places.wandb() == (expected(300), 0)
    if ill != "clearml":
        assert places.clearml() == (expected(300), "completed")
    wait_until(lambda: not relays(tmp_path), 120, "the relay's end")
