"""Identity of a process whose SDK was configured by somebody else: its run, rank, host, software and code.

`process.pid` and `service.instance.id` are left out. Both change in a forked process, where they would have to be
detected again, and the SDK's own detectors have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.resource.command_line import command_attributes
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, rank_info_of
from tracelet_otel.resource.run_id import run_id_of_process
from tracelet_otel.resource.script import script_name
from tracelet_otel.resource.surroundings import Value, process_attributes, surroundings

_GIT_PATIENCE_S: Final = 0.04
"""Seconds that `git status` may take: enough for some 2,000 files. The start of the script waits for it."""
_FALSE: Final = ("0", "off", "f", "false", "n", "no")
"""Values of a variable that mean false, the same as for settings."""


def process_identity(environment: Mapping[str, str], guard: Guard) -> dict[str, Value]:
    """Resource attributes of this process.

    Args:
        environment: environment variables of this process.
        guard: where errors are reported; a part that fails is left out.
    """
    rank_info = rank_info_of(environment)
    tracks_git, tracks_command = (
        environment.get(f"TRACELET_TRACK_{what}", "").lower() not in _FALSE for what in ("GIT", "ENVIRONMENT")
    )
    return {
        **surroundings(environment, guard, _GIT_PATIENCE_S if tracks_git else None),
        **process_attributes(),
        **(command_attributes() if tracks_command else {}),
        **Membership(rank_info).attributes,
        **_run(environment, rank_info, guard),
    }


def _run(environment: Mapping[str, str], rank_info: RankInfo | None, guard: Guard) -> dict[str, str]:
    run_id, name, project = (environment.get(f"TRACELET_{name}", "") for name in ("RUN_ID", "EXP_NAME", "PROJECT"))
    if run_id and not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
        guard.report("TRACELET_RUN_ID is not heeded", "it is not of the form of a run's id")
        run_id = ""
    run_id = run_id or run_id_of_process(environment, rank_info)
    found = {
        semconv.RUN_ID: run_id,
        # Without the time: ranks begin at different times, and all must use the same name.
        semconv.RUN_NAME: name or f"{Path(script_name()).stem}-{run_id[:8]}",
        semconv.PROJECT_NAME: project,
        semconv.SERVICE_NAME: project,
    }
    return {attribute: encodable(value) for attribute, value in found.items() if value}
