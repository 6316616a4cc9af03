"""The real programs with the files that are shipped, on free ports of loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.collector import tool
from tests.support.waiting import free_port, wait_until

SHIPPED = Path(__file__).parents[2] / "collector-config"
CONFIG = SHIPPED / "prometheus" / "prometheus.yaml"
RULES = SHIPPED / "prometheus" / "rules.yaml"

Labels = dict[str, str]


class Program:
    """One that runs until it is stopped."""

    def __init__(self, home: Path, name: str) -> None:
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

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
    """A collector with one of our files; only what its variables say differs from a user's."""

    def __init__(self, home: Path, file: str, **variables: str) -> None:
        super().__init__(home, file)
        self._command = [tool("otelcol"), "--config", str(SHIPPED / file)]
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


class Prometheus(Program):
    """Prometheus as compose.yaml starts it, but for paths and address.

    Args:
        home: for its data and its log.
        config: what it is configured with.
        options: that are added, or take the place of shipped ones.
    """

    def __init__(self, home: Path, config: Path = CONFIG, **options: str) -> None:
        super().__init__(home, "prometheus")
        self._port = free_port()
        compose = yaml.safe_load((SHIPPED / "compose.yaml").read_text())
        shipped = [one.partition("=") for one in compose["services"]["prometheus"]["command"]]
        flags = {
            **{name: value for name, _, value in shipped},
            "--config.file": str(config),
            "--storage.tsdb.path": str(home / "data"),
            "--web.listen-address": f"127.0.0.1:{self._port}",
            **{f"--{name}": value for name, value in options.items()},
        }
        self._command = [tool("prometheus"), *(f"{name}={value}" if value else name for name, value in flags.items())]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def otlp_endpoint(self) -> str:
        return f"{self.address}/api/v1/otlp"

    def start(self) -> None:
        self.run(self._command, {}, self._port)
        wait_until(self._ready, 60, "Prometheus being ready")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                status: int = answer.status
        except OSError:
            return False
        return status == 200

    def get(self, path: str, **parameters: object) -> Any:
        """What the API answers; an error is one of the test's."""
        query = urllib.parse.urlencode({name: str(value) for name, value in parameters.items() if value is not None})
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, promql: str, at: float | None = None, lookback: str | None = None) -> list[tuple[Labels, float]]:
        """An instant query: labels and value of each series."""
        data = self.get("query", query=promql, time=at, lookback_delta=lookback)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[tuple[Labels, list[float]]]:
        data = self.get("query_range", query=promql, start=start, end=end, step=step)
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in data["result"]]

    def label_values(self, selector: str | None, label: str, start: float, end: float) -> list[str]:
        values: list[str] = self.get(f"label/{label}/values", **{"match[]": selector}, start=start, end=end)
        return values

    def firing(self) -> dict[str, Labels]:
        """The annotations of what fires, by name."""
        alerts = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["annotations"] for one in alerts if one["state"] == "firing"}
