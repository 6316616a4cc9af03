"""Which run a stream of metrics belongs to, read from its resource."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracelet_otel import semconv


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run, as every tracker needs to know it."""

    run_id: str
    """The same for all processes and all trackers."""
    run_name: str
    project: str
    attributes: Mapping[str, Any]
    """All resource attributes of the process that reported first."""


def run_identity(resource: Mapping[str, Any]) -> RunIdentity:
    """The run that a resource names; one made up for a process that does not know its run."""
    run_id = str(resource.get(semconv.RUN_ID) or uuid.uuid4().hex)
    project = str(resource.get(semconv.PROJECT_NAME) or resource.get(semconv.SERVICE_NAME) or "Default")
    return RunIdentity(
        run_id=run_id,
        run_name=str(resource.get(semconv.RUN_NAME) or f"run-{run_id[:8]}"),
        project=project,
        attributes={**resource, semconv.RUN_ID: run_id},
    )
