"""The id of a run in which several processes take part that have yet to speak to each other."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel._support.environment import inherited_run, leave_run
from tracelet_otel._support.spawned import is_interpreter_of_multiprocessing
from tracelet_otel.resource.rank_info import RankInfo, job_of

_NO_RENDEZVOUS: Final = ("", "none")
"""What torchrun says where nobody has named its job."""
_START_TIME: Final = 19
"""Of what follows the name of a process in `/proc/<pid>/stat`; source: proc(5), field 22."""


def run_id_of_process(environment: Mapping[str, str], rank_info: RankInfo | None) -> str:
    """The same in all ranks of a job, and another one in every other process.

    A rank, or a worker, takes the one of the process that has started it, if that has one; otherwise it is made of
    what its scheduler or launcher says of the job. Who is started from here as a rank finds it.

    Args:
        environment: this process's variables.
        rank_info: of this process among ranks; None where no launcher gave it one.
    """
    pid, inherited = inherited_run()
    if inherited and pid == os.getpid():
        return inherited
    # A job of one task may run one training after the other.
    belongs = (rank_info is not None and rank_info.world_size != 1) or is_interpreter_of_multiprocessing()
    run_id = (inherited or _of_job(environment)) if belongs else None
    run_id = run_id or uuid.uuid4().hex
    leave_run(os.getpid(), run_id)
    return run_id


def _of_job(environment: Mapping[str, str]) -> str | None:
    job = job_of(environment)
    if job is None:
        return None
    if "SLURM_JOB_ID" in environment or environment.get("TORCHELASTIC_RUN_ID", "") not in _NO_RENDEZVOUS:
        return job
    if environment.get("GROUP_WORLD_SIZE", "1") != "1":
        # Nothing tells this job from the one before it on these nodes.
        return None
    return hashlib.sha256(f"{job}\n{_parent()}".encode()).hexdigest()[:32]


def _parent() -> str:
    """The process that has started this one, as no other process before or after it."""
    pid = os.getppid()
    stat = Path(f"/proc/{pid}/stat")
    started = stat.read_text().rpartition(")")[2].split()[_START_TIME] if stat.is_file() else ""
    return f"{pid} {started}"
