"""The test's end of a process that observes GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.warm import WarmProcess
from tracelet_otel import semconv

CHILD = Path(__file__).parent / "scripts" / "child.py"
_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 60

Metrics = list[dict[str, Any]]
Series = dict[tuple[str, str, object], float]
"""Values by metric, UUID and what tells its points apart, None where there is only one."""

COMMON = (
    semconv.HW_ID,
    semconv.HW_NAME,
    semconv.HW_TYPE,
    semconv.HW_MODEL,
    semconv.HW_VENDOR,
    semconv.HW_DRIVER_VERSION,
    semconv.GPU_INDEX,
)
"""Attributes of all points."""


Process = WarmProcess | subprocess.Popen[str]


def new_interpreter(arguments: list[str], **options: Any) -> Process:
    """Starts a script, with options of `subprocess.Popen`."""
    return subprocess.Popen([sys.executable, *arguments], **options)


class Observing:
    """A child process with the real SDK; see `scripts/child.py` for what it can be asked."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    def __call__(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.log
        return json.loads(answer)

    def series(self, reader: int = 0) -> Series:
        """What a collection gives."""
        return series(self("collect", reader))

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return self._log.read_text()


@contextmanager
def observing(
    directory: Path,
    environment: Mapping[str, str],
    start: Callable[..., Process] = new_interpreter,
    **order: object,
) -> Iterator[Observing]:
    """Start a process that observes GPUs, and end it.

    Args:
        directory: for its log.
        environment: of its own, beside ours.
        start: starts the script.
        order: see `Child` there.
    """
    log = directory / "child.log"
    ours = {name: value for name, value in os.environ.items() if name not in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK")}
    with log.open("w") as stream:
        process = start(
            [str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**ours, "PYTHONPATH": str(_ROOT), **environment},
        )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        yield Observing(process, log)
    finally:
        process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 0, log.read_text()


def series(metrics: Metrics) -> Series:
    """Values by what tells them apart."""
    found: Series = {}
    for metric in metrics:
        for point in metric["points"]:
            own = [value for name, value in point["attributes"].items() if name not in COMMON]
            key = metric["name"], point["attributes"][semconv.HW_ID], own[0] if own else None
            assert key not in found
            found[key] = point["value"]
    return found


def uuids(found: Series) -> list[str]:
    """Devices that have a series, in order."""
    return list(dict.fromkeys(uuid for _name, uuid, _own in found))
