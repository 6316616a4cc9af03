"""The real programs with the files that are shipped, on free ports of loopback."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.support.collector import tool
from tests.support.shipped import SHIPPED, Program
from tests.support.waiting import free_port, wait_until

CONFIG = SHIPPED / "prometheus" / "prometheus.yaml"
RULES = SHIPPED / "prometheus" / "rules.yaml"

Labels = dict[str, str]


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
