from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import tracelet_otel
from tests.support import services
from tests.support.waiting import answers, free_port, wait_until
from tests.support.warm import FOR_RELAYS, FOR_TRAININGS, Child, fork_relays, start_child, start_server

# How fast a machine is, is not tested: one that has just been cloned to takes seconds to draw a first text.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_ENDS_SERVICES = pytest.StashKey[bool]()
_NOTHING_IS_SKIPPED = "TRACELET_NO_SKIPS" in os.environ


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI runs, what every machine is to have is there: who skips a test has failed it."""
    report = yield
    if _NOTHING_IS_SKIPPED and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped, and nothing may be: {report.longrepr}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ENDS_SERVICES] = services.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash[_ENDS_SERVICES]:
        services.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the time went; a worker's seconds are no others' while it waits."""
    seconds: dict[str, float] = defaultdict(float)
    tests: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                room = str(Path(report.location[0]).parent)
                seconds[room] += report.duration
                tests[room] += report.when == "call"
    terminalreporter.section("seconds by directory")
    for room, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{spent:7.1f} s  {tests[room]:5} tests  {room}")


@pytest.fixture(scope="session")
def migrated_database() -> Path:
    """An empty MLflow database: MLflow takes seconds to make one."""

    def make(home: Path) -> dict[str, Any]:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{home}/mlflow.db").search_experiments()
        return {"path": f"{home}/mlflow.db"}

    return Path(services.shared("database", make)["path"])


@pytest.fixture(scope="session")
def warm_server() -> Callable[[], str]:
    """Starts the server of warm scripts, if that has not been done; returns the path of its socket."""
    return lambda: str(services.shared("scripts", lambda home: start_server(home, *FOR_TRAININGS))["socket"])


@pytest.fixture(scope="session")
def relay_server() -> Callable[[], str]:
    """Starts the server of warm relays, if that has not been done; returns the path of its socket."""
    return lambda: str(services.shared("relays", lambda home: start_server(home, *FOR_RELAYS))["socket"])


@pytest.fixture
def is_cold(request: pytest.FixtureRequest) -> bool:
    """Whether the test is about how processes come to be, so that each is a new interpreter."""
    return request.node.get_closest_marker("cold") is not None


@pytest.fixture(autouse=True)
def warm_relays(is_cold: bool, relay_server: Callable[[], str]) -> Iterator[None]:
    """Relays come from the warm server, but for tests that are marked as cold."""
    if is_cold:
        yield
        return
    undo = fork_relays(relay_server)
    yield
    undo()


@pytest.fixture
def with_time(clean_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time goes is measured, as it is by default."""
    monkeypatch.delenv("TRACELET_TRACK_TIME")


@pytest.fixture
def with_environment(clean_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of where a run runs is recorded, as it is by default."""
    monkeypatch.delenv("TRACELET_TRACK_ENVIRONMENT")


@pytest.fixture
def with_screen(clean_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run says when it begins and how it ends, as it does by default."""
    monkeypatch.delenv("TRACELET_QUIET")


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, no settings in the environment, and no run left behind."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("TRACELET_", "OTEL_", "MLFLOW_", "WANDB_", "CLEARML_")):
            monkeypatch.delenv(name)
    # What a test compares is what was logged; tests of GPU and host, of time, and of where a run runs, ask for these.
    monkeypatch.setenv("TRACELET_TRACK_SYSTEM", "false")
    monkeypatch.setenv("TRACELET_TRACK_ENVIRONMENT", "false")
    monkeypatch.setenv("TRACELET_TRACK_TIME", "false")
    # What a script prints is compared with what it prints without us.
    monkeypatch.setenv("TRACELET_QUIET", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # No report of an error leaves the machine, and no session lands in somebody's home.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml"))
    monkeypatch.setenv("TRACELET_JOURNAL_DIR", str(tmp_path / "journals"))
    yield
    left = tracelet_otel.get_active_run()
    tracelet_otel.stop_logging()
    _restore_loaders()
    assert left is None, "the test left a run active"


def _restore_loaders() -> None:
    """Undo what Lightning leaves on the classes of loaders where two threads train at once, or a launch raises.

    It wraps their `__init__` while it looks for loaders, and a class that stays wrapped breaks a later `predict`.
    """
    if (data := sys.modules.get("torch.utils.data")) is None:
        return
    classes = [data.DataLoader, data.BatchSampler]
    for cls in classes:
        classes += [one for one in cls.__subclasses__() if one not in classes]
        for name in ("__init__", "__setattr__", "__delattr__"):
            method = cls.__dict__.get(name)
            while getattr(getattr(method, "__code__", None), "co_filename", "").endswith("fabric/utilities/data.py"):
                method = method.__wrapped__
                setattr(cls, name, method)


@pytest.fixture
def database(tmp_path: Path, migrated_database: Path) -> Path:
    """A fresh MLflow database at the default place."""
    return Path(shutil.copy(migrated_database, tmp_path / "mlflow.db"))


@pytest.fixture
def start(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    is_cold: bool,
    warm_server: Callable[[], str],
    relay_server: Callable[[], str],
) -> Callable[..., Child]:
    """Starts a script in a child process, which finds the tests' modules.

    The script is a file of the directory `scripts` beside the test, or a path. Its process comes from the warm
    server; in a test that is marked as cold it is a new interpreter.
    """
    scripts = request.path.parent / "scripts"

    def start(
        script: str | Path, *arguments: object, cwd: Path = tmp_path, stdin: Any = None, output: Any = None,
        **environment: str,
    ) -> Child:  # fmt: skip
        stream = subprocess.PIPE if output is None else output
        return start_child(
            None if is_cold else warm_server(),
            [str(scripts / script), *map(str, arguments)],
            relays="" if is_cold else relay_server(),
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(request.config.rootpath), **environment},
            stdin=stdin,
            stdout=stream,
            stderr=stream,
        )

    return start


@pytest.fixture
def run(start: Callable[..., Child]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script to its end, as `start` starts it."""

    def run(
        script: str | Path, *arguments: object, timeout: float = 240, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        child = start(script, *arguments, **options)
        output, errors = child.communicate(timeout=timeout)
        return subprocess.CompletedProcess(child.args, child.wait(), output, errors)

    return run


@dataclass(frozen=True)
class MlflowServer:
    uri: str
    database: Path


@pytest.fixture(scope="session")
def mlflow_server(migrated_database: Path) -> MlflowServer:
    """A real MLflow server on loopback."""

    def start(home: Path) -> dict[str, Any]:
        database = shutil.copy(migrated_database, home / "mlflow.db")
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{database}"]
        command += ["--artifacts-destination", str(home / "artifacts")]
        # It would start further processes for evaluations, each with all imports.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = services.launch(home, command, cwd=home, env=environment)
        uri = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{uri}/health") or server.poll() is not None, 90, "the server's start")
        assert server.poll() is None, (home / "log").read_text()
        return {"uri": uri, "database": str(database)}

    facts = services.shared("mlflow", start)
    return MlflowServer(facts["uri"], Path(facts["database"]))
