"""A tracker that is down, hangs or answers with errors costs a training nothing, and no value."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import wandb
from click.testing import CliRunner

import tracelet_otel as tracelet
from tests.support.clearml_server import ClearmlServer
from tests.support.door import ILLS, Door
from tests.support.mlflow_store import stored_runs
from tests.support.relays import relays
from tests.support.waiting import wait_until
from tests.support.wandb_server import WandbServer
from tracelet_otel.cli import main
from tracelet_otel.errors import TrackerError

ROWS = 2000
"""More than MLflow takes in one request."""
START_S = 2.0
STOP_S = 1.5
SLACK_S = 3.0
"""For a busy machine; without the limit each of these would take minutes."""


@dataclass
class Ill:
    """A tracker that can fall ill, and what it has."""

    backend: str
    server: Any
    uri: str
    finished: Any
    """The status of a run that finished."""
    database: Any = None

    def start(self, name, **config):
        return tracelet.start_logging(
            name,
            "ill trackers",
            self.backend,
            backend_url=self.uri,
            config={
                "export_interval": 0.1,
                "start_timeout": 30,
                "stop_timeout": STOP_S,
                "relay_patience": 0.5,
                **config,
            },
        )

    def recover(self):
        self.server.ill = None
        self.server.well_again.set()

    def stored(self, run_id):
        """Status, learning rate, and points (step, value) of the metric `loss`."""
        if self.backend == "mlflow":
            (run,) = [one for one in stored_runs(self.database) if one.tags.get("tracelet.run.id") == run_id]
            return run.status, run.params.get("lr"), [(step, value) for _, step, value, _ in run.points]
        if self.backend == "wandb":
            run = self.server.runs[run_id]
            rows = [(row["trainer/global_step"], row["loss"]) for row in run.history]
            return run.exit_code, str(run.config.get("lr")), rows
        (task,) = [one for one in self.server.tasks.values() if one.properties["tracelet.run.id"] == run_id]
        return task.status, task.params.get("lr"), [(step, value) for (*_, step), (value, _) in task.points.items()]


@pytest.fixture
def tracker(request, monkeypatch):
    backend = getattr(request, "param", "mlflow")
    if backend == "mlflow":
        mlflow_server = request.getfixturevalue("mlflow_server")
        server: Any = Door(mlflow_server.uri)
        made = Ill(backend, server, server.uri, "FINISHED", mlflow_server.database)
    elif backend == "wandb":
        server = WandbServer()
        monkeypatch.setenv("WANDB_API_KEY", server.api_key)
        # Replay has its client in this process here, which remembers what the environment said first.
        wandb.teardown()
        made = Ill(backend, server, server.uri, 0)
    else:
        server = ClearmlServer()
        monkeypatch.setenv("CLEARML_API_ACCESS_KEY", server.access_key)
        monkeypatch.setenv("CLEARML_API_SECRET_KEY", server.secret_key)
        made = Ill(backend, server, server.uri, "completed")
    yield made
    made.recover()
    server.stop()
    if backend == "wandb":
        wandb.teardown()


# Where there is little time: one that answers at once and one that does not, and one for each other tracker's client.
QUICK = {("mlflow", "hangs"), ("mlflow", "500"), ("wandb", "500"), ("clearml", "500")}
ALL = [
    pytest.param(backend, ill, marks=() if (backend, ill) in QUICK else pytest.mark.slow)
    for backend in ("mlflow", "wandb", "clearml")
    for ill in [*ILLS, *(() if backend == "mlflow" else ("401",))]
]


@pytest.mark.parametrize(("tracker", "ill"), ALL, indirect=["tracker"])
def test_from_the_start_it_is_named_within_the_limit(tracker, tmp_path, ill):
    tracker.server.ill = ill
    began = time.monotonic()
    who = {"mlflow": "MLflow at http", "wandb": "W&B", "clearml": "ClearML at http"}[tracker.backend]
    with pytest.raises(TrackerError, match=rf"{who}|no answer from {tracker.backend} within {START_S:g} s"):
        tracker.start("never", start_timeout=START_S)
    assert time.monotonic() - began < START_S + SLACK_S
    assert tracelet.get_active_run() is None
    assert not list((tmp_path / "journals").glob("*.journal")), "a run that never began left a journal"


@pytest.mark.parametrize(("tracker", "ill"), ALL, indirect=["tracker"])
def test_in_mid_run_nothing_is_lost(tracker, tmp_path, ill, caplog):
    run = tracker.start(f"ill: {ill}")
    for step in range(50):
        run.log_metric("loss", step / 3, step)
    tracker.server.ill = ill
    for step in range(50, ROWS):
        run.log_metric("loss", step / 3, step)
    run.log_params({"lr": 0.5})
    began = time.monotonic()
    run.stop("finished")
    assert time.monotonic() - began < STOP_S + SLACK_S
    journal = tmp_path / "journals" / f"{run.id}.journal"
    assert "not delivered yet" in caplog.text
    assert str(journal) in caplog.text
    wait_until(
        lambda: not relays(tmp_path), 120, "the relay's end"
    )  # it goes on for its patience, and leaves the journal
    assert journal.exists()

    tracker.recover()
    replayed = CliRunner().invoke(main, ["replay", str(journal)])
    assert replayed.exit_code == 0, replayed.output
    assert f"{ROWS} readings delivered, 0 refused, 0 left" in replayed.output
    assert not journal.exists()
    status, rate, points = tracker.stored(run.id)
    assert (status, rate) == (tracker.finished, "0.5")
    assert Counter(points) == Counter({(step, step / 3): 1 for step in range(ROWS)})


@pytest.mark.parametrize(
    "tracker", ["mlflow", *(pytest.param(one, marks=pytest.mark.slow) for one in ("wandb", "clearml"))], indirect=True
)
def test_a_tracker_that_comes_back_gets_everything(tracker):
    run = tracker.start("back again", stop_timeout=60, relay_patience=60)
    tracker.server.ill = "500"
    for step in range(100):
        run.log_metric("loss", step / 3, step)
    threading.Timer(1, tracker.recover).start()
    run.stop()
    assert run.accounts[tracker.backend].delivered == 100
    status, _, points = tracker.stored(run.id)
    assert status == tracker.finished
    assert Counter(points) == Counter({(step, step / 3): 1 for step in range(100)})


def test_a_problem_in_mid_run_is_in_the_log_of_the_training(tracker, caplog):
    with tracker.start("said", stop_timeout=60, relay_patience=60) as run:
        tracker.server.ill = "500"
        run.log_metric("loss", 1.0, 0)
        wait_until(lambda: "relay: mlflow does not answer" in caplog.text, 60, "the word of it")
        tracker.server.ill = None
    assert caplog.text.count("relay: mlflow does not answer") == 1
    assert run.accounts["mlflow"].delivered == 1


def test_what_cannot_be_replayed_is_named(tmp_path):
    (tmp_path / "other.journal").write_text("something else, and long enough to be read as a header" * 20)
    for path, message in (("nowhere", "there is no journal at nowhere"), ("other.journal", "not a database")):
        result = CliRunner().invoke(main, ["replay", path])
        assert result.exit_code == 1
        assert message in result.output
