"""The real OpenTelemetry Collector, on loopback, forwarding to a receiver of the test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.waiting import free_port, wait_until

# At import: no setting of the environment is left while a test runs.
_PATH = os.pathsep.join([os.environ.get("TRACELET_TOOLS", ""), os.environ["PATH"]])


def tool(name: str) -> str:
    """A program for integration tests; the test is skipped where there is none."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is neither on PATH nor in the directory that TRACELET_TOOLS names")
    return found


class Collector:
    """A collector that takes OTLP and forwards it; where it was started again, it has the same ports.

    Args:
        home: for its configuration and its log.
        forward_to: OTLP/HTTP endpoint without a path.
        headers: that it sends with what it forwards.
        batch_ms: for how long it collects before it forwards; None forwards each request before it is answered.
        memory_limit_mib: above which it takes nothing.
        signals: what it takes.
    """

    def __init__(
        self,
        home: Path,
        forward_to: str,
        headers: Mapping[str, str] | None = None,
        batch_ms: int | None = None,
        memory_limit_mib: int | None = None,
        signals: tuple[str, ...] = ("metrics",),
    ) -> None:
        self._program = tool("otelcol")
        self._home = home
        self._ports = {"grpc": free_port(), "http": free_port()}
        self._process: subprocess.Popen[bytes] | None = None
        processors = {}
        pipelines = {}
        if memory_limit_mib is not None:
            processors["memory_limiter"] = {"check_interval": "100ms", "limit_mib": memory_limit_mib}
        if batch_ms is not None:
            processors["batch"] = {"timeout": f"{batch_ms}ms"}
        for signal in signals:
            pipelines[signal] = {"receivers": ["otlp"], "processors": list(processors), "exporters": ["otlp_http"]}
        self._config = {
            "receivers": {
                "otlp": {
                    "protocols": {protocol: {"endpoint": f"127.0.0.1:{port}"} for protocol, port in self._ports.items()}
                }
            },
            "processors": processors,
            "exporters": {
                "otlp_http": {
                    "endpoint": forward_to,
                    "headers": dict(headers or {}),
                    "sending_queue": {"enabled": batch_ms is not None},
                    "retry_on_failure": {"enabled": batch_ms is not None, "initial_interval": "100ms"},
                }
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": pipelines,
            },
        }

    def endpoint(self, protocol: str) -> str:
        """Where it takes `grpc` or `http/protobuf`, as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
        return f"http://127.0.0.1:{self._ports[protocol.partition('/')[0]]}"

    @property
    def log(self) -> str:
        return (self._home / "collector.log").read_text()

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        config = self._home / "collector.json"
        config.write_text(json.dumps(self._config))
        with (self._home / "collector.log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [self._program, "--config", str(config)], stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: self._listens() or process.poll() is not None, 60, "the collector's start")
        assert process.poll() is None, self.log

    def stop(self) -> None:
        """Let it end in order; it forwards what it has."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        """Take it away in mid-run."""
        self._end(lambda process: process.kill())

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            how(process)
            process.wait(30)

    def _listens(self) -> bool:
        for port in self._ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True
