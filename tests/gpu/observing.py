"""The test's end of a process that observes GPUs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.warm import Child, start_child
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


class Observing:
    """A child process with the real SDK; see `scripts/child.py` for what it can be asked."""

    def __init__(self, process: Child, log: Path) -> None:
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
    server: str | None = None,
    **order: object,
) -> Iterator[Observing]:
    """Start a process that observes GPUs, and end it.

    Args:
        directory: for its log.
        environment: of its own, beside ours.
        server: path of the socket of the warm server that it comes from; by default it is a new interpreter.
        order: see `Child` there.
    """
    log = directory / "child.log"
    ours = {name: value for name, value in os.environ.items() if name not in ("CUDA_VISIBLE_DEVICES", "LOCAL_RANK")}
    with log.open("w") as stream:
        process = start_child(
            server,
            [str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
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
