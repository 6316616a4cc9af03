"""A script that has never heard of us, under the stock `opentelemetry-instrument`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.clearml_files import session
from tests.support.door import Door
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.waiting import wait_until
from tests.zero_code.conftest import (
    arrived,
    command,
    last_logged,
    logged,
    run_ids,
    surroundings,
)
from tracelet_otel import semconv

DETECTED = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet"}
FACADE = """
    import tracelet_otel as tracelet
    with tracelet.start_logging(config={"export_interval": 0.2}):
        main()
"""


@pytest.fixture
def by_facade(tmp_path, train, migrated_database, monkeypatch):
    """The run that `start_logging` makes of the same script."""
    home = tmp_path / "facade"
    home.mkdir()
    (home / "train.py").write_text(train.read_text().replace("\n    main()\n", FACADE))
    (home / "mlflow.db").write_bytes(migrated_database.read_bytes())

    def run(**environment):
        environment = {**os.environ, **environment}
        subprocess.run([sys.executable, "train.py"], cwd=home, env=environment, check=True)
        return stored_run(home / "mlflow.db")

    return run


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_every_logged_metric_arrives_through_a_collector(tmp_path, train, instrumented, collector, backend, protocol):
    child = instrumented(
        train,
        "otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint(protocol),
        **({"OTEL_METRICS_EXPORTER": "otlp_proto_http"} if protocol.startswith("http") else {}),
        **DETECTED,
    )
    assert child.returncode == 0, child.stderr
    assert arrived(backend) == {(name, 0): value for name, value in last_logged(tmp_path).items()}
    assert len(run_ids(backend)) == 1
    assert "tracelet" not in child.stderr


@pytest.mark.parametrize(("exporter", "relay"), [("mlflow", "true"), ("tracelet", "false")])
def test_the_run_in_mlflow_is_that_of_the_facade(train, instrumented, database, by_facade, exporter, relay):
    child = instrumented(train, exporter, OTEL_SERVICE_NAME="Default", TRACELET_RELAY=relay)
    assert child.returncode == 0, child.stderr
    ours, theirs = stored_run(database), by_facade()
    assert ours.multiset == theirs.multiset == logged(train.parent)
    assert (ours.params, ours.status, ours.experiment) == (theirs.params, theirs.status, theirs.experiment)
    assert theirs.params["width"] == "4"
    assert ours.name.startswith("train-")
    assert theirs.tags.keys() <= ours.tags.keys()


@pytest.mark.slow
def test_several_backends_and_a_collector(tmp_path, train, instrumented, database, collector, backend):
    child = instrumented(
        train,
        "mlflow,otlp,clearml",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"),
        TRACELET_PROJECT="of all",
        **DETECTED,
    )
    assert child.returncode == 0, child.stderr
    assert arrived(backend) == {(name, 0): value for name, value in last_logged(tmp_path).items()}
    stored = stored_run(database)
    assert stored.multiset == logged(tmp_path)
    assert (stored.experiment, stored.status) == ("of all", "FINISHED")
    (run_id,) = run_ids(backend)
    assert stored.tags[semconv.RUN_ID] == run_id
    task = session(tmp_path / "clearml" / "offline" / f"offline-{run_id}.zip")
    assert {(title, series, step) for title, series, step in task.points} == {
        (*name.split("/"), step) if "/" in name else (name, name, step) for name, step, _ in logged(tmp_path)
    }


@pytest.mark.slow
def test_backends_of_the_settings_and_others(tmp_path, train, instrumented, database):
    child = instrumented(train, "tracelet", TRACELET_BACKEND="clearml,mlflow", TRACELET_EXP_NAME="both")
    assert child.returncode == 0, child.stderr
    assert (stored_run(database).name, stored_run(database).multiset) == ("both", logged(tmp_path))
    assert len(list((tmp_path / "clearml" / "offline").glob("*.zip"))) == 1


@pytest.mark.slow
def test_two_ranks_are_two_series_and_one_run(tmp_path, train, instrumented, database, collector, backend, by_facade):
    child = instrumented(
        train,
        "mlflow,otlp",
        DEVICES="2",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"),
        **DETECTED,
    )
    assert child.returncode == 0, child.stderr
    series = arrived(backend)
    assert {name for name, _ in series} == set(last_logged(tmp_path))
    assert {rank for name, rank in series if name == "train/Loss of a batch"} == {0, 1}
    assert (series["rank", 0], series["rank", 1]) == (0.0, 1.0)
    (run_id,) = run_ids(backend)
    stored = stored_run(database)
    assert stored.tags[semconv.RUN_ID] == run_id
    theirs = by_facade(DEVICES="2")
    assert stored.multiset == theirs.multiset
    assert {value for name, _, value in stored.multiset if name == "rank"} == {0.5}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_ranks_that_are_copies(train, instrumented, database, collector, backend, by_facade, strategy):
    environment = {"DEVICES": "2", "STRATEGY": strategy}
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint("grpc")}
    child = instrumented(train, "mlflow,otlp", **environment, **endpoint, **DETECTED)
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.multiset == by_facade(**environment).multiset
    series = arrived(backend)
    assert (series["rank", 0], series["rank", 1]) == (0.0, 1.0)
    assert run_ids(backend) == {stored.tags[semconv.RUN_ID]}


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_dataloader_start_nothing(tmp_path, train, instrumented, database, collector, backend, method):
    # Spawned ones import everything again, each: they are kept for all epochs.
    workers = json.dumps({"num_workers": 2, "multiprocessing_context": method, "persistent_workers": method == "spawn"})
    child = instrumented(
        train, "mlflow,otlp", WORKERS=workers, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"), **DETECTED
    )
    assert child.returncode == 0, child.stderr
    assert stored_run(database).multiset == logged(tmp_path)
    assert arrived(backend) == {(name, 0): value for name, value in last_logged(tmp_path).items()}


def test_a_script_without_lightning_starts_nothing(tmp_path, instrumented):
    script = tmp_path / "script.py"
    script.write_text(
        """
import sys, threading
import psutil
heavy = {"torch", "lightning", "pytorch_lightning", "mlflow", "wandb", "clearml", "pydantic", "uvicorn"}
threads = [one.name for one in threading.enumerate() if "tracelet" in one.name]
print(sorted(heavy & set(sys.modules)), psutil.Process().children(), threads)
"""
    )
    child = instrumented(script, "mlflow,wandb,clearml,tracelet", **DETECTED)
    assert (child.returncode, child.stderr, child.stdout) == (0, "", "[] [] []\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"script.py", "home"}


def test_a_training_that_logs_nothing_creates_nothing(tmp_path, instrumented):
    script = tmp_path / "train.py"
    script.write_text("import lightning.pytorch as pl\npl.Trainer(logger=False, accelerator='cpu')\n")
    child = instrumented(script, "mlflow,clearml")
    assert child.returncode == 0, child.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"train.py", "home"}


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "mlflow"),
        ({}, "none"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "lightning"}, "mlflow"),
    ],
)
def test_what_turns_it_off_does(tmp_path, train, instrumented, environment, exporters):
    child = instrumented(train, exporters, **environment)
    assert child.returncode == 0, child.stderr
    assert logged(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"train.py", "rows.json"}
    assert "tracelet" not in child.stderr


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRACELET_BACKEND": "nowhere"}, "unknown backend 'nowhere'; known backends: mlflow, wandb, clearml, otlp"),
        ({"TRACELET_STOP_TIMEOUT": "long"}, "stop_timeout (or TRACELET_STOP_TIMEOUT)"),
        ({"TRACELET_RUN_ID": "nobodys"}, "no run to continue"),
    ],
)
def test_what_is_wrong_is_said_once_and_the_training_goes_on(tmp_path, train, instrumented, environment, message):
    child = instrumented(train, "tracelet", **environment)
    assert child.returncode == 0
    assert logged(tmp_path)
    assert child.stderr.count(message) == 1, child.stderr
    assert "Traceback" not in child.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("ill", "start_timeout"), [("down", "60"), ("hangs", "15")])
def test_a_tracker_that_is_ill_at_the_start_is_waited_for(tmp_path, train, mlflow_server, ill, start_timeout):
    door = Door(mlflow_server.uri)
    door.ill = ill
    told = {
        "TRACELET_START_TIMEOUT": start_timeout,
        "TRACELET_EXP_NAME": f"waited for, {ill}",
        # The first export is the one at the end: nothing of the wait is the training's time.
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
    environment = surroundings("mlflow", MLFLOW_TRACKING_URI=door.uri, **told)
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(command(train), cwd=tmp_path, env=environment, stdout=log, stderr=log)
    wait_until(lambda: b"a backend is waited for" in (tmp_path / "log").read_bytes(), 90, "the first attempt")
    door.ill = None
    door.well_again.set()
    assert child.wait(90) == 0
    (run,) = [one for one in stored_runs(mlflow_server.database) if one.name == f"waited for, {ill}"]
    assert run.multiset == logged(tmp_path)
    door.shutdown()
    door.server_close()


@pytest.mark.slow
def test_start_logging_takes_over_and_both_runs_end(tmp_path, train, instrumented, database):
    taking = """
    main()
    import tracelet_otel as tracelet
    with tracelet.start_logging("second", config={"export_interval": 0.2}):
        main()
"""
    train.write_text(train.read_text().replace("\n    main()\n", taking))
    child = instrumented(train, "mlflow", TRACELET_STOP_TIMEOUT="20")
    assert child.returncode == 0, child.stderr
    # The first begins when it is exported, which may be after the second.
    first, second = sorted(stored_runs(database), key=lambda run: run.name == "second")
    assert (first.status, second.status, second.name) == ("FINISHED", "FINISHED", "second")
    assert first.multiset == second.multiset
    assert "waiting for delivery" not in child.stderr


# As Python 3.12 has it: an interpreter that exits starts no more threads.
NO_THREADS_AT_EXIT = """
import atexit, threading
def refuse(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")
atexit.register(lambda: setattr(threading.Thread, "start", refuse))
"""


@pytest.mark.slow
@pytest.mark.parametrize("relay", ["true", "false"])
def test_an_interpreter_that_starts_no_threads_at_its_exit(tmp_path, train, instrumented, database, relay):
    train.write_text(train.read_text() + NO_THREADS_AT_EXIT)
    more = {"OTEL_METRIC_EXPORT_INTERVAL": "60000", "TRACELET_TRACK_SYSTEM": "true", "TRACELET_RELAY": relay}
    child = instrumented(train, "mlflow", **more)
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.status == "FINISHED"
    found = [point[:3] for point in stored.points if not point[0].startswith("system/")]
    assert Counter(found) == logged(tmp_path)


@pytest.mark.slow
def test_a_killed_script_is_closed_as_killed(tmp_path, database):
    script = tmp_path / "train.py"
    script.write_text(
        """
import lightning.pytorch as pl, time
trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
for step in range(100):
    trainer._logger_connector.log_metrics({"loss": step / 3}, step=step)
print("ready", flush=True)
time.sleep(600)
"""
    )
    environment = surroundings("mlflow")
    # opentelemetry-instrument becomes the script (execl): the child is the training itself.
    with subprocess.Popen(command(script), cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            wait_until(lambda: sum(point[0] == "loss" for point in _points(database)) == 100, 60, "all values")
        finally:
            child.kill()
    wait_until(lambda: stored_run(database).status == "KILLED", 60, "the end of the run")


def _points(database: Path):
    try:
        return stored_run(database).points
    except Exception:
        return []
