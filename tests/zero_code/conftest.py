from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import zero_code
from tests.support.collector import Collector
from tests.support.mlflow_store import StoredRun, stored_run
from tests.support.otlp_receiver import HttpReceiver
from tests.support.warm import Child, start_child
from tracelet_otel import semconv

SCRIPTS = Path(__file__).with_name("scripts")

Instrumented = Callable[..., subprocess.CompletedProcess[str]]
ByFacade = Callable[..., StoredRun]


@pytest.fixture
def start_instrumented(is_cold: bool, start: Callable[..., Child], tmp_path: Path) -> Callable[..., Child]:
    """Starts a script as `opentelemetry-instrument` does, with `OTEL_METRICS_EXPORTER`.

    In a test that is marked as cold it is that command itself.
    """

    def start_instrumented(script: str, exporters: str, output: Any = None, **environment: str) -> Child:
        # These scripts are in our own repository, which is large: it is not what is tested.
        told = {**zero_code.variables(exporters), "TRACELET_TRACK_GIT": "false", **environment}
        if not is_cold:
            return start(zero_code.INSTRUMENTED, SCRIPTS / script, output=output, **zero_code.as_command(told))
        command = [*zero_code.COMMAND, str(SCRIPTS / script)]
        stream = subprocess.PIPE if output is None else output
        return subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **told}, stdout=stream, stderr=stream, text=True
        )

    return start_instrumented


@pytest.fixture
def instrumented(start_instrumented: Callable[..., Child]) -> Instrumented:
    """Runs a script to its end, as `start_instrumented` starts it."""

    def instrumented(script: str, exporters: str, **options: Any) -> subprocess.CompletedProcess[str]:
        child = start_instrumented(script, exporters, **options)
        output, errors = child.communicate(timeout=240)
        return subprocess.CompletedProcess(child.args, child.wait(), output, errors)

    return instrumented


@pytest.fixture
def by_facade(
    tmp_path: Path, migrated_database: Path, warm_server: Callable[[], str], relay_server: Callable[[], str]
) -> ByFacade:
    """The run that `start_logging` makes of the training; that process is a warm one in each test."""
    home = tmp_path / "facade"
    home.mkdir()
    (home / "mlflow.db").write_bytes(migrated_database.read_bytes())

    def run(**environment: str) -> StoredRun:
        child = start_child(
            warm_server(),
            [str(SCRIPTS / "by_facade.py")],
            cwd=home,
            env={**os.environ, "TRACELET_TRACK_GIT": "false", **environment},
            stderr=subprocess.PIPE,
            relays=relay_server(),
        )
        _, errors = child.communicate(timeout=240)
        assert child.returncode == 0, errors
        return stored_run(home / "mlflow.db")

    return run


@pytest.fixture(scope="module")
def collector_and_backend(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Collector, HttpReceiver]]:
    receiver = HttpReceiver()
    made = Collector(tmp_path_factory.mktemp("collector"), receiver.endpoint)
    made.start()
    yield made, receiver
    made.stop()
    receiver.stop()


@pytest.fixture
def collector(collector_and_backend: tuple[Collector, HttpReceiver]) -> Collector:
    """The real collector in front of `backend`; it forwards each request before it answers."""
    return collector_and_backend[0]


@pytest.fixture
def backend(collector_and_backend: tuple[Collector, HttpReceiver]) -> HttpReceiver:
    """What the collector forwards to; it has nothing yet."""
    receiver = collector_and_backend[1]
    receiver.forget()
    return receiver


def logged_rows(tmp_path: Path) -> list[tuple[dict[str, float], int]]:
    rows: list[tuple[dict[str, float], int]] = json.loads((tmp_path / "rows.json").read_text())
    return rows


def logged(tmp_path: Path) -> Counter[tuple[str, int, float]]:
    """Name, step and value of all that the script's own logger got."""
    return Counter((name, step, value) for values, step in logged_rows(tmp_path) for name, value in values.items())


def last_logged(tmp_path: Path) -> dict[str, float]:
    return {name: value for values, _ in logged_rows(tmp_path) for name, value in values.items()}


def arrived(backend: HttpReceiver) -> dict[tuple[str, int | None], float]:
    """The last value of each logged series: by exact name and rank."""
    found = {}
    for request in list(backend.requests):
        for resource in request.resource_metrics:
            own = {one.key: one.value.int_value for one in resource.resource.attributes if one.key == semconv.RANK}
            for scope in resource.scope_metrics:
                for metric in scope.metrics if scope.scope.name == semconv.SCOPE_LOGGED else ():
                    for point in metric.gauge.data_points:
                        told = {one.key: one.value for one in point.attributes}
                        rank = told[semconv.RANK].int_value if semconv.RANK in told else own.get(semconv.RANK)
                        found[told[semconv.METRIC_NAME].string_value, rank] = point.as_double
    return found


def run_ids(backend: HttpReceiver) -> set[str]:
    return {told[semconv.RUN_ID] for told, _ in resources(backend) if semconv.RUN_ID in told}


def resources(backend: HttpReceiver) -> list[tuple[dict[str, str], set[str]]]:
    """Of each resource that came: its attributes that are text, and the scopes of what was measured there."""
    return [
        (
            {one.key: one.value.string_value for one in found.resource.attributes if one.value.string_value},
            {scope.scope.name for scope in found.scope_metrics},
        )
        for request in list(backend.requests)
        for found in request.resource_metrics
    ]
