"""Identity of a run and of this process, as OpenTelemetry resource attributes."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.resource.command_line import command_attributes
from tracelet_otel.resource.script import script_name
from tracelet_otel.resource.surroundings import process_attributes, surroundings

if TYPE_CHECKING:
    from tracelet_otel.settings import Settings

_GIT_PATIENCE_S: Final = 1.0
"""Seconds that `git status` may take: enough for some 50,000 files."""
_WITH_SECRETS: Final = (semconv.PROCESS_COMMAND_LINE,)
"""What OpenTelemetry's own detector says of the command line, as it is, and what we say ourselves."""


def run_resource(
    run_id: str,
    run_name: str,
    project: str,
    ranks: str,
    *,
    track_git: bool = True,
    track_environment: bool = True,
    guard: Guard | None = None,
) -> Resource:
    """Create the resource of one process of a run.

    `OTEL_RESOURCE_ATTRIBUTES` and the configured OpenTelemetry detectors are included. Their attributes take
    precedence over `surroundings`, and are overridden by the attributes of the run and of this process.

    Args:
        run_id: id of the run, the same in all its processes.
        run_name: name of the run, for people.
        project: project that the run belongs to; also the service's name.
        ranks: whether the values of several ranks are merged: one of `semconv.RANKS_*`.
        track_git: whether the state of the code is recorded. If not, its attributes are removed, whoever set them.
        track_environment: the same for the command line.
        guard: where errors are reported; a part that fails is left out.
    """
    guard = guard or Guard()
    found = surroundings(environment(), guard, _GIT_PATIENCE_S if track_git else None)
    own = {**_own(run_id, run_name, project, ranks), **(_command(guard) if track_environment else {})}
    configured = Resource.create(own)
    # The rank is added at each export: a process may learn it only from its trainer.
    unwanted = {*semconv.PLACE_ATTRIBUTES, *(() if track_git else semconv.VCS_ATTRIBUTES)}
    unwanted.update(_WITH_SECRETS if track_environment else semconv.COMMAND_ATTRIBUTES)
    attributes = {**found, **configured.attributes}
    kept = {name: value for name, value in attributes.items() if name not in unwanted}
    return Resource(kept, configured.schema_url)


def completed(
    resource: Mapping[str, Any], run_id: str, run_name: str, project: str, settings: Settings, guard: Guard
) -> dict[str, Any]:
    """Return the attributes of somebody else's resource, together with those of a run that it lacks.

    Args:
        resource: attributes that take precedence over what is found here, except for the run's id, name and project,
            and the command line, of which somebody else's may have secrets.
        run_id: id of the run, the same in all its processes.
        run_name: name of the run, for people.
        project: project that the run belongs to; also the service's name.
        settings: say how ranks are recorded, and what is looked for.
        guard: where errors are reported; a part that fails is left out.
    """
    found = surroundings(environment(), guard, _GIT_PATIENCE_S if settings.track_git else None)
    own = _own(run_id, run_name, project, settings.ranks)
    run = {name: own[name] for name in (semconv.RUN_ID, semconv.RUN_NAME, semconv.PROJECT_NAME)}
    unwanted = _WITH_SECRETS if settings.track_environment else semconv.COMMAND_ATTRIBUTES
    given = {name: value for name, value in resource.items() if name not in unwanted}
    return {**found, **own, **given, **(_command(guard) if settings.track_environment else {}), **run}


def code_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes of a resource that say which code runs."""
    return {name: value for name, value in resource.items() if name in semconv.VCS_ATTRIBUTES}


def _command(guard: Guard) -> Mapping[str, str | tuple[str, ...]]:
    try:
        return command_attributes()
    except Exception as error:
        guard.report("the command line cannot be told", error)
        return {}


def _own(run_id: str, run_name: str, project: str, ranks: str) -> dict[str, str | int]:
    return {
        semconv.SERVICE_NAME: encodable(project),
        semconv.SERVICE_INSTANCE_ID: str(uuid.uuid4()),
        semconv.RUN_ID: run_id,
        semconv.RUN_NAME: encodable(run_name),
        semconv.PROJECT_NAME: encodable(project),
        semconv.PROCESS_PID: os.getpid(),
        **process_attributes(),
        **({} if ranks == semconv.RANKS_MERGED else {semconv.RANKS: ranks}),
    }


def new_run_id() -> str:
    """Draw an id that no other run has, from the operating system and not from Python's global random generator."""
    return uuid.uuid4().hex


def default_run_name() -> str:
    """The script's name and the local time, as in `train-20260131-142501`."""
    return f"{Path(script_name()).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
