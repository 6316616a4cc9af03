from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.backends import ClearmlOffline, ClearmlOnline, Mlflow, WandbOffline, WandbOnline
from tests.support.clearml_server import ClearmlServer
from tests.support.wandb_server import WandbServer
from tracelet_otel import semconv
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.testing import ContractBackend


@pytest.fixture
def identity() -> RunIdentity:
    run_id = uuid.uuid4().hex
    attributes = {semconv.RUN_ID: run_id, semconv.PROJECT_NAME: "name of the project", semconv.PROCESS_OWNER: "ada"}
    return RunIdentity(run_id, "name of the run", "name of the project", attributes)


def _nothing() -> None:
    """Most trackers live in this process."""


@pytest.fixture
def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContractBackend]:
    """The place that a test names."""
    made = make_backend(request.param, request, tmp_path, monkeypatch)
    yield made
    for tracker in made.opened:
        # One in a process of its own would be started again to be closed again.
        if getattr(tracker, "process", tracker) is not None:
            with contextlib.suppress(Exception):
                tracker.close(None)
            getattr(tracker, "end", _nothing)()


def make_backend(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ContractBackend:
    if place == "MLflow on SQLite":
        database = request.getfixturevalue("database")
        return Mlflow(f"sqlite:///{database}", database)
    if place == "MLflow server":
        server = request.getfixturevalue("mlflow_server")
        return Mlflow(server.uri, server.database)
    if place == "W&B offline":
        return WandbOffline(tmp_path)
    if place == "W&B server":
        return WandbOnline(request.getfixturevalue("wandb_server"))
    if place == "ClearML offline":
        return ClearmlOffline(tmp_path / "clearml")
    server = request.getfixturevalue("clearml_server")
    monkeypatch.setenv("CLEARML_API_HOST", server.uri)
    monkeypatch.setenv("CLEARML_FILES_HOST", server.uri)
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", server.secret_key)
    return ClearmlOnline(server)


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    server = WandbServer()
    yield server
    server.stop()


@pytest.fixture
def clearml_server() -> Iterator[ClearmlServer]:
    server = ClearmlServer()
    yield server
    server.stop()


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[WandbOffline]:
    """W&B without a server."""
    made = WandbOffline(tmp_path)
    yield made
    for tracker in made.opened:
        tracker.end()  # type: ignore[attr-defined]  # it is a process


@pytest.fixture
def online(wandb_server: WandbServer) -> Iterator[WandbOnline]:
    """W&B with a server."""
    made = WandbOnline(wandb_server)
    yield made
    for tracker in made.opened:
        tracker.end()  # type: ignore[attr-defined]  # it is a process
