"""A resource detector: who this process is, under anybody's SDK configuration.

`OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=tracelet` asks for it. It runs before the script does, and neither
waits nor imports much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource, ResourceDetector

from tracelet_otel import semconv
from tracelet_otel.environment import environment
from tracelet_otel.guard import Guard
from tracelet_otel.identity.run_id import run_id_of_process
from tracelet_otel.identity.surroundings import process_attributes, surroundings
from tracelet_otel.membership import Membership
from tracelet_otel.place import Place, place_of
from tracelet_otel.text import encodable

_GIT_PATIENCE_S: Final = 0.04
"""For the state of the code: a repository of some 2,000 files. The script's start waits for it."""
_FALSE: Final = ("0", "off", "f", "false", "n", "no")
"""As settings read a variable."""


class TraceletResourceDetector(ResourceDetector):
    """Detects the run that the environment names, this process's rank, and what runs where on which code.

    Neither `process.pid` nor `service.instance.id` is among it: both change in a forked process, where the SDK
    would ask again, and its own detectors have them.
    """

    def detect(self) -> Resource:
        """What is known; never raises."""
        guard = Guard()
        try:
            return Resource(_attributes(environment(), guard))
        except Exception as error:
            guard.report("nothing is known of this process", error)
            return Resource.get_empty()


def _attributes(told: Mapping[str, str], guard: Guard) -> dict[str, str | int]:
    place = place_of(told)
    tracks_git = told.get("TRACELET_TRACK_GIT", "").lower() not in _FALSE
    return {
        **surroundings(told, guard, _GIT_PATIENCE_S if tracks_git else None),
        **process_attributes(),
        **Membership(place).attributes,
        **_run(told, place, guard),
    }


def _run(told: Mapping[str, str], place: Place | None, guard: Guard) -> dict[str, str]:
    run_id, name, project = (told.get(f"TRACELET_{name}", "") for name in ("RUN_ID", "EXP_NAME", "PROJECT"))
    if run_id and not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
        guard.report("TRACELET_RUN_ID is not heeded", "it is not of the form of a run's id")
        run_id = ""
    found = {
        semconv.RUN_ID: run_id or run_id_of_process(told, place),
        semconv.RUN_NAME: name,
        semconv.PROJECT_NAME: project,
        semconv.SERVICE_NAME: project,
    }
    return {attribute: encodable(value) for attribute, value in found.items() if value}
