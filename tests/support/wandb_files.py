"""What W&B offline runs hold, read from their files.

A file is a LevelDB log (7 bytes of header, blocks of 32 KiB) of `Record` messages.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FILE_HEADER = 7


@dataclass(frozen=True)
class OfflineArtifact:
    name: str
    type: str
    digest: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: dict[str, Path]
    """By path in it: where the file is until `wandb sync`."""


@dataclass
class OfflineRun:
    run_id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    sweep: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of history, with W&B's own columns."""
    axes: set[tuple[str, str, bool]] = field(default_factory=set)
    """Of metrics as they were defined: name or pattern, x axis, and whether a row without one gets the last one."""
    summary: dict[str, Any] = field(default_factory=dict)
    """That was set; what W&B makes of history is not in it."""
    files: list[str] = field(default_factory=list)
    """That are to be uploaded."""
    output: str = ""
    """Of the run's console."""
    artifacts: list[OfflineArtifact] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    """Where it has run, as `wandb-metadata.json` has it on a server."""
    exit_code: int | None = None
    """None where the run has not ended."""


def _records(data: bytes) -> Iterator[bytes]:
    position, parts = _FILE_HEADER, []
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if kind == 0 or position + 7 + length > len(data):
            return
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def offline_run(path: Path) -> OfflineRun:
    """What one file holds."""
    from google.protobuf.json_format import MessageToDict
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # made at run time, without types
    found = OfflineRun()
    for data in _records(path.read_bytes()):
        record = messages.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.run_id, found.project, found.name = run.run_id, run.project, run.display_name
            found.sweep = run.sweep_id
            found.group, found.job_type, found.notes, found.tags = (
                run.run_group,
                run.job_type,
                run.notes,
                list(run.tags),
            )
            found.config.update({item.key: json.loads(item.value_json) for item in run.config.update})
        elif kind == "config":
            found.config.update({item.key: json.loads(item.value_json) for item in record.config.update})
        elif kind == "history":
            items = record.history.item
            found.rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
        elif kind == "metric":
            metric = record.metric
            name = metric.name or metric.glob_name
            found.axes.add((name, metric.step_metric, metric.options.step_sync))
        elif kind == "summary":
            found.summary.update(
                {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in record.summary.update}
            )
        elif kind == "output_logger":
            found.output += record.output_logger.line
        elif kind == "files":
            found.files += [one.path for one in record.files.files]
        elif kind == "artifact":
            found.artifacts.append(_artifact(record.artifact))
        elif kind == "environment":
            found.environment = MessageToDict(record.environment, preserving_proto_field_name=True)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    found.config.pop("_wandb", None)
    return found


def _artifact(record: Any) -> OfflineArtifact:
    files = {entry.path: Path(entry.local_path) for entry in record.manifest.contents}
    metadata = json.loads(record.metadata or "{}")
    return OfflineArtifact(record.name, record.type, record.digest, list(record.aliases), metadata, files)


def offline_files(directory: Path, run_id: str = "*") -> list[Path]:
    """Files of runs below a directory, oldest first."""
    return sorted(directory.glob(f"**/run-{run_id}.wandb"), key=lambda path: path.parent.name)


def history(directory: Path) -> list[dict[str, Any]]:
    """Rows of the only run below a directory, without W&B's own columns."""
    # Beside it there is a link to the latest run.
    (path,) = {path.resolve() for path in offline_files(directory)}
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in offline_run(path).rows]
