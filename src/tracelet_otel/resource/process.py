"""Who a process is whose resource somebody else has made: its run, its rank, and what runs where on which code.

Neither `process.pid` nor `service.instance.id` is among it: both change in a forked process, where the SDK
would ask again, and its own detectors have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo, rank_info_of
from tracelet_otel.resource.run_id import run_id_of_process
from tracelet_otel.resource.script import script_name
from tracelet_otel.resource.surroundings import process_attributes, surroundings

_GIT_PATIENCE_S: Final = 0.04
"""For the state of the code: a repository of some 2,000 files. The script's start waits for it."""
_FALSE: Final = ("0", "off", "f", "false", "n", "no")
"""As settings read a variable."""


def process_identity(told: Mapping[str, str], guard: Guard) -> dict[str, str | int]:
    """Resource attributes of this process.

    Args:
        told: its environment.
        guard: where errors end; a part that fails is left out.
    """
    rank_info = rank_info_of(told)
    tracks_git = told.get("TRACELET_TRACK_GIT", "").lower() not in _FALSE
    return {
        **surroundings(told, guard, _GIT_PATIENCE_S if tracks_git else None),
        **process_attributes(),
        **Membership(rank_info).attributes,
        **_run(told, rank_info, guard),
    }


def _run(told: Mapping[str, str], rank_info: RankInfo | None, guard: Guard) -> dict[str, str]:
    run_id, name, project = (told.get(f"TRACELET_{name}", "") for name in ("RUN_ID", "EXP_NAME", "PROJECT"))
    if run_id and not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
        guard.report("TRACELET_RUN_ID is not heeded", "it is not of the form of a run's id")
        run_id = ""
    run_id = run_id or run_id_of_process(told, rank_info)
    found = {
        semconv.RUN_ID: run_id,
        # The same in all ranks, which begin at different times.
        semconv.RUN_NAME: name or f"{Path(script_name()).stem}-{run_id[:8]}",
        semconv.PROJECT_NAME: project,
        semconv.SERVICE_NAME: project,
    }
    return {attribute: encodable(value) for attribute, value in found.items() if value}
