"""A script that has never heard of us, under the stock `opentelemetry-instrument`.

Where a test is marked as cold, that command starts the script, and Lightning is imported after it. Elsewhere Lightning
was there before.
"""

from __future__ import annotations

import json
import platform
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.clearml_files import session
from tests.support.door import Door
from tests.support.mlflow_files import mlflow_console
from tests.support.mlflow_store import multiset, stored_run, stored_runs
from tests.support.relays import ended_clean
from tests.support.waiting import wait_until
from tests.zero_code.conftest import arrived, last_logged, logged, resources, run_ids
from tracelet_otel import semconv

DETECTED = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet"}


@pytest.mark.parametrize(
    ("protocol", "exporter"),
    [pytest.param("grpc", "otlp", marks=[pytest.mark.cold, pytest.mark.slow]), ("http/protobuf", "otlp_proto_http")],
)
def test_every_logged_metric_arrives_through_a_collector(
    tmp_path, instrumented, collector, backend, protocol, exporter
):
    child = instrumented(
        "train.py",
        exporter,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint(protocol),
        TRACELET_TAGS="team=vision",
        TRACELET_NOTES="a note",
        **DETECTED,
    )
    assert (child.returncode, child.stderr) == (0, "")
    tags = [one for metric in backend.metrics if metric.name == semconv.RUN_TAG for one in metric.gauge.data_points]
    found = [{pair.key: pair.value.string_value for pair in point.attributes} for point in tags]
    assert {point[semconv.TAG_NAME]: point[semconv.TAG_VALUE] for point in found} == {
        "team": "vision",
        semconv.NOTE: "a note",
    }
    assert arrived(backend) == {(name, 0): value for name, value in last_logged(tmp_path).items()}
    assert len(run_ids(backend)) == 1


def test_our_own_logger_belongs_to_the_run_of_the_process(instrumented, database):
    child = instrumented("own_logger.py", "mlflow", TRACELET_PROJECT="zero-code", TRACELET_TRACK_GRADIENTS="6")
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert child.stdout == f"zero-code/{stored.tags[semconv.RUN_ID]}/checkpoints"
    own = [point for point in stored.multiset.elements() if not point[0].startswith(("train/", "rank", "epoch"))]
    norms = [point for point in own if point[0] == semconv.GRAD_NORM]
    assert [step for _, step, _ in norms] == [5, 11]
    assert sorted(set(own) - set(norms)) == [
        ("before", 0, 1.0),
        ("by hand", 5, 3.0),
        ("hp/loss", 0, 0.25),
        ("within", 4, 2.0),
    ]
    assert len(own) == 6
    assert [step for name, step, _ in sorted(stored.multiset.elements()) if name == "rank"] == list(range(12))
    assert (stored.params["depth"], stored.tags["team"]) == ("2", "vision")


@pytest.mark.cold
def test_the_plainest_command_says_of_which_run_everything_is(instrumented, collector, backend):
    """Without the detector: what is shipped for Prometheus and Grafana asks for these."""
    child = instrumented("train.py", "otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"))
    assert (child.returncode, child.stderr) == (0, "")
    (run_id,) = run_ids(backend)
    for told, scopes in resources(backend):
        if {semconv.SCOPE_LOGGED, semconv.SCOPE_RUN, semconv.SCOPE_GPU} & scopes:
            assert told[semconv.RUN_ID] == run_id
            assert told[semconv.RUN_NAME] == f"train-{run_id[:8]}"
            assert told[semconv.HOST_NAME] == platform.node()


@pytest.mark.parametrize(
    ("exporter", "relay"), [pytest.param("mlflow", "true", marks=pytest.mark.cold), ("tracelet", "false")]
)
def test_the_run_in_mlflow_is_that_of_the_facade(tmp_path, instrumented, database, by_facade, exporter, relay):
    described = {"TRACELET_TAGS": "team=vision,baseline", "TRACELET_NOTES": "a note", "TRACELET_GROUP": "width"}
    child = instrumented("train.py", exporter, OTEL_SERVICE_NAME="zero-code", TRACELET_RELAY=relay, **described)
    assert child.returncode == 0, child.stderr
    ours, theirs = stored_run(database), by_facade(TRACELET_PROJECT="zero-code", **described)
    assert ours.multiset == theirs.multiset == logged(tmp_path)
    assert (ours.params, ours.status, ours.experiment) == (theirs.params, theirs.status, theirs.experiment)
    assert (ours.status, ours.experiment) == ("FINISHED", "zero-code")
    assert theirs.params["width"] == "4"
    assert ours.name.startswith("train-")
    assert theirs.tags.keys() <= ours.tags.keys()
    for stored in (ours, theirs):
        tags = [stored.tags[name] for name in ("team", "baseline", "tracelet.run.group")]
        assert (tags, stored.note) == (["vision", "", "width"], "a note")


@pytest.mark.slow
def test_several_backends_and_a_collector(tmp_path, instrumented, database, collector, backend):
    child = instrumented(
        "train.py",
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
def test_backends_of_the_settings_and_others(tmp_path, instrumented, database):
    child = instrumented("train.py", "tracelet", TRACELET_BACKEND="clearml,mlflow", TRACELET_EXP_NAME="both")
    assert child.returncode == 0, child.stderr
    assert (stored_run(database).name, stored_run(database).multiset) == ("both", logged(tmp_path))
    assert len(list((tmp_path / "clearml" / "offline").glob("*.zip"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
def test_two_ranks_are_two_series_and_one_run(instrumented, database, collector, backend, by_facade, strategy):
    """Ranks that are started, and ranks that are copies."""
    child = instrumented(
        "train.py",
        "mlflow,otlp",
        DEVICES="2",
        STRATEGY=strategy,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"),
        **DETECTED,
    )
    assert child.returncode == 0, child.stderr
    series = arrived(backend)
    assert {rank for name, rank in series if name == "train/Loss of a batch"} == {0, 1}
    assert (series["rank", 0], series["rank", 1]) == (0.0, 1.0)
    (run_id,) = run_ids(backend)
    stored = stored_run(database)
    assert stored.tags[semconv.RUN_ID] == run_id
    # However ranks come to be, they compute the same; forked ones come soonest.
    assert stored.multiset == by_facade(DEVICES="2", STRATEGY="ddp_fork").multiset
    assert {name for name, _ in series} == {name for name, *_ in stored.multiset}
    assert {value for name, _, value in stored.multiset if name == "rank"} == {0.5}


@pytest.mark.parametrize(
    ("method", "number"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.slow)], ids=["fork", "spawn"]
)
def test_workers_of_a_dataloader_start_nothing(tmp_path, instrumented, database, collector, backend, method, number):
    # Spawned ones import everything again, each: they are kept for all epochs.
    workers = json.dumps(
        {"num_workers": number, "multiprocessing_context": method, "persistent_workers": method == "spawn"}
    )
    child = instrumented(
        "train.py", "mlflow,otlp", WORKERS=workers, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint("grpc"), **DETECTED
    )
    assert child.returncode == 0, child.stderr
    assert stored_run(database).multiset == logged(tmp_path)
    assert arrived(backend) == {(name, 0): value for name, value in last_logged(tmp_path).items()}


@pytest.mark.cold
def test_a_script_without_lightning_starts_nothing(tmp_path, instrumented):
    child = instrumented("without_lightning.py", "mlflow,wandb,clearml,tracelet", **DETECTED)
    assert (child.returncode, child.stderr, child.stdout) == (0, "", "[] [] []\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}


def test_a_training_that_logs_nothing_creates_nothing(tmp_path, instrumented):
    child = instrumented("logs_nothing.py", "mlflow,clearml")
    assert child.returncode == 0, child.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}


def test_a_relay_that_is_prepared_is_taken_by_a_training_or_ends_with_the_script(tmp_path, instrumented, database):
    for script in ("logs_nothing.py", "train.py"):
        child = instrumented(script, "mlflow", TRACELET_PREPARE="true")
        assert child.returncode == 0, child.stderr
        wait_until(lambda: ended_clean(tmp_path), 30, "the relay's end")
    assert stored_run(database).status == "FINISHED"


def test_a_run_is_as_long_as_its_training(instrumented, database):
    """Though the SDK exports once a minute, which is here once, at the end."""
    before_ms = time.time() * 1e3
    told = {"TRACELET_TRACK_SYSTEM": "true", "TRACELET_TRACK_ENVIRONMENT": "true"}
    child = instrumented("train.py", "mlflow", **told)
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.resource["process.command_args"].endswith("train.py")
    client = MlflowClient(f"sqlite:///{database}")
    assert [one.path for one in client.list_artifacts(stored.run_id)] == ["model_summary.txt", "requirements.txt"]
    first_ms, *_, last_ms = sorted(ms for name, *_, ms in stored.points if not name.startswith("system/"))
    assert before_ms < stored.start_ms < first_ms
    # The trainer goes on for a moment after its last value.
    assert last_ms <= stored.end_ms < time.time() * 1e3
    # GPU and host were read before the end, when nothing new is begun.
    assert any(name.startswith("system/") for name, *_ in stored.points)


@pytest.mark.parametrize("kind", ["fork", pytest.param("spawn", marks=(pytest.mark.cold, pytest.mark.slow))])
@pytest.mark.parametrize("first", ["", "train"])
def test_trainings_of_workers_are_recorded_whether_the_script_trains_or_not(
    tmp_path, instrumented, database, kind, first
):
    script = Path(__file__).parents[1] / "integration" / "scripts" / "pools.py"
    child = instrumented(script, "mlflow", KIND=kind, OURS="0", FIRST=first)
    assert child.returncode == 0, child.stderr
    runs = 5 if first else 2
    wait_until(lambda: all(run.status != "RUNNING" for run in stored_runs(database)), 60, "the end of all runs")
    stored = stored_runs(database)
    # Where the script has no run, each worker has one for all that it trains; one may have done all the work.
    assert len(stored) == runs or (not first and len(stored) == 1)
    numbers = [0, 1, 2, 3, *([9] if first else [])]
    logged = [json.loads((tmp_path / f"rows.{number}.json").read_text()) for number in numbers]
    expected = multiset((name, step, value) for rows in logged for row, step in rows for name, value in row.items())
    assert sum((run.multiset for run in stored), Counter()) == expected
    assert sum("mlflow.parentRunId" in run.tags for run in stored) == (4 if first else 0)
    assert {run.status for run in stored} == {"FINISHED"}


@pytest.mark.parametrize("first", ["", "train"])
def test_workers_are_left_out_where_that_is_asked_for(instrumented, database, first):
    script = Path(__file__).parents[1] / "integration" / "scripts" / "pools.py"
    child = instrumented(script, "mlflow", KIND="fork", OURS="0", FIRST=first, TRACELET_WORKERS="off")
    assert child.returncode == 0, child.stderr
    assert "not recorded" not in child.stderr
    assert len(stored_runs(database)) == (1 if first else 0)


@pytest.mark.cold
def test_no_thread_of_ours_imports_anything(tmp_path, instrumented, database):
    """Nor does one of the SDK for us; see the test of the facade."""
    script = Path(__file__).parents[1] / "integration" / "scripts" / "imports_of_threads.py"
    told = {"TRACELET_TRACK_SYSTEM": "true", "TRACELET_TRACK_ENVIRONMENT": "true"}
    child = instrumented(script, "mlflow", **told, PYTHONPATH=str(Path(__file__).parents[2]))
    assert child.returncode == 0, child.stderr
    assert json.loads((tmp_path / "imported.json").read_text()) == []
    assert stored_run(database).points


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "mlflow"),
        ({}, "none"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "lightning"}, "mlflow"),
    ],
)
def test_what_turns_it_off_does(tmp_path, instrumented, environment, exporters):
    child = instrumented("train.py", exporters, **environment)
    assert (child.returncode, child.stderr) == (0, "")
    assert logged(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"rows.json"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRACELET_BACKEND": "nowhere"}, "unknown backend 'nowhere'; known backends: clearml, mlflow, wandb, otlp"),
        ({"TRACELET_STOP_TIMEOUT": "long"}, "stop_timeout (or TRACELET_STOP_TIMEOUT)"),
        ({"TRACELET_RUN_ID": "nobodys"}, "no run to continue"),
    ],
)
def test_what_is_wrong_is_said_once_and_the_training_goes_on(tmp_path, instrumented, environment, message):
    child = instrumented("train.py", "tracelet", **environment)
    assert child.returncode == 0
    assert logged(tmp_path)
    assert child.stderr.count(message) == 1, child.stderr
    assert "Traceback" not in child.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("ill", "start_timeout"), [("down", "60"), ("hangs", "15")])
def test_a_tracker_that_is_ill_at_the_start_is_waited_for(
    tmp_path, start_instrumented, mlflow_server, ill, start_timeout
):
    door = Door(mlflow_server.uri)
    door.ill = ill
    told = {
        "MLFLOW_TRACKING_URI": door.uri,
        "TRACELET_START_TIMEOUT": start_timeout,
        "TRACELET_EXP_NAME": f"waited for, {ill}",
        # The first export is the one at the end: nothing of the wait is the training's time.
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
    with (tmp_path / "log").open("wb") as log:
        child = start_instrumented("train.py", "mlflow", output=log, **told)
    wait_until(lambda: b"a backend is waited for" in (tmp_path / "log").read_bytes(), 90, "the first attempt")
    door.ill = None
    door.well_again.set()
    assert child.wait(90) == 0
    (run,) = [one for one in stored_runs(mlflow_server.database) if one.name == f"waited for, {ill}"]
    assert run.multiset == logged(tmp_path)
    door.stop()


def test_start_logging_takes_over_and_both_runs_end(instrumented, database):
    child = instrumented("taken_over.py", "mlflow", TRACELET_STOP_TIMEOUT="20")
    assert child.returncode == 0, child.stderr
    # The first begins when it is exported, which may be after the second.
    first, second = sorted(stored_runs(database), key=lambda run: run.name == "second")
    assert (first.status, second.status, second.name) == ("FINISHED", "FINISHED", "second")
    assert first.multiset == second.multiset
    assert "waiting for delivery" not in child.stderr


@pytest.mark.slow
@pytest.mark.parametrize("relay", [pytest.param("true", marks=pytest.mark.cold), "false"])
def test_an_interpreter_that_starts_no_threads_at_its_exit(tmp_path, instrumented, database, relay):
    more = {"OTEL_METRIC_EXPORT_INTERVAL": "60000", "TRACELET_TRACK_SYSTEM": "true", "TRACELET_RELAY": relay}
    child = instrumented("no_threads_at_exit.py", "mlflow", **more)
    assert child.returncode == 0, child.stderr
    stored = stored_run(database)
    assert stored.status == "FINISHED"
    found = [point[:3] for point in stored.points if not point[0].startswith("system/")]
    assert Counter(found) == logged(tmp_path)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, "KILLED"), (signal.SIGSEGV, "FAILED")])
def test_a_killed_script_is_closed_as_killed_and_one_that_crashed_as_failed(
    start_instrumented, database, number, status
):
    child = start_instrumented("waits_to_be_killed.py", "mlflow")
    try:
        assert child.stdout.readline() == "ready\n"
        wait_until(lambda: sum(point[0] == "loss" for point in _points(database)) == 100, 60, "all values")
    finally:
        child.send_signal(number)
        child.communicate()
    wait_until(lambda: stored_run(database).status == status, 60, "the end of the run")
    stack = stored_run(database).tags["mlflow.tracelet.exception.stacktrace"]
    assert ('waits_to_be_killed.py", line 9 in <module>' in stack) == (number == signal.SIGSEGV)


def _points(database: Path) -> list[tuple[str, int, float, int]]:
    return [point for run in stored_runs(database) for point in run.points]


def test_what_a_training_prints_is_recorded_from_its_begin(tmp_path, database, instrumented):
    child = instrumented("fails.py", "mlflow", TRACELET_CONSOLE="true")
    assert child.returncode == 1
    wait_until(lambda: ended_clean(tmp_path), 60, "the relay's end")
    lines = mlflow_console(database)[0]
    # It was printed before the run was open.
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] in child.stderr
