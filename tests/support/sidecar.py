"""A relay that is started by hand, as `tracelet-otel relay` starts one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tracelet_otel as tracelet
from tests.support.waiting import free_port
from tests.support.warm import WarmProcess

TOKEN = "a-token-for-this-test-only"


@dataclass
class Relay:
    """A relay started by hand."""

    database: Path
    directory: Path
    port: int = field(default_factory=free_port)
    warm_server: Callable[[], str] | None = None
    """Gives the socket of the warm server, where its process is to come from there."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it gets beside those of this process."""
    process: WarmProcess | subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("tracelet-otel")), "relay"]
        command += ["--backend-url", f"sqlite:///{self.database}", "--bind", f"127.0.0.1:{self.port}"]
        with (self.directory / "sidecar.log").open("a") as log:
            options: dict[str, Any] = {
                "cwd": self.directory,
                "env": {
                    **os.environ,
                    "TRACELET_RELAY_TOKEN": TOKEN,
                    "TRACELET_JOURNAL_DIR": str(self.directory / "journals"),
                    **self.environment,
                },
                "stdout": subprocess.PIPE,
                "stderr": log,
                "text": True,
            }
            if self.warm_server is None:
                self.process = subprocess.Popen(command, **options)
            else:
                self.process = WarmProcess(self.warm_server(), command, **options)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"listening on port {self.port}\n", self.log

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait(60)

    @property
    def log(self) -> str:
        return (self.directory / "sidecar.log").read_text()

    def join(self, name: str = "joined", **config: Any) -> tracelet.Run:
        return tracelet.start_logging(name, config=self.config(**config))

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "relay_endpoint": f"http://127.0.0.1:{self.port}",
            "relay_token": TOKEN,
            "export_interval": 0.1,
            **more,
        }
