"""Which run a stream of metrics belongs to, read from its resource."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tracelet_otel import semconv


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What every tracker needs to know about a run."""

    run_id: str
    """The same for all processes and all trackers."""
    run_name: str
    project: str
    attributes: Mapping[str, Any]
    """All resource attributes of the process that reported first."""
    start_unix_nano: int | None = None
    """When it began, in nanoseconds since the epoch; None where it is not reported."""


def run_identity(resource: Mapping[str, Any]) -> RunIdentity:
    """The run that a resource names; with a new id where it names none."""
    run_id = str(resource.get(semconv.RUN_ID) or uuid.uuid4().hex)
    project = str(resource.get(semconv.PROJECT_NAME) or resource.get(semconv.SERVICE_NAME) or "Default")
    return RunIdentity(
        run_id=run_id,
        run_name=str(resource.get(semconv.RUN_NAME) or f"run-{run_id[:8]}"),
        project=project,
        attributes={**resource, semconv.RUN_ID: run_id},
        start_unix_nano=from_text(str(resource.get(semconv.RUN_START_TIME, ""))),
    )


def to_text(unix_nano: int) -> str:
    """Format a time, in nanoseconds since the epoch, as ISO 8601 in UTC and microseconds, as attributes have it."""
    return datetime.fromtimestamp(unix_nano // 1000 / 1e6, timezone.utc).isoformat(timespec="microseconds")


def from_text(text: str) -> int | None:
    """Parse what `to_text` returned, to nanoseconds since the epoch; None for anything else."""
    try:
        since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
