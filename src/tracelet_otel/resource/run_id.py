"""The id of a run of several processes, which each of them finds before they have contact with each other."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tracelet_otel._support.environment import inherited_run, is_recorded_elsewhere, leave_run
from tracelet_otel._support.spawned import is_interpreter_of_multiprocessing
from tracelet_otel.resource.rank_info import RankInfo, job_of
from tracelet_otel.resource.same_job import job_by_environment

_NO_RENDEZVOUS: Final = ("", "none")
"""Values of torchrun's TORCHELASTIC_RUN_ID where nobody has named the job."""
_START_TIME: Final = 19
"""Index among the fields after the process's name in `/proc/<pid>/stat`; source: proc(5), field 22."""


def run_id_of_process(environment: Mapping[str, str], rank_info: RankInfo | None) -> str:
    """The run id of this process: the same in all ranks of a job, a different one in every other process.

    A rank or a worker takes the id of the process that started it, if that one has an id. Otherwise the id is made
    of what the scheduler or launcher says of the job; where a script that is started again goes on with its run
    (`same_job`), of what stays the same then. The id is left in the environment for ranks that this process starts.

    Args:
        environment: environment variables of this process.
        rank_info: rank of this process; None where no launcher gave it one.
    """
    pid, inherited = inherited_run()
    if inherited and pid == os.getpid():
        return inherited
    # A job of one task may run several trainings, one after the other, which are different runs.
    belongs = (rank_info is not None and rank_info.world_size != 1) or is_interpreter_of_multiprocessing()
    run_id = inherited if belongs else None
    if not run_id and (belongs or not inherited):
        run_id = _of_same_job(environment)
    run_id = run_id or (_of_job(environment) if belongs else None) or uuid.uuid4().hex
    leave_run(os.getpid(), run_id)
    return run_id


def _of_same_job(environment: Mapping[str, str]) -> str | None:
    # What a recorded script starts is a part of that.
    job = None if is_recorded_elsewhere() else job_by_environment(environment)
    return None if job is None else job.run_id(environment.get("TRACELET_PROJECT", ""), 1)


def _of_job(environment: Mapping[str, str]) -> str | None:
    job = job_of(environment)
    if job is None:
        return None
    if "SLURM_JOB_ID" in environment or environment.get("TORCHELASTIC_RUN_ID", "") not in _NO_RENDEZVOUS:
        return job
    if environment.get("GROUP_WORLD_SIZE", "1") != "1":
        # Nothing distinguishes this job from the previous one on these nodes.
        return None
    return hashlib.sha256(f"{job}\n{_parent()}".encode()).hexdigest()[:32]


def _parent() -> str:
    """Identify the process that started this one, by its pid and, on Linux, its start time."""
    pid = os.getppid()
    stat = Path(f"/proc/{pid}/stat")
    started = stat.read_text().rpartition(")")[2].split()[_START_TIME] if stat.is_file() else ""
    return f"{pid} {started}"
