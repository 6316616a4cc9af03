"""Real servers for benchmarks: MLflow's, a relay, and a collector that throws away what it takes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from benchmarks.child import environment
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import answers, free_port, wait_until

from tracelet_otel.session.calls import Address


@contextlib.contextmanager
def mlflow_server(home: Path) -> Iterator[str]:
    """An MLflow server on SQLite; gives its address."""
    # It would start eight processes for evaluations, whose imports go on while the first cases are measured.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home}/server.db",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 90, "the server's start")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def mlflow_database(home: Path) -> Path:
    """An empty database of MLflow's. Its tables are made once, by its first user, which takes seconds."""
    made = "import mlflow; mlflow.MlflowClient('sqlite:///empty.db').search_experiments()"
    subprocess.run([sys.executable, "-c", made], cwd=home, capture_output=True, check=True)
    return home / "empty.db"


@contextlib.contextmanager
def relay(home: Path, database: Path) -> Iterator[tuple[Address, psutil.Process]]:
    """A relay of many runs, as people start it by hand; gives its address and its process.

    Args:
        home: a directory for its journals and its log.
        database: MLflow's, into which it writes.
    """
    one = Relay(database, home, environment=environment())
    one.start()
    assert one.process is not None
    try:
        yield Address(f"http://127.0.0.1:{one.port}", TOKEN), psutil.Process(one.process.pid)
    finally:
        one.end()


def used_s(process: psutil.Process) -> float:
    """Processor time of a process so far."""
    return float(sum(process.cpu_times()[:2]))


def memory_mib(process: psutil.Process) -> float:
    """Physical memory of a process now."""
    return float(process.memory_info().rss / 2**20)


@contextlib.contextmanager
def collector(home: Path) -> Iterator[str]:
    """The real collector; gives its gRPC endpoint."""
    program = shutil.which("otelcol", path=os.pathsep.join([os.environ.get("TRACELET_TOOLS", ""), os.environ["PATH"]]))
    if program is None:
        raise SystemExit("otelcol is needed: on PATH, or in the directory that TRACELET_TOOLS names")
    port = free_port()
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["nop"]}},
        },
    }
    (home / "collector.json").write_text(json.dumps(config))
    with (home / "collector.log").open("wb") as log:
        process = subprocess.Popen([program, "--config", str(home / "collector.json")], stdout=log, stderr=log)
    try:
        wait_until(lambda: b"Everything is ready" in (home / "collector.log").read_bytes(), 60, "the collector's start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
