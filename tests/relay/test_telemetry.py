"""A relay sends its own metrics to the collector that the environment names, and lets nothing wait for that."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import tracelet_otel as tracelet
from tests.relay.simulated import Rank
from tests.support.collector import Collector
from tests.support.mlflow_store import multiset, stored_run
from tests.support.otlp_receiver import HttpReceiver
from tests.support.relays import ended_clean, relays
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import free_port, wait_until
from tracelet_otel import semconv
from tracelet_otel.exporters.otlp.exporter import collector_variables
from tracelet_otel.protocol.requests import by_run, parse
from tracelet_otel.session.calls import Address, HttpConnection

ROWS = 50
NO_ATTRIBUTES = frozenset()
MLFLOW = frozenset({(semconv.TRACKER, "mlflow")})
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def status(code):
    return frozenset({(semconv.HTTP_STATUS_CODE, str(code))})


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def sidecar(tmp_path: Path, database: Path, warm_server: Callable[[], str]) -> Iterator[Relay]:
    """One that is started when its environment is complete."""
    relay = Relay(database, tmp_path, warm_server=warm_server)
    yield relay
    tracelet.stop_logging()
    if relay.process is not None and relay.process.poll() is None:
        relay.end(signal.SIGKILL)


@pytest.fixture
def away(database: Path) -> Iterator[None]:
    """Somebody else keeps the database of the tracker for himself."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


def test_the_relay_of_a_run_by_a_real_collector(tmp_path, database, receiver, monkeypatch):
    collector = Collector(tmp_path, receiver.endpoint)
    collector.start()
    try:
        monkeypatch.setenv(ENDPOINT, collector.endpoint("grpc"))
        run = tracelet.start_logging("watched", config={"export_interval": 0.1, "metrics_interval": 0.1})
        (process,) = relays(tmp_path)
        for step in range(ROWS):
            run.log_metric("loss", step / 2, step)
        wait_until(
            lambda: (
                receiver.points(semconv.RELAY_SERVICE)
                and receiver.points(semconv.RELAY_SERVICE)[-1][semconv.PROCESS_MEMORY_USAGE]
            ),
            30,
            "the first export",
        )
        memory = receiver.points(semconv.RELAY_SERVICE)[-1][semconv.PROCESS_MEMORY_USAGE][NO_ATTRIBUTES]
        assert memory == pytest.approx(process.memory_info().rss, rel=0.5)
        run.stop()
        assert run.errors == {}
        wait_until(lambda: not relays(tmp_path), 30, "the relay's end")
    finally:
        collector.stop()
    assert ended_clean(tmp_path)
    assert stored_run(database).multiset == multiset(("loss", step, step / 2) for step in range(ROWS))
    last = receiver.points(semconv.RELAY_SERVICE)[-1]
    requests = last.pop(semconv.RELAY_REQUESTS)
    assert requests.pop(status(200)) > 0
    assert requests == {status(503): 0}
    assert last.pop(semconv.PROCESS_MEMORY_USAGE)[NO_ATTRIBUTES] > 0
    assert last == {
        semconv.RELAY_READINGS: {NO_ATTRIBUTES: ROWS},
        semconv.RELAY_WAITING: {NO_ATTRIBUTES: 0},
        semconv.RELAY_LATE: {NO_ATTRIBUTES: 0},
        semconv.RELAY_INCOMPLETE: {NO_ATTRIBUTES: 0},
        semconv.RELAY_JOURNAL_SIZE: {NO_ATTRIBUTES: 0},
        semconv.RELAY_UNDELIVERED_AGE: {NO_ATTRIBUTES: 0},
        semconv.RELAY_LAG: {MLFLOW: 0},
        semconv.RELAY_PENDING: {MLFLOW: 0},
        semconv.RELAY_DROPPED: {MLFLOW: 0},
    }
    (about,) = {tuple(sorted(one.items())) for one in receiver.resources}
    told = dict(about)
    assert (told[semconv.SERVICE_NAME], told[semconv.RUN_ID]) == (semconv.RELAY_SERVICE, run.id)
    assert {semconv.SERVICE_INSTANCE_ID, semconv.HOST_NAME, semconv.PROCESS_PID} <= told.keys()


def test_a_relay_of_many_runs_whose_tracker_is_down(sidecar, receiver, away, monkeypatch):
    monkeypatch.setenv(ENDPOINT, receiver.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("TRACELET_METRICS_INTERVAL", "0.1")
    sidecar.start()
    address = Address(f"http://127.0.0.1:{sidecar.port}", TOKEN)
    ages_s = {"a": 1000, "b": 5000}
    with HttpConnection() as connection:
        for run_id, age_s in ages_s.items():
            rank = Rank(0, run_id=run_id, world_size=1)
            rank._time = round((time.time() - age_s) * 1e9)
            rank.record(0, loss=0.5)
            rank.record(1, loss=0.25)
            assert connection.post(address, rank.request().SerializeToString()).status == 200
        assert connection.post(Address(address.endpoint, "wrong"), b"").status == 401

    def last():
        return (receiver.points(semconv.RELAY_SERVICE) or [{}])[-1]

    wait_until(lambda: last().get(semconv.RELAY_PENDING) == {MLFLOW: 4}, 30, "the figures of both runs")
    wait_until(lambda: status(401) in last()[semconv.RELAY_REQUESTS], 30, "the last request")
    found = last()
    assert found[semconv.RELAY_REQUESTS] == {status(200): 2, status(401): 1, status(503): 0}
    assert found[semconv.RELAY_READINGS] == {NO_ATTRIBUTES: 4}
    assert found[semconv.RELAY_LAG] == {MLFLOW: pytest.approx(5000, abs=60)}
    assert found[semconv.RELAY_UNDELIVERED_AGE] == {NO_ATTRIBUTES: pytest.approx(5000, abs=60)}
    held = sum(path.stat().st_size for path in (sidecar.directory / "journals/sidecar").glob("*.journal*"))
    assert 0 < found[semconv.RELAY_JOURNAL_SIZE][NO_ATTRIBUTES] <= held
    assert not any(semconv.RUN_ID in one for one in receiver.resources)
    assert sidecar.process is not None
    assert found[semconv.PROCESS_MEMORY_USAGE][NO_ATTRIBUTES] == pytest.approx(
        psutil.Process(sidecar.process.pid).memory_info().rss, rel=0.5
    )


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("ill", ["nobody there", "hangs"])
def test_a_collector_that_is_down_delays_no_end_and_fills_no_log(sidecar, receiver, monkeypatch, ill, protocol):
    receiver.ill = ill
    endpoint = receiver.endpoint if ill == "hangs" else f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(ENDPOINT, endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("TRACELET_METRICS_INTERVAL", "0.05")
    sidecar.start()
    assert sidecar.process is not None
    began_s = time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > 1, 30, "twenty exports")
    began_s = time.monotonic()
    assert sidecar.end() == 0
    assert time.monotonic() - began_s < 3
    said = [
        line
        for line in sidecar.log.splitlines()
        if ("127.0.0.1" in line and "otlp" in line.lower()) or "takes nothing" in line
    ]
    assert len(said) <= 3, sidecar.log


def test_variables_that_are_malformed_stand_in_no_relay_s_way(sidecar, monkeypatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier/pigeon")
    sidecar.start()
    wait_until(lambda: "the relay's own metrics are not exported" in sidecar.log, 30, "the warning")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: unknown value 'carrier/pigeon'" in sidecar.log
    assert sidecar.end() == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, set()),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, set()),
        ({ENDPOINT: " "}, set()),
        ({ENDPOINT: "http://c", "OTEL_SDK_DISABLED": "true"}, set()),
        ({ENDPOINT: "http://c", "OTEL_METRICS_EXPORTER": "none"}, set()),
        ({ENDPOINT: "http://c", "OTEL_METRICS_EXPORTER": "mlflow"}, set()),
        ({ENDPOINT: "http://c", "OTEL_METRICS_EXPORTER": "mlflow,otlp"}, {ENDPOINT}),
        ({ENDPOINT: "http://c", "OTEL_SERVICE_NAME": "mine", HEADERS: "a=b"}, {ENDPOINT, HEADERS}),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}),
    ],
)  # fmt: skip
def test_which_variables_name_a_collector(monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert collector_variables() == {name: os.environ[name] for name in expected}


def test_a_relay_takes_the_metrics_of_a_relay_for_no_run(receiver, sidecar, monkeypatch):
    """A collector before a relay may have the relay's own metrics as well."""
    rank = Rank(0, run_id="r1")
    request = rank.request()
    (resource,) = request.resource_metrics
    assert list(by_run(parse(request.SerializeToString()))) == ["r1"]
    resource.resource.attributes.add(key=semconv.SERVICE_NAME).value.string_value = semconv.RELAY_SERVICE
    assert by_run(parse(request.SerializeToString())) == {}
