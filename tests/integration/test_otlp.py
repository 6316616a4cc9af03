"""`start_logging(backend="otlp")`: the stream itself, to a real collector."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

import tracelet_otel as tracelet
from tests.support.collector import Collector
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.otlp_receiver import HttpReceiver
from tests.support.recording import recording_logger
from tests.support.trainings import TRAININGS, namespace
from tests.support.waiting import free_port, wait_until
from tracelet_otel import ConfigurationError, semconv

CONFIG = {"export_interval": 0.1}
END_S = 5.0
SLACK_S = 3.0


@pytest.fixture
def backend() -> Iterator[HttpReceiver]:
    """What a collector forwards to."""
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def collector(tmp_path, backend):
    made = Collector(tmp_path, backend.endpoint)
    made.start()
    yield made
    made.stop()


def rows_of(logger) -> Counter:
    return Counter((name, step, value) for values, step in logger.rows for name, value in values.items())


def arrived(backend) -> Counter:
    """Each sample once: one whose answer was lost comes again, with the same number."""
    return Counter((name, step, value) for name, step, value, *_ in sorted(set(backend.samples)))


@pytest.mark.parametrize("relay", [True, False])
def test_beside_a_tracker(tmp_path, database, collector, backend, relay):
    pl = namespace("lightning.pytorch")
    logger = recording_logger(pl)
    config = {**CONFIG, "relay": relay, "track_system": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint("grpc"))
        run = tracelet.start_logging("both", "the project", ["mlflow", "otlp"], config=config)
    # Kept: of a trainer that is gone there is no step.
    trainer = TRAININGS["one validation loader"](pl, logger)
    tracelet.stop_logging()
    assert trainer.state.finished
    expected = rows_of(logger)
    assert arrived(backend) == expected
    found = Counter(point[:3] for point in stored_run(database).points if not point[0].startswith("system/"))
    assert found == expected
    assert run.errors == {}
    assert run.urls["otlp"] == collector.endpoint("grpc")
    assert (run.accounts["otlp"].delivered, run.accounts["otlp"].pending) == (expected.total(), 0)
    resources = [one for one in backend.resources if one]
    assert {one[semconv.RUN_ID] for one in resources} == {run.id}
    assert {one[semconv.RUN_NAME] for one in resources} == {"both"}
    names = {metric.name for metric in backend.metrics}
    assert {"process.memory.usage", "system.cpu.time", semconv.RUN_OUTCOME, semconv.GLOBAL_STEP} <= names
    assert semconv.SYSTEM_READING not in names


def test_alone_nothing_else_is_started(tmp_path, collector, backend):
    with tracelet.start_logging("alone", backend="otlp", backend_url=collector.endpoint("grpc"), config=CONFIG) as run:
        run.log_params({"lr": 0.5})
        for step in range(300):
            run.log_metric("loss", step / 7, step)
    assert arrived(backend) == Counter(("loss", step, step / 7) for step in range(300))
    assert run.accounts.keys() == {"otlp"}
    assert {path.name for path in tmp_path.iterdir()} <= {"collector.json", "collector.log", "home"}


def test_a_collector_that_comes_late_and_goes_in_between_loses_nothing(tmp_path, backend):
    collector = Collector(tmp_path, backend.endpoint)
    run = tracelet.start_logging("late", backend="otlp", backend_url=collector.endpoint("grpc"), config=CONFIG)
    for step in range(100):
        run.log_metric("loss", step / 7, step)
    collector.start()
    wait_until(lambda: arrived(backend).total() == 100, 60, "what was logged before")
    collector.kill()
    for step in range(100, 200):
        run.log_metric("loss", step / 7, step)
    collector.start()
    run.stop()
    collector.stop()
    assert arrived(backend) == Counter(("loss", step, step / 7) for step in range(200))
    assert (run.accounts["otlp"].delivered, run.accounts["otlp"].pending) == (200, 0)


def test_without_a_collector_the_end_is_near_and_the_loss_is_told(database, caplog):
    """The tracker beside it has everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
        run = tracelet.start_logging("down", backend=["mlflow", "otlp"], config=CONFIG)
    for step in range(50):
        run.log_metric("loss", step / 7, step)
    began_s = time.monotonic()
    run.stop()
    assert time.monotonic() - began_s < END_S + SLACK_S
    assert run.accounts["otlp"].pending == 50
    assert run.errors["values were not delivered"] == 50
    assert "50 not delivered" in caplog.text
    assert len(stored_run(database).points) == 50


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ],
)
def test_what_is_wrong_shows_at_the_start(database, monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=message):
        tracelet.start_logging(backend=["mlflow", "otlp"])
    assert tracelet.get_active_run() is None
    assert stored_runs(database) == []
