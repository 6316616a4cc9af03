"""Tells the identity that a run which began here would be exported with."""

from __future__ import annotations

from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import fine, problem
from tracelet_otel._support.guard import Guard
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.exporters.registry import run_to_continue
from tracelet_otel.resource.rank_info import rank_info_of
from tracelet_otel.resource.run_resource import run_resource
from tracelet_otel.settings import Settings

_NEW_ID: Final = "a new one"
_NEW_NAME: Final = "made from the script's name and the time"
_NO_RANK: Final = "no launcher has given one"
_OF_THE_DOCTOR: Final = (semconv.SERVICE_INSTANCE_ID, "process.")
"""Beginnings of names that say something of the doctor's process, and nothing of a training."""


def check_identity(settings: Settings) -> Chapter:
    """Make the resource of a run, and say which rank this process would be.

    Args:
        settings: as `registry.absolute` returns them.
    """
    guard = Guard()
    run_id, name = run_to_continue(settings) or _NEW_ID, settings.exp_name or _NEW_NAME
    resource = run_resource(
        run_id,
        name,
        settings.project,
        settings.ranks,
        track_git=settings.track_git,
        track_environment=False,  # the command line would be the doctor's
        guard=guard,
    )
    attributes = {**resource.attributes, **settings.purpose}
    kept = {key: attributes[key] for key in sorted(attributes) if not key.startswith(_OF_THE_DOCTOR)}
    rank = rank_info_of(environment())
    told = _NO_RANK if rank is None else f"{rank} of {rank.world_size or 'an unknown number'}"
    findings = [problem(text, "see the log of the run, which says the same") for text in guard.counts]
    findings.append(fine("this is what trackers and collectors are told of a run that begins here"))
    table = [("rank", told), *((key, _words(value)) for key, value in kept.items())]
    facts = {
        "rank": None if rank is None else rank.rank,
        "world_size": None if rank is None else rank.world_size,
        "attributes": {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()},
    }
    return Chapter("identity", findings, table, facts)


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
