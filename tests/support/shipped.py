"""The real collector with the files that are shipped, on free ports of loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.collector import tool
from tests.support.waiting import free_port, wait_until

SHIPPED = Path(__file__).parents[2] / "collector-config"


class Program:
    """One that runs until it is stopped."""

    def __init__(self, home: Path, name: str) -> None:
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """Of its process, which has to run."""
        assert self._process is not None
        return self._process.pid

    def run(self, command: Sequence[str], environment: Mapping[str, str], port: int) -> None:
        """Start it, and wait until it listens on a port."""
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **environment}, start_new_session=True
            )
        wait_until(lambda: _listens(port) or process.poll() is not None, 60, f"the start of {command[0]}")
        assert process.poll() is None, self.log

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ShippedCollector(Program):
    """A collector with one of our files; only what its variables say differs from a user's.

    Args:
        home: for its log.
        file: name of one of our files, or the path of another.
        settings: values that take the place of the file's, by their path with dots.
        variables: of its environment.
    """

    def __init__(self, home: Path, file: str | Path, settings: Mapping[str, object] = {}, **variables: str) -> None:
        super().__init__(home, Path(file).name)
        self._command = [tool("otelcol"), "--config", str(SHIPPED / file)]
        self._command += [f"--set={name}={value}" for name, value in settings.items()]
        self.grpc, self.http = free_port(), free_port()
        self._variables = {
            "TRACELET_OTLP_GRPC": f"127.0.0.1:{self.grpc}",
            "TRACELET_OTLP_HTTP": f"127.0.0.1:{self.http}",
            "TRACELET_GATEWAY_LISTEN": f"127.0.0.1:{self.grpc}",
            "TRACELET_COLLECTOR_METRICS_PORT": str(free_port()),
            **variables,
        }

    @property
    def endpoint(self) -> str:
        """Where it takes OTLP over gRPC."""
        return f"http://127.0.0.1:{self.grpc}"

    def start(self) -> None:
        self.run(self._command, self._variables, self.grpc)
