"""What a training of two ranks wrote down, and what of it belongs together."""

from __future__ import annotations

import json
from pathlib import Path

TRAINING = Path(__file__).parent / "training.py"


def witnessed(tmp_path: Path, rank: int) -> list[tuple[str, int, float, float]]:
    """Name, step, value and time of what Lightning handed to loggers on a rank."""
    lines = (tmp_path / f"rows.{rank}").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def combined(name: str, values: list[float]) -> float:
    kind = name.removesuffix("_step").removesuffix("_epoch")
    if "sync" in kind or kind == "zero":
        return values[0]
    return {"sum": sum, "min": min, "max": max}.get(kind, lambda all_: sum(all_) / len(all_))(values)
