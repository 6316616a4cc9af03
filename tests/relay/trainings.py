"""A training that says which rows it has logged: `scripts/rows.py`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from tests.support.warm import Child

INTERVAL_S = 0.2
"""As the script exports."""

Start = Callable[..., Child]


def begin(start: Start, rows: int, *backends: str) -> Child:
    """Start it; returns when its run has begun."""
    child = start("rows.py", rows, *(backends or ("mlflow",)))
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "ready\n", child.stderr.read()
    return child


def read_some(child: Child, rows: int) -> dict[int, float]:
    """Read so many rows that it has logged: the time of each step, in seconds."""
    assert child.stdout is not None
    logged = {}
    for line in islice(child.stdout, rows):
        step, moment_s = line.split()
        logged[int(step)] = float(moment_s)
    assert len(logged) == rows
    return logged


def skip_to(child: Child, step: int) -> None:
    """Read until it has logged this step."""
    read_some(child, step + 1)
