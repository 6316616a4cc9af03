from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tracelet_otel.exporters.otlp_settings import GRPC, HTTP

ROOT = Path(__file__).parents[2]
RECEIVERS = {GRPC: GrpcReceiver, HTTP: HttpReceiver}


@pytest.fixture(params=RECEIVERS)
def protocol(request, monkeypatch):
    """Each protocol in turn, as the environment names it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
    return request.param


@pytest.fixture
def receiver(protocol):
    """An endpoint of that protocol."""
    receiver = RECEIVERS[protocol]()
    yield receiver
    receiver.stop()


@pytest.fixture
def backend():
    """What a collector forwards to."""
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def child(tmp_path):
    """Runs a script in a child process that can import the tests.

    A line in `when_it_says` is answered with a call, and then with a line on its standard input.
    """

    def run(script, *arguments, protocol, when_it_says=None):
        path = tmp_path / "script.py"
        path.write_text(script)
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            env={**os.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = ""
        for line, call in (when_it_says or {}).items():
            while line not in said and (more := process.stdout.readline()):
                said += more
            call()
            process.stdin.write("\n")
            process.stdin.flush()
        stdout, stderr = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, said + stdout, stderr)

    return run
