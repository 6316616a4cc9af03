"""A tracker that is down, hangs or answers with errors costs a training nothing, and no value."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from click.testing import CliRunner

import tracelet_otel as tracelet
from tests.conftest import wait_until
from tests.door import ILLS, Door
from tests.mlflow_store import stored_runs
from tracelet_otel.cli import main
from tracelet_otel.errors import TrackerError

LIMIT_S = 4.0
SLACK_S = 3.0
"""For a busy machine; without the limit each of these would take minutes."""


@pytest.fixture
def door(mlflow_server):
    door = Door(mlflow_server.uri)
    yield door
    door.ill = None
    door.well_again.set()
    door.shutdown()
    door.server_close()


def start(door, name, **config):
    return tracelet.start_logging(
        name,
        "ill trackers",
        backend_url=door.uri,
        config={"export_interval": 0.1, "start_timeout": 30, "stop_timeout": LIMIT_S, "relay_patience": 1, **config},
    )


@pytest.mark.parametrize("ill", ILLS)
def test_from_the_start_it_is_named_within_the_limit(door, tmp_path, ill):
    door.ill = ill
    began = time.monotonic()
    with pytest.raises(TrackerError, match=r"MLflow at http|no answer from mlflow within 5 s"):
        start(door, "never", start_timeout=5)
    assert time.monotonic() - began < 5 + SLACK_S
    assert tracelet.get_active_run() is None
    assert not list((tmp_path / "journals").glob("*.journal")), "a run that never began left a journal"


@pytest.mark.parametrize("ill", ILLS)
def test_in_mid_run_nothing_is_lost(door, mlflow_server, tmp_path, ill, caplog):
    run = start(door, f"ill: {ill}")
    for step in range(50):
        run.log_metric("loss", step / 3, step)
    door.ill = ill
    for step in range(50, 5000):
        run.log_metric("loss", step / 3, step)
    run.log_params({"lr": 0.5})
    began = time.monotonic()
    run.stop("finished")
    assert time.monotonic() - began < LIMIT_S + SLACK_S
    journal = tmp_path / "journals" / f"{run.id}.journal"
    assert "not delivered yet" in caplog.text
    assert str(journal) in caplog.text
    run._destination._connection._process.wait(120)  # it goes on for its patience, then leaves the journal
    assert journal.exists()

    door.ill = None
    door.well_again.set()
    replayed = CliRunner().invoke(main, ["replay", str(journal)])
    assert replayed.exit_code == 0, replayed.output
    assert "5000 readings delivered, 0 refused, 0 left" in replayed.output
    assert not journal.exists()
    (stored,) = [one for one in stored_runs(mlflow_server.database) if one.tags["tracelet.run.id"] == run.id]
    assert stored.status == "FINISHED"
    assert stored.params["lr"] == "0.5"
    assert stored.multiset == Counter({("loss", step, step / 3): 1 for step in range(5000)})


def test_a_tracker_that_comes_back_gets_everything(door, mlflow_server):
    run = start(door, "back again", stop_timeout=60, relay_patience=60)
    door.ill = "500"
    for step in range(100):
        run.log_metric("loss", step / 3, step)
    threading.Timer(3, setattr, (door, "ill", None)).start()
    run.stop()
    assert run.accounts["mlflow"].delivered == 100
    (stored,) = [one for one in stored_runs(mlflow_server.database) if one.tags["tracelet.run.id"] == run.id]
    assert stored.status == "FINISHED"
    assert len(stored.points) == 100


def test_a_problem_in_mid_run_is_in_the_log_of_the_training(door, caplog):
    with start(door, "said", stop_timeout=60, relay_patience=60) as run:
        door.ill = "500"
        run.log_metric("loss", 1.0, 0)
        wait_until(lambda: "relay: mlflow does not answer" in caplog.text, 60, "the word of it")
        door.ill = None
    assert caplog.text.count("relay: mlflow does not answer") == 1
    assert run.accounts["mlflow"].delivered == 1


def test_what_cannot_be_replayed_is_named(tmp_path):
    (tmp_path / "other.journal").write_text("something else, and long enough to be read as a header" * 20)
    for path, message in (("nowhere", "there is no journal at nowhere"), ("other.journal", "not a database")):
        result = CliRunner().invoke(main, ["replay", path])
        assert result.exit_code == 1
        assert message in result.output
