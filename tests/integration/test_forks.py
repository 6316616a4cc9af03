"""Processes that a training forks: they hang at nothing that we do, and do nothing for us."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tracelet_otel.exporters.otlp.settings import GRPC, HTTP

pytestmark = pytest.mark.usefixtures("with_time")

Run = Callable[..., "CompletedProcess[str]"]


@pytest.mark.cold
@pytest.mark.parametrize("protocol", [HTTP, pytest.param(GRPC, marks=pytest.mark.slow)])
def test_no_thread_of_ours_imports_anything(tmp_path: Path, database: Path, run: Run, protocol: str) -> None:
    """A process that is forked while a thread imports would wait for that import for good."""
    receiver = {HTTP: HttpReceiver, GRPC: GrpcReceiver}[protocol]()
    told = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    child = run("imports_of_threads.py", "mlflow,otlp", **told)
    receiver.stop()
    assert child.returncode == 0, child.stderr
    assert json.loads((tmp_path / "imported.json").read_text()) == []


@pytest.mark.slow
@pytest.mark.cold
@pytest.mark.parametrize("attempt", range(3))
def test_a_pool_is_forked_right_after_the_start(database: Path, run: Run, attempt: int) -> None:
    child = run("forked_pool.py", timeout=120)
    assert (child.returncode, child.stdout.splitlines()[-1]) == (0, "[0, 1]"), child.stderr


@pytest.mark.slow
def test_a_worker_of_a_process_without_a_run_says_nothing(run: Run) -> None:
    child = run("trains_in_workers.py", METHOD="spawn")
    assert (child.returncode, child.stdout) == (0, "[0, 1]\n"), child.stderr
    assert "is not recorded" not in child.stderr


def test_a_forked_worker_has_no_threads_of_ours(tmp_path: Path, database: Path, run: Run) -> None:
    child = run("threads_of_workers.py")
    assert child.returncode == 0, child.stderr
    assert [json.loads((tmp_path / f"threads.{worker}").read_text()) for worker in range(2)] == [["MainThread"]] * 2
