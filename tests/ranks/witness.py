"""What `scripts/training.py` wrote down on each of two ranks, and what of it belongs together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def witnessed(tmp_path: Path, rank: int) -> list[tuple[str, int, float, float]]:
    """Name, step, value and time of what Lightning handed to loggers on a rank."""
    lines = (tmp_path / f"rows.{rank}").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def process(directory: Path, rank: int) -> dict[str, Any]:
    """A rank's pid and place, and whether it owns the run."""
    found: dict[str, Any] = json.loads((directory / f"process.{rank}").read_text())
    return found


def combined(name: str, values: list[float]) -> float:
    """One value of those of all ranks."""
    kind = name.removesuffix("_step").removesuffix("_epoch")
    if "sync" in kind or kind == "zero":
        return values[0]
    ways: dict[str, Callable[[list[float]], float]] = {"sum": sum, "count": sum, "min": min, "max": max}
    return ways.get(kind, _mean)(values)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
