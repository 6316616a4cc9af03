from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tracelet_otel
from tests.support.waiting import answers, free_port, wait_until

# How fast a machine is, is not tested: one that has just been cloned to takes seconds to draw a first text.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_NOTHING_IS_SKIPPED = "TRACELET_NO_SKIPS" in os.environ


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where CI runs, what every machine is to have is there: who skips a test has failed it."""
    report = yield
    if _NOTHING_IS_SKIPPED and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped, and nothing may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: MLflow takes seconds to make one."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, no settings in the environment, and no run left behind."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TRACELET_", "OTEL_", "MLFLOW_", "WANDB_", "CLEARML_")):
            monkeypatch.delenv(name)
    # What a test compares is what was logged; tests of GPU and host ask for them.
    monkeypatch.setenv("TRACELET_TRACK_SYSTEM", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # No report of an error leaves the machine, and no session lands in somebody's home.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml"))
    monkeypatch.setenv("TRACELET_JOURNAL_DIR", str(tmp_path / "journals"))
    yield
    left = tracelet_otel.get_active_run()
    tracelet_otel.stop_logging()
    assert left is None, "the test left a run active"


@pytest.fixture
def database(tmp_path: Path, migrated_database: Path) -> Path:
    """A fresh MLflow database at the default place."""
    return shutil.copy(migrated_database, tmp_path / "mlflow.db")


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a child process, in the test's directory."""

    def run(script: str, *arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        path.write_text(script)
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@dataclass(frozen=True)
class MlflowServer:
    uri: str
    database: Path


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[MlflowServer]:
    """A real MLflow server on loopback."""
    home = tmp_path_factory.mktemp("server")
    database = Path(shutil.copy(migrated_database, home / "mlflow.db"))
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(home / "artifacts")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
        try:
            uri = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{uri}/health") or server.poll() is not None, 90, "the server's start")
            assert server.poll() is None, (home / "log").read_text()
            yield MlflowServer(uri, database)
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
