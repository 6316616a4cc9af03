"""What MLflow does in its own way."""

from __future__ import annotations

import math
import re
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.contract.conftest import make_backend
from tests.support.door import Door
from tests.support.fed import FedDelivery
from tests.support.mlflow_store import StoredRun, multiset, stored_runs
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError, RefusedError, RunLostError, TrackerUnavailableError
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.protocol.decode import Batch, Param
from tracelet_otel.protocol.failure import FAILURE_FILE, Failure
from tracelet_otel.settings import load
from tracelet_otel.testing import reading


@pytest.fixture(params=["MLflow on SQLite", pytest.param("MLflow server", marks=pytest.mark.slow)])
def backend(request, tmp_path, monkeypatch):
    return make_backend(request.param, request, tmp_path, monkeypatch)


def stored(backend, identity) -> StoredRun:
    (found,) = [run for run in stored_runs(backend.database) if run.tags.get(semconv.RUN_ID) == identity.run_id]
    return found


def test_a_process_that_is_forked_during_a_write_can_write(run, database):
    ended = run("forks_during_a_write.py", f"sqlite:///{database}", timeout=120)
    assert ended.returncode == 0, ended.stderr
    (child,) = stored_runs(database)
    assert (child.name, child.multiset) == ("child", multiset([("loss", 0, 1.0)]))


def test_a_replay_changes_nothing(backend, identity):
    readings = [reading("loss", 1.0), reading("loss", math.nan, 1), reading("acc@1", 2.0), reading("loss", math.inf, 2)]
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings(readings)
    once = stored(backend, identity)

    again = FedDelivery(tracker, Guard())
    again.put(Batch(identity.attributes, tuple(readings), (), None))
    account = again.close(30)
    assert (account.delivered, account.refused, account.pending) == (len(readings), 0, 0)
    assert stored(backend, identity).multiset == once.multiset


def test_who_and_where(backend, identity):
    place = backend.tracker().open(identity)
    run = stored(backend, identity)
    assert run.tags["mlflow.user"] == "ada"
    assert place.url.startswith(backend.uri)
    assert run.run_id in place.url or place.url.startswith("sqlite")
    command = f"`mlflow ui --backend-store-uri {backend.uri}`, then open http://127.0.0.1:5000/#/experiments/"
    expected = rf"{re.escape(command)}\d+/runs/{run.run_id}\?workflowType=machine_learning"
    assert re.fullmatch(expected if backend.uri.startswith("sqlite") else "", place.hint)


def test_a_server_that_is_ill_when_a_run_is_looked_up_has_it_all_the_same(mlflow_server, monkeypatch, identity):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    door = Door(mlflow_server.uri)

    def tracker(**more):
        return registry.tracker("mlflow", registry.absolute(load({"backend_url": door.uri}, more)))

    tracker().open(identity)
    again = tracker(run_id=identity.run_id)
    door.ill, door.ill_at = "503", "runs/get"
    with pytest.raises(TrackerUnavailableError, match="503"):
        again.open(identity)
    door.ill = None
    assert again.open(identity).url
    door.stop()


def test_a_hyperparameter_that_is_back_at_its_first_value(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    for text in "121":
        tracker.log_params({"lr": Param(text)})
    run = stored(backend, identity)
    assert (run.params["lr"], run.tags["tracelet.param.lr"]) == ("1", "1")


def test_nonfinite_values(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("a", math.nan), reading("a", math.inf, 3), reading("b@", -math.inf, 4)])
    run = stored(backend, identity)
    assert run.multiset == multiset([("a", 0, math.nan), ("a", 3, math.nan), ("b", 4, math.nan)])
    assert run.tags["tracelet.nonfinite.a"] == "+Inf at step 3"
    assert run.tags["tracelet.nonfinite.b"] == "-Inf at step 4"


def test_many_infinities_fit_into_a_tag(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("a", math.inf, step) for step in range(1000)])
    assert stored(backend, identity).tags["tracelet.nonfinite.a"].endswith("+Inf at step 99 and 900 more")


def test_a_reading_that_cannot_be_stored_is_refused(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    with pytest.raises(RefusedError):
        tracker.log_readings([reading("loss", 1.0), reading("loss", 1.0, step=2**70)])
    assert stored(backend, identity).points == []


def test_hyperparameters_of_every_kind(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params(
        {"a": Param("1"), "b@": Param("2"), "b#": Param("3"), "long": Param("x" * 7000), "empty": Param("")}
    )
    run = stored(backend, identity)
    assert {key: value for key, value in run.params.items() if key in {"a", "b", "empty"}} == {
        "a": "1",
        "b": "2",
        "empty": "",
    }
    assert len(run.params) == 5
    assert run.params["long"].startswith("xxx")
    assert len(run.params["long"]) == 6000


def test_a_changed_hyperparameter_keeps_its_first_value_and_becomes_a_tag(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params({"lr": Param("0.1"), "width": Param("3")})
    tracker.log_params({"lr": Param("0.2"), "width": Param("3")})
    run = stored(backend, identity)
    assert run.params == {"lr": "0.1", "width": "3"}
    assert run.tags["tracelet.param.lr"] == "0.2"
    assert "tracelet.param.width" not in run.tags


@pytest.mark.parametrize("by", ["the tracker's id", "Run.id"])
def test_a_run_is_continued(backend, identity, by):
    first = backend.tracker()
    first.open(identity)
    first.log_readings([reading("acc@1", 1.0)])
    first.log_params({"lr": Param("0.1")})
    first.close(semconv.OUTCOME_FINISHED)
    run = stored(backend, identity)

    again = backend.tracker(run_id=run.run_id if by == "the tracker's id" else identity.run_id)
    again.open(identity)
    assert stored(backend, identity).status == "RUNNING"
    again.log_readings([reading("acc#1", 2.0), reading("acc@1", 3.0, 1)])
    again.log_params({"lr": Param("0.1")})
    again.close(semconv.OUTCOME_FINISHED)
    run = stored(backend, identity)
    assert [(step, value) for key, step, value, _ in sorted(run.points) if key == "acc1"] == [(0, 1.0), (1, 3.0)]
    assert len(run.multiset) == 3
    assert run.status == "FINISHED"


def test_a_run_that_is_deleted_in_mid_run_takes_no_more(backend, identity):
    from mlflow import MlflowClient

    tracker = backend.tracker()
    tracker.open(identity)
    MlflowClient(backend.uri).delete_run(stored(backend, identity).run_id)
    with pytest.raises(RunLostError, match="deleted"):
        tracker.log_readings([reading("loss", 1.0)])


def test_a_deleted_run_cannot_be_continued(backend, identity):
    from mlflow import MlflowClient

    backend.tracker().open(identity)
    run_id = stored(backend, identity).run_id
    MlflowClient(backend.uri).delete_run(run_id)
    with pytest.raises(ConfigurationError, match="was deleted in MLflow: restore it"):
        backend.tracker(run_id=run_id).open(identity)


def test_a_deleted_experiment_is_named(backend, identity):
    from mlflow import MlflowClient

    client = MlflowClient(backend.uri)
    gone = replace(identity, project=f"gone {identity.run_id}")
    client.delete_experiment(client.create_experiment(gone.project))
    with pytest.raises(ConfigurationError, match=r"experiment 'gone .* was deleted .* restore it"):
        backend.tracker().open(gone)


RUNS_AT_ONCE = 20
"""More than MLflow has connections to a database."""


@pytest.mark.parametrize("backend", ["MLflow on SQLite"], indirect=True)
def test_many_runs_in_one_process_take_turns_at_a_database(backend, monkeypatch, identity):
    from mlflow import MlflowClient

    stores, together, most = MlflowClient.log_batch, [], []

    def log_batch(*args, **more):
        together.append(1)
        most.append(len(together))
        try:
            return stores(*args, **more)
        finally:
            together.pop()

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    runs = [replace(identity, run_id=f"{number:032x}", run_name=f"{number}") for number in range(RUNS_AT_ONCE)]

    def train(run):
        tracker = backend.tracker()
        tracker.open(run)
        for step in range(5):
            tracker.log_readings([reading("loss", float(step), step)])

    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        list(pool.map(train, runs))
    assert set(most) == {1}
    found = {run.name: run.multiset for run in stored_runs(backend.database)}
    assert found == {run.run_name: multiset(("loss", step, float(step)) for step in range(5)) for run in runs}


def test_that_no_connection_to_a_database_is_free_is_no_refusal(monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import QueuePool

    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)

    @translated("MLflow", "sqlite://")
    def call():
        try:
            engine.connect()
        except SQLAlchemyError as error:
            # As MLflow's store does.
            raise MlflowException(message=error, error_code=BAD_REQUEST) from error

    with engine.connect(), pytest.raises(TrackerUnavailableError, match="QueuePool"):
        call()
    engine.dispose()


@pytest.mark.parametrize("backend", ["MLflow on SQLite"], indirect=True)
def test_a_database_that_somebody_else_writes_to_is_opened_later(backend, monkeypatch, identity):
    monkeypatch.setattr("tracelet_otel.exporters.mlflow.address._TIMEOUT_S", 0.1)
    tracker = backend.tracker()
    with closing(sqlite3.connect(backend.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackerUnavailableError, match="database is locked"):
            tracker.open(identity)
    assert tracker.open(identity).url


def test_a_tag_may_be_one_of_mlflows_own_and_none_of_ours(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tags = {"mlflow.runName": "renamed", "tra@celet.run.id": "not it", semconv.NOTE: "# What it is", "lr": "high"}
    assert tracker.set_tags(tags) == {}
    tracker.log_params({"lr": Param("0.1")})
    run = stored(backend, identity)
    assert (run.tags["mlflow.runName"], run.tags["mlflow.note.content"]) == ("renamed", "# What it is")
    assert (run.tags["lr"], run.params["lr"]) == ("high", "0.1")
    assert run.tags[semconv.RUN_ID] == identity.run_id


def test_a_tag_is_as_long_as_mlflow_takes_it(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    cut = tracker.set_tags({"fits": "x" * 8000, "long": "x" * 8001, semconv.NOTE: "y" * 9000})
    assert cut == dict.fromkeys(["long", semconv.NOTE], "MLflow takes 8000 characters")
    found = stored(backend, identity).tags
    assert {name: len(found[name]) for name in ("fits", "long", "mlflow.note.content")} == {
        "fits": 8000,
        "long": 8000,
        "mlflow.note.content": 8000,
    }
    assert found["long"].endswith("…")


FAILURE = Failure("ValueError", "bad batch", "Traceback (most recent call last):\nValueError: größe\n")


def test_why_a_run_failed_is_in_tags_and_a_file(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    assert tracker.set_tags({"team": "vision", **FAILURE.tags}) == {}
    found = stored(backend, identity)
    shown = {name: text for name, text in found.tags.items() if name.startswith("tracelet.exception.")}
    assert shown == {"tracelet.exception.type": FAILURE.type, "tracelet.exception.message": FAILURE.message}
    assert found.tags["mlflow.tracelet.exception.stacktrace"] == FAILURE.stacktrace
    client = MlflowClient(tracker._uri)
    path = Path(client.download_artifacts(found.run_id, FAILURE_FILE))
    assert path.read_text(encoding="utf-8") == FAILURE.stacktrace


def test_where_no_file_can_be_stored_the_tags_are(backend, identity, monkeypatch):
    tracker = backend.tracker()
    tracker.open(identity)

    def closed(*_: object, **__: object) -> None:
        raise PermissionError("not for you")

    monkeypatch.setattr(tracker._client, "log_text", closed)
    assert tracker.set_tags(FAILURE.tags) == {"tracelet.exception.stacktrace": "there is no exception.txt: not for you"}
    assert stored(backend, identity).tags["mlflow.tracelet.exception.stacktrace"] == FAILURE.stacktrace


def test_group_and_job_type_are_tags(backend, identity):
    attributes = {**identity.attributes, semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "eval"}
    backend.tracker().open(replace(identity, attributes=attributes))
    found = stored(backend, identity).tags
    assert (found["tracelet.run.group"], found["tracelet.run.job_type"]) == ("width", "eval")


def parent_of(identity, **more):
    run_id = uuid.uuid4().hex
    return replace(identity, run_id=run_id, attributes={semconv.RUN_ID: run_id}, **more)


@pytest.mark.parametrize("project", ["name of the project", "another project"])
def test_a_parent_is_found_in_any_experiment(backend, identity, project):
    parent = parent_of(identity, project=project)
    backend.tracker().open(parent)
    child = backend.tracker()
    child.open(replace(identity, attributes={**identity.attributes, semconv.PARENT_RUN_ID: parent.run_id}))
    assert stored(backend, identity).tags["mlflow.parentRunId"] == stored(backend, parent).run_id


def test_a_parent_that_mlflow_got_late_links_children_that_are_over(backend, identity):
    parent, child = parent_of(identity), backend.tracker()
    child.open(replace(identity, attributes={**identity.attributes, semconv.PARENT_RUN_ID: parent.run_id}))
    child.close("finished")
    assert "mlflow.parentRunId" not in stored(backend, identity).tags
    tracker = backend.tracker()
    # As after a first attempt that has failed.
    tracker.open(parent)
    tracker.open(parent)
    assert stored(backend, identity).tags["mlflow.parentRunId"] == stored(backend, parent).run_id
