"""What every tracker has to do, on the real ones."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow_store import StoredRun, multiset, stored_runs
from tracelet_otel import semconv
from tracelet_otel.errors import ConfigurationError, RefusedError, RunLostError
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.exporters.identity import RunIdentity
from tracelet_otel.exporters.mlflow import MlflowTracker
from tracelet_otel.exporters.reading import Batch, Reading
from tracelet_otel.exporters.tracker import Tracker
from tracelet_otel.guard import Guard
from tracelet_otel.settings import load


@dataclass
class Backend:
    uri: str
    database: Path

    def tracker(self, **config: Any) -> Tracker:
        return MlflowTracker(load({"backend_url": self.uri}, config))

    def stored(self, run_id: str) -> StoredRun:
        (found,) = [run for run in stored_runs(self.database) if run.tags.get(semconv.RUN_ID) == run_id]
        return found


@pytest.fixture(params=["mlflow on SQLite", "mlflow server"])
def backend(request):
    if request.param == "mlflow server":
        server = request.getfixturevalue("mlflow_server")
        return Backend(server.uri, server.database)
    database = request.getfixturevalue("database")
    return Backend(f"sqlite:///{database}", database)


@pytest.fixture
def identity():
    run_id = uuid.uuid4().hex
    attributes = {semconv.RUN_ID: run_id, semconv.PROJECT_NAME: "name of the project", semconv.PROCESS_OWNER: "ada"}
    return RunIdentity(run_id, "name of the run", "name of the project", attributes)


def reading(name, value, step=0, time_ms=1_700_000_000_000):
    return Reading(name, value, step, time_ms * 1_000_000, semconv.AXIS_USER, 0)


def test_names_steps_values_and_times(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    readings = [reading(f"metric {n % 7}", n / 3, n, 1_700_000_000_000 + n) for n in range(tracker.batch_size)]
    tracker.log_readings(readings)
    assert sorted(backend.stored(identity.run_id).points) == sorted(
        (r.name, r.step, r.value, r.time_unix_nano // 1_000_000) for r in readings
    )


def test_identity_parameters_and_place(backend, identity):
    tracker = backend.tracker()
    url = tracker.open(identity)
    tracker.log_params({f"p/{number}": str(number) for number in range(250)})
    stored = backend.stored(identity.run_id)
    assert (stored.name, stored.experiment, stored.status) == ("name of the run", "name of the project", "RUNNING")
    assert stored.params == {f"p/{number}": str(number) for number in range(250)}
    assert {name: stored.tags[name] for name in identity.attributes} == {
        name: str(value) for name, value in identity.attributes.items()
    }
    assert stored.tags["mlflow.user"] == "ada"
    assert url.startswith(backend.uri)
    assert stored.run_id in url or url.startswith("sqlite")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (semconv.OUTCOME_FINISHED, "FINISHED"),
        (semconv.OUTCOME_FAILED, "FAILED"),
        (semconv.OUTCOME_INTERRUPTED, "KILLED"),
        (semconv.OUTCOME_TERMINATED, "KILLED"),
        (semconv.OUTCOME_RUNNING, "KILLED"),
        (None, "KILLED"),
    ],
)
def test_outcome(backend, identity, outcome, status):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.close(outcome)
    assert backend.stored(identity.run_id).status == status


def test_a_replay_changes_nothing(backend, identity):
    readings = [reading("loss", 1.0), reading("loss", math.nan, 1), reading("acc@1", 2.0), reading("loss", math.inf, 2)]
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings(readings)
    once = backend.stored(identity.run_id)

    again = Delivery(tracker, Guard())
    again.put(Batch(identity.attributes, tuple(readings), {}, None))
    account = again.close(30)
    assert (account.delivered, account.refused, account.pending) == (len(readings), 0, 0)
    assert backend.stored(identity.run_id).multiset == once.multiset


def test_late_and_negative_steps(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    readings = [reading("loss", 1.0, 5), reading("loss", 2.0, 3), reading("loss", 3.0, -1)]
    tracker.log_readings(readings)
    assert backend.stored(identity.run_id).multiset == multiset((r.name, r.step, r.value) for r in readings)


def test_nonfinite_values(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("a", math.nan), reading("a", math.inf, 3), reading("b@", -math.inf, 4)])
    stored = backend.stored(identity.run_id)
    assert stored.multiset == multiset([("a", 0, math.nan), ("a", 3, math.nan), ("b", 4, math.nan)])
    assert stored.tags["tracelet.nonfinite.a"] == "+Inf at step 3"
    assert stored.tags["tracelet.nonfinite.b"] == "-Inf at step 4"


def test_many_infinities_fit_into_a_tag(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading("a", math.inf, step) for step in range(1000)])
    assert backend.stored(identity.run_id).tags["tracelet.nonfinite.a"].endswith("+Inf at step 99 and 900 more")


def test_names_that_the_tracker_refuses_are_kept_apart_and_readable(backend, identity):
    names = ["loss", "Loss", "lo@ss", "größe", "a//b", "/a", "7 days", "損失", "x" * 300, "x" * 301, "a b"]
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_readings([reading(name, float(index)) for index, name in enumerate(names)])
    stored = backend.stored(identity.run_id)
    key_by_value = {value: key for key, _, value, _ in stored.points}
    exact = {key: stored.tags.get(f"tracelet.metric.name.{key}", key) for key in key_by_value.values()}
    assert [exact[key_by_value[float(index)]] for index in range(len(names))] == names


def test_a_reading_that_cannot_be_stored_is_refused(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    with pytest.raises(RefusedError):
        tracker.log_readings([reading("loss", 1.0), reading("loss", 1.0, step=2**70)])
    assert backend.stored(identity.run_id).points == []


def test_hyperparameters_of_every_kind(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params({"a": "1", "b@": "2", "b#": "3", "long": "x" * 7000, "empty": ""})
    stored = backend.stored(identity.run_id)
    assert {key: value for key, value in stored.params.items() if key in {"a", "b", "empty"}} == {
        "a": "1",
        "b": "2",
        "empty": "",
    }
    assert len(stored.params) == 5
    assert stored.params["long"].startswith("xxx")
    assert len(stored.params["long"]) == 6000


def test_a_changed_hyperparameter_keeps_its_first_value_and_becomes_a_tag(backend, identity):
    tracker = backend.tracker()
    tracker.open(identity)
    tracker.log_params({"lr": "0.1", "width": "3"})
    tracker.log_params({"lr": "0.2", "width": "3"})
    stored = backend.stored(identity.run_id)
    assert stored.params == {"lr": "0.1", "width": "3"}
    assert stored.tags["tracelet.param.lr"] == "0.2"
    assert "tracelet.param.width" not in stored.tags


def test_a_creation_that_is_repeated_finds_its_run(backend, identity):
    backend.tracker().open(identity)
    backend.tracker().open(identity)
    backend.stored(identity.run_id)


@pytest.mark.parametrize("by", ["the tracker's id", "Run.id"])
def test_a_run_is_continued(backend, identity, by):
    first = backend.tracker()
    first.open(identity)
    first.log_readings([reading("acc@1", 1.0)])
    first.log_params({"lr": "0.1"})
    first.close(semconv.OUTCOME_FINISHED)
    stored = backend.stored(identity.run_id)

    again = backend.tracker(run_id=stored.run_id if by == "the tracker's id" else identity.run_id)
    again.open(identity)
    assert backend.stored(identity.run_id).status == "RUNNING"
    again.log_readings([reading("acc#1", 2.0), reading("acc@1", 3.0, 1)])
    again.log_params({"lr": "0.1"})
    again.close(semconv.OUTCOME_FINISHED)
    stored = backend.stored(identity.run_id)
    assert [(step, value) for key, step, value, _ in sorted(stored.points) if key == "acc1"] == [(0, 1.0), (1, 3.0)]
    assert len(stored.multiset) == 3
    assert stored.status == "FINISHED"


def test_a_run_that_does_not_exist_cannot_be_continued(backend, identity):
    with pytest.raises(ConfigurationError, match=r"no run to continue: .* has no run 'nowhere'"):
        backend.tracker(run_id="nowhere").open(identity)


def test_a_run_that_is_deleted_in_mid_run_takes_no_more(backend, identity):
    from mlflow import MlflowClient

    tracker = backend.tracker()
    tracker.open(identity)
    MlflowClient(backend.uri).delete_run(backend.stored(identity.run_id).run_id)
    with pytest.raises(RunLostError, match="deleted"):
        tracker.log_readings([reading("loss", 1.0)])


def test_a_deleted_run_cannot_be_continued(backend, identity):
    from mlflow import MlflowClient

    backend.tracker().open(identity)
    run_id = backend.stored(identity.run_id).run_id
    MlflowClient(backend.uri).delete_run(run_id)
    with pytest.raises(ConfigurationError, match="was deleted in MLflow: restore it"):
        backend.tracker(run_id=run_id).open(identity)


def test_a_deleted_experiment_is_named(backend, identity):
    from dataclasses import replace

    from mlflow import MlflowClient

    client = MlflowClient(backend.uri)
    gone = replace(identity, project=f"gone {identity.run_id}")
    client.delete_experiment(client.create_experiment(gone.project))
    with pytest.raises(ConfigurationError, match=r"experiment 'gone .* was deleted .* restore it"):
        backend.tracker().open(gone)
