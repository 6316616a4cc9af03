"""`start_logging`, `stop_logging`, `Run`: what a user sees of them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

import tracelet_otel as tracelet
from tests.integration.conftest import BOTH
from tests.support.mlflow_store import multiset, stored_run, stored_runs
from tests.support.trainings import Training, namespace
from tests.support.waiting import free_port

pytestmark = BOTH


def test_a_run_of_another_thread_is_not_ended(database):
    goes_on = threading.Event()
    runs = []

    def train():
        with tracelet.start_logging("first") as run:
            runs.append(run)
            began.set()
            goes_on.wait(30)
            run.log_metric("loss", 1.0, 1)

    began = threading.Event()
    thread = threading.Thread(target=train, name="first trainer")
    thread.start()
    began.wait(30)
    with pytest.raises(tracelet.ConfigurationError, match="the run 'first' of thread first trainer is active"):
        tracelet.start_logging("second")
    goes_on.set()
    thread.join()
    assert stored_run(database).multiset == multiset([("loss", 1, 1.0)])
    # Once it has ended, or its thread has, nobody is in the way.
    thread = threading.Thread(target=lambda: tracelet.start_logging("third"))
    thread.start()
    thread.join()
    tracelet.start_logging("fourth").stop()
    assert [run.name for run in stored_runs(database)] == ["first", "third", "fourth"]


def test_what_is_no_mapping_is_said(database):
    with tracelet.start_logging() as run:
        run.log_params([("lr", 0.1)])
    assert run.errors == {"hyperparameters were dropped": 1}


def test_a_misspelt_variable_is_named_with_the_nearest(run, database):
    child = run("starts.py", TRACELET_EXPORT_INTERVALL="1", TRACELET_OTHER_TOOL="2")
    assert child.returncode == 0
    said = [line for line in child.stderr.splitlines() if "no such setting" in line]
    place = "tracelet: without effect, since there is no such setting:"
    assert said == [
        f"{place} TRACELET_EXPORT_INTERVALL, did you mean 'TRACELET_EXPORT_INTERVAL'?",
        f"{place} TRACELET_OTHER_TOOL",
    ]


def test_a_run_has_its_names_places_and_values(database):
    run = tracelet.start_logging("my run", "my project", backend="mlflow")
    assert tracelet.get_active_run() is run
    assert run.urls == {"mlflow": f"sqlite:///{database}"}
    run.log_metric("loss", torch.tensor(0.5), 3)
    run.log_params({"lr": 0.1, "model": {"width": 7}})
    tracelet.stop_logging()
    assert tracelet.get_active_run() is None

    stored = stored_run(database)
    assert (stored.name, stored.experiment, stored.status) == ("my run", "my project", "FINISHED")
    assert stored.multiset == multiset([("loss", 3, 0.5)])
    assert stored.params == {"lr": "0.1", "model/width": "7"}
    assert stored.tags["tracelet.run.id"] == run.id
    assert (run.accounts["mlflow"].delivered, run.accounts["mlflow"].pending) == (1, 0)


def test_tags_and_note_are_those_of_the_settings_and_those_that_were_set_since(database):
    config = {"tags": {"stage": "draft", "team": "vision"}, "notes": "first", "group": "width", "job_type": "train"}
    with tracelet.start_logging(config={**config, "export_interval": 0.05}) as run:
        for step in range(20):
            run.set_tags({"stage": f"step {step}", "fold": "3"})
            run.set_note(f"at step {step}")
            run.log_metric("loss", 1.0, step)
    assert (run.errors, run.accounts["mlflow"].delivered) == ({}, 20)
    stored = stored_run(database)
    tags = stored.tags
    found = {name: tags[name] for name in ("stage", "team", "fold")}
    assert (found, stored.note) == ({"stage": "step 19", "team": "vision", "fold": "3"}, "at step 19")
    assert (tags["tracelet.run.group"], tags["tracelet.run.job_type"]) == ("width", "train")


def test_tags_that_are_none_and_tags_after_the_end_are_said(database):
    with tracelet.start_logging() as run:
        run.set_tags(["baseline"])
        run.set_tags({"tracelet.rank": "7", "good": "1"})
    run.set_tags({"good": "2"})
    run.set_note("too late")
    assert run.errors == {
        "tags were dropped": 1,
        "tag 'tracelet.rank' was dropped": 1,
        "tags came too late": 1,
        "the note came too late": 1,
    }
    assert stored_run(database).tags["good"] == "1"


def test_defaults(database):
    with tracelet.start_logging() as run:
        pass
    stored = stored_run(database)
    assert (stored.experiment, stored.name) == ("Default", run.name)


def test_a_tensor_that_changes_after_logging_keeps_its_value(database):
    value = torch.tensor(1.0)
    with tracelet.start_logging(config={"export_interval": 3600}) as run:
        run.log_metric("loss", value, 0)
        value.fill_(2.0)
    assert stored_run(database).multiset == multiset([("loss", 0, 1.0)])


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "FINISHED")],
)
def test_the_context_manager_ends_the_run_with_its_outcome(database, error, status):
    def block():
        with tracelet.start_logging() as run:
            run.log_metric("loss", 1.0, 0)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            block()
    else:
        block()
    assert stored_run(database).status == status


def test_the_outcome_may_be_said(database):
    run = tracelet.start_logging()
    with pytest.raises(tracelet.ConfigurationError, match="unknown outcome 'great'; known outcomes: finished, failed"):
        run.stop("great")
    run.stop("failed")
    assert stored_run(database).status == "FAILED"


def test_a_second_start_ends_the_first_run(database):
    first = tracelet.start_logging("first")
    first.log_metric("loss", 1.0, 0)
    second = tracelet.start_logging("second")
    assert tracelet.get_active_run() is second
    tracelet.stop_logging()
    assert [(run.name, run.status) for run in stored_runs(database)] == [("first", "FINISHED"), ("second", "FINISHED")]


def test_what_comes_after_the_end_is_said(database, caplog):
    run = tracelet.start_logging()
    tracelet.stop_logging()
    run.stop()
    run.log_metric("late", 1.0, 0)
    assert "metric 'late' came too late" in caplog.text
    assert stored_run(database).points == []


def test_it_may_be_started_after_the_trainer_was_made(database):
    pl = namespace("lightning.pytorch")
    runs = []
    training = Training()
    fit = training.run

    def start_then_fit(trainer, module):
        runs.append(tracelet.start_logging())
        fit(trainer, module)

    training.run = start_then_fit
    training(pl, False)
    tracelet.stop_logging()
    assert "train/loss_step" in {name for name, *_ in stored_run(database).points}


def test_both_namespaces_in_one_process(database):
    tracelet.start_logging()
    for package in ("lightning.pytorch", "pytorch_lightning"):
        Training()(namespace(package), False)
    tracelet.stop_logging()
    assert all(count == 2 for point, count in stored_run(database).multiset.items() if point[0] == "train/loss_step")


def test_nothing_is_recorded_without_track_lightning(database):
    tracelet.start_logging(config={"track_lightning": False})
    Training()(namespace("lightning.pytorch"), False)
    tracelet.stop_logging()
    assert stored_run(database).points == []


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_the_originals_are_back_after_the_end(database, package):
    pl = namespace(package)
    connector = type(pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)._logger_connector)
    original = vars(connector)["log_metrics"]
    for _ in range(2):
        tracelet.start_logging()
        assert vars(connector)["log_metrics"] is not original
        tracelet.stop_logging()
        assert vars(connector)["log_metrics"] is original


@pytest.mark.parametrize("given", ["MLFLOW_RUN_ID", "run_id of MLflow", "Run.id"])
def test_a_run_is_continued(database, monkeypatch, given):
    with tracelet.start_logging("first") as first:
        first.log_metric("loss", 1.0, 0)
    mlflow_id = stored_run(database).run_id
    if given == "MLFLOW_RUN_ID":
        monkeypatch.setenv("MLFLOW_RUN_ID", mlflow_id)
        config = {}
    else:
        config = {"run_id": first.id if given == "Run.id" else mlflow_id}
    with tracelet.start_logging(config=config) as second:
        second.log_metric("loss", 2.0, 1)
    stored = stored_run(database)
    assert stored.multiset == multiset([("loss", 0, 1.0), ("loss", 1, 2.0)])
    assert stored.status == "FINISHED"


def test_the_trackers_global_state_is_untouched(database):
    import mlflow

    before = (mlflow.get_tracking_uri(), mlflow.active_run())
    with tracelet.start_logging() as run:
        run.log_metric("loss", 1.0, 0)
        assert (mlflow.get_tracking_uri(), mlflow.active_run()) == before
    assert (mlflow.get_tracking_uri(), mlflow.active_run()) == before


def test_an_mlflow_server(mlflow_server, mode):
    with tracelet.start_logging(f"on a server, {mode}", backend_url=mlflow_server.uri) as run:
        for step in range(2_500):
            run.log_metric("loss", step / 2, step)
    (stored,) = [found for found in stored_runs(mlflow_server.database) if found.name == f"on a server, {mode}"]
    assert stored.multiset == multiset(("loss", step, step / 2) for step in range(2_500))
    assert stored.status == "FINISHED"
    assert run.urls["mlflow"].startswith(f"{mlflow_server.uri}/#/experiments/")
    assert run.urls["mlflow"].endswith(f"/{stored.run_id}?workflowType=machine_learning")


def test_mlflows_own_address_variable_is_heeded(tmp_path, database, monkeypatch):
    elsewhere = tmp_path / "elsewhere.db"
    database.rename(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    with tracelet.start_logging("elsewhere"):
        pass
    assert stored_run(elsewhere).name == "elsewhere"


class TestBadInput:
    def test_an_unknown_backend(self):
        with pytest.raises(
            tracelet.ConfigurationError,
            match=r"unknown backend 'mlfow', did you mean 'mlflow'\? known backends: clearml, mlflow",
        ):
            tracelet.start_logging(backend="mlfow")

    def test_an_unknown_config_key(self):
        with pytest.raises(tracelet.ConfigurationError, match="unknown config key 'intervall'"):
            tracelet.start_logging(config={"intervall": 1})

    def test_bad_input_leaves_the_active_run_alone(self, database):
        run = tracelet.start_logging()
        with pytest.raises(tracelet.ConfigurationError):
            tracelet.start_logging(config={"intervall": 1})
        assert tracelet.get_active_run() is run
        tracelet.stop_logging()

    def test_a_disabled_sdk(self, monkeypatch):
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with pytest.raises(tracelet.ConfigurationError, match="OTEL_SDK_DISABLED=true"):
            tracelet.start_logging()

    def test_an_api_key_that_mlflow_does_not_take(self, database):
        with pytest.raises(tracelet.ConfigurationError, match="set MLFLOW_TRACKING_TOKEN") as raised:
            tracelet.start_logging(api_key="hush")
        assert "hush" not in str(raised.value)

    def test_a_server_that_is_not_there(self):
        uri = f"http://ada:hush@127.0.0.1:{free_port()}"
        with pytest.raises(tracelet.TrackerUnavailableError, match=r"cannot be reached .* is the server running") as e:
            tracelet.start_logging(backend_url=uri)
        assert "hush" not in str(e.value)

    def test_a_server_that_is_ill(self):
        class Ill(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(503)

        server = HTTPServer(("127.0.0.1", 0), Ill)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with pytest.raises(tracelet.TrackerUnavailableError, match="answers with HTTP status 503"):
            tracelet.start_logging(backend_url=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        server.server_close()

    def test_an_address_of_no_known_kind(self):
        with pytest.raises(
            tracelet.ConfigurationError, match=r"MLflow has no kind of address htp://, did you mean 'http'\? It knows"
        ):
            tracelet.start_logging(backend_url="htp://x")

    def test_a_database_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(tracelet.TrackerError, match="cannot be written"):
            tracelet.start_logging(backend_url=f"sqlite:///{tmp_path}/file/mlflow.db")

    def test_a_database_that_is_none(self, tmp_path):
        Path("mlflow.db").write_text("something else " * 100)
        with pytest.raises(tracelet.TrackerError, match="cannot be written: file is not a database"):
            tracelet.start_logging()

    def test_a_database_that_others_keep_locked_for_a_moment_is_waited_for(self, database):
        with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(0.5, other.rollback).start()
            with tracelet.start_logging() as run:
                run.log_metric("loss", 1.0, 0)
        assert stored_run(database).multiset == multiset([("loss", 0, 1.0)])

    def test_a_run_that_does_not_exist(self, database):
        with pytest.raises(tracelet.ConfigurationError, match="no run to continue"):
            tracelet.start_logging(config={"run_id": "nowhere"})
        assert tracelet.get_active_run() is None
