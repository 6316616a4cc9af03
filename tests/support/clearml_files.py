"""What a ClearML offline session holds, read from its files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OfflineTask:
    task_id: str
    name: str
    project: str
    tags: list[str]
    params: dict[str, str]
    properties: dict[str, str]
    comment: str | None
    arguments: dict[str, str]
    script: dict[str, Any]
    artifacts: list[str]
    points: dict[tuple[str, str, int], tuple[float, int]]
    """(value, timestamp in ms) by (title, series, iteration), where the last one stays as on a server."""


def session(path: Path) -> OfflineTask:
    """What a session's folder, or its archive, holds."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            task, lines = json.loads(archive.read("task.json")), archive.read("metrics.jsonl").decode()
    else:
        task, lines = json.loads((path / "task.json").read_text()), (path / "metrics.jsonl").read_text()

    def section(name: str) -> dict[str, Any]:
        return {key: item["value"] for key, item in task["hyperparams"].get(name, {}).items()}

    events = [event for line in lines.splitlines() if line for event in json.loads(line)]
    events = [event for event in events if event["type"] == "training_stats_scalar"]
    assert {event["task"] for event in events} <= {task["id"]}
    return OfflineTask(
        task["id"],
        task["name"],
        task["project_name"],
        task["tags"],
        section("General"),
        section("properties"),
        task.get("comment"),
        section("Args"),
        task["script"],
        [one["key"] for one in task.get("execution", {}).get("artifacts", [])],
        {(e["metric"], e["variant"], e["iter"]): (e["value"], e["timestamp"]) for e in events},
    )
