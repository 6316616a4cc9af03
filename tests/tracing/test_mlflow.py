"""The Traces tab of a run in MLflow."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run
from tests.support.quiet import quiet_trainer
from tests.support.relays import ended_clean, relays
from tests.support.sidecar import Relay
from tests.support.trainings import loader, regression
from tests.support.waiting import wait_until
from tracelet_otel import semconv

pl = importlib.import_module("lightning.pytorch")
pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("with_time")]


def traces_of(uri: str, project: str, **of_run: str) -> list[Any]:
    """The traces of the run of a project, as its tab shows them."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(project)
    (run,) = client.search_runs([experiment.experiment_id])
    return list(client.search_traces(locations=[experiment.experiment_id], run_id=run.info.run_id))


def shape(trace: Any) -> Any:
    """Names of the spans, each with those in it, in the order of time."""
    spans = sorted(trace.data.spans, key=lambda span: (span.start_time_ns, -span.end_time_ns))

    def of(parent_id: str | None) -> list[Any]:
        return [
            (span.name, of(span.span_id)) if of(span.span_id) else span.name
            for span in spans
            if span.parent_id == parent_id
        ]

    return of(None)


FIT = [("fit", ["setup", "validation", ("epoch", ["validation"]), "checkpoint.save"])]


def fit(tmp_path: Any, **config: Any) -> Any:
    with tracelet.start_logging("a run", config={"export_interval": 0.1, **config}) as run:
        trainer = quiet_trainer(pl, max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path)
        trainer.fit(regression(pl), loader(16), loader(8))
    return run


@pytest.mark.parametrize("relay", [True, False])
def test_a_database(tmp_path, database, relay):
    run = fit(tmp_path, relay=relay, project="of traces")
    assert run.errors == {}
    (trace,) = traces_of(f"sqlite:///{database}", "of traces")
    assert shape(trace) == FIT
    (saved,) = (span for span in trace.data.spans if span.name == "checkpoint.save")
    (file,) = tmp_path.rglob("*.ckpt")
    assert saved.attributes[semconv.FILE_NAME] == file.name
    assert saved.attributes[semconv.FILE_SIZE] == file.stat().st_size
    assert {span.attributes[semconv.RANK] for span in trace.data.spans} == {0}
    assert trace.info.state == "OK"
    assert list((tmp_path / "journals").glob("*.spans")) == []
    assert stored_run(database).status == "FINISHED"


def test_a_server(tmp_path, mlflow_server):
    run = fit(tmp_path, backend_url=mlflow_server.uri, project="of a server")
    assert run.errors == {}
    (trace,) = traces_of(mlflow_server.uri, "of a server")
    assert shape(trace) == FIT


@pytest.fixture
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, for those who write to it."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
        yield connection


@pytest.mark.parametrize("is_killed", [False, True], ids=["waits", "is killed"])
def test_a_tracker_that_is_away_has_them_later(tmp_path, database, locked, is_killed):
    """Also where the relay dies meanwhile: they are on the disk."""
    run = tracelet.start_logging("a run", "of the patient", config={"export_interval": 0.1})
    locked.execute("BEGIN IMMEDIATE")
    trainer = quiet_trainer(pl, max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(regression(pl), loader(16), loader(8))
    kept = tmp_path / "journals" / f"{run.id}.spans"
    wait_until(lambda: kept.exists() and b"fit" in kept.read_bytes(), 30, "the spans on the disk")
    if is_killed:
        (relay,) = relays(tmp_path)
        relay.kill()
        relay.wait(30)
    locked.execute("ROLLBACK")
    run.stop()
    assert "spans were not delivered" not in run.errors
    (trace,) = traces_of(f"sqlite:///{database}", "of the patient")
    assert shape(trace) == FIT
    wait_until(lambda: ended_clean(tmp_path), 30, "the end of the relay")


def test_a_killed_training(tmp_path, database, start):
    child = start("waits.py", TRACELET_PROJECT="of the killed")
    wait_until((tmp_path / "an epoch is done").exists, 60, "an epoch")
    uri = f"sqlite:///{database}"
    wait_until(lambda: [len(one.data.spans) for one in traces_of(uri, "of the killed")] == [5], 30, "what it has done")
    child.kill()
    child.communicate(timeout=30)
    wait_until(lambda: stored_run(database).status == "KILLED", 60, "the end of the run")
    (trace,) = traces_of(uri, "of the killed")
    names = ["checkpoint.save", "epoch", "setup", "validation", "validation"]
    assert sorted(span.name for span in trace.data.spans) == names
    # Its fit has not ended.
    assert trace.info.state == "IN_PROGRESS"


@pytest.mark.parametrize("strategy", ["ddp_fork", pytest.param("ddp", marks=pytest.mark.slow)])
def test_ranks_have_one_trace(tmp_path, database, run, strategy):
    child = run("train.py", 2, STRATEGY=strategy, TRACELET_PROJECT="of ranks")
    assert child.returncode == 0, child.stderr
    wait_until(lambda: ended_clean(tmp_path), 30, "the end of the relay")
    (trace,) = traces_of(f"sqlite:///{database}", "of ranks")
    one = ("fit", ["setup", ("epoch", ["validation"]), ("epoch", ["validation"])])
    assert shape(trace) == [one, one]
    assert sorted(span.attributes[semconv.RANK] for span in trace.data.spans if span.parent_id is None) == [0, 1]


def test_a_run_that_is_a_part_of_something_has_a_trace_of_its_own(tmp_path, database, monkeypatch):
    """Several may be in one trace of somebody else's, and a trace is in one experiment of MLflow's."""
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-00")
    run = fit(tmp_path, project="of a part")
    (trace,) = traces_of(f"sqlite:///{database}", "of a part")
    assert (shape(trace), trace.info.state) == (FIT, "OK")
    assert trace.info.trace_id == f"tr-{hashlib.sha256(run.id.encode()).hexdigest()[:32]}"


def test_a_relay_of_several_runs(tmp_path, database, warm_server):
    relay = Relay(database, tmp_path, warm_server=warm_server)
    relay.start()
    for number in range(2):
        assert fit(tmp_path / f"{number}", project=f"of run {number}", **relay.config()).errors == {}
    for number in range(2):
        (trace,) = traces_of(f"sqlite:///{database}", f"of run {number}")
        assert shape(trace) == FIT
    assert relay.end() == 0
    assert list((tmp_path / "journals").rglob("*.spans")) == []


def test_trackers_that_take_no_spans_get_none(tmp_path, caplog):
    with tracelet.start_logging("a run", backend="clearml", config={"export_interval": 0.1}) as run:
        quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(16), loader(8))
    assert run.errors == {}
    assert not [one for one in threading.enumerate() if "spans" in one.name]


def test_without_time_there_are_none(tmp_path, database):
    assert fit(tmp_path, track_time=False, project="of none").errors == {}
    assert traces_of(f"sqlite:///{database}", "of none") == []
