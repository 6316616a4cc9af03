"""Identity of a run and of this process, as OpenTelemetry resource attributes."""

from __future__ import annotations

import getpass
import os
import platform
import sys
import time
import uuid
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel.text import encodable


def run_resource(run_id: str, run_name: str, project: str, ranks: str) -> Resource:
    """The resource of one process of a run.

    `OTEL_RESOURCE_ATTRIBUTES` and the detectors that OpenTelemetry is configured with are included.

    Args:
        run_id: the same in all processes of the run.
        run_name: what people call the run.
        project: what the run belongs to; also the service's name.
        ranks: what becomes of the values of several ranks: one of `semconv.RANKS_*`.
    """
    return Resource.create(
        {
            semconv.SERVICE_NAME: encodable(project),
            semconv.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
            semconv.RUN_ID: run_id,
            semconv.RUN_NAME: encodable(run_name),
            semconv.PROJECT_NAME: encodable(project),
            semconv.HOST_NAME: platform.node(),
            semconv.PROCESS_PID: os.getpid(),
            semconv.PROCESS_COMMAND: encodable(script_name()),
            **({} if ranks == semconv.RANKS_MERGED else {semconv.RANKS: ranks}),
            **_owner(),
        }
    )


def new_run_id() -> str:
    """An id that no other run has; drawn from the system, not from Python's global generator."""
    return uuid.uuid4().hex


def default_run_name() -> str:
    """The script's name and the time, as in `train-20260131-142501`."""
    return f"{Path(script_name()).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def script_name() -> str:
    """The running script without its arguments, which may hold secrets; `python` where there is none."""
    script = (getattr(sys, "argv", None) or [""])[0]
    return script if script not in ("", "-c", "-m") else "python"


def _owner() -> dict[str, str]:
    try:
        return {semconv.PROCESS_OWNER: getpass.getuser()}
    except (OSError, KeyError):
        # A container's user id need not have a name: then the attribute is absent.
        return {}
