"""Which job a script runs for, so that a script that is started again goes on with its run.

The run's id is a hash of what names the job. So it is the same on each machine, and nothing has to be found.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.processes import started
from tracelet_otel.resource.kubernetes import kubernetes_attributes

_SLURM: Final = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_STEP_ID")
"""A job that is put back into the queue keeps them. Each task of an array has a job id of its own."""
_UNNAMED: Final = ("", "none")
"""Values of torchrun's TORCHELASTIC_RUN_ID where nobody has named the job."""
_ID_LENGTH: Final = 32


@dataclass(frozen=True)
class SameJob:
    """What a script has in common with all its starts for one job, and what tells these starts apart."""

    name: str
    """The same at each start, and in each rank; of no other job."""
    restarts: int | None = None
    """How often the launcher has started the job again, as far as it counts that; None where it does not."""
    launch: str = ""
    """Differs whenever the launcher starts all of the job again; empty where it does not tell."""
    agent: str = ""
    """The process that starts the script again by itself, as torchrun does; empty where there is none."""

    def run_id(self, project: str, number: int) -> str:
        """Id of a run of this job.

        Args:
            project: name of the run's project; empty where none is given.
            number: number of the run among those that the script starts, from 1.
        """
        text = "\n".join((self.name, project, str(number)))
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_ID_LENGTH]

    def goes_on_after(self, launch: str, agent: str) -> bool:
        """Whether this start is another attempt of what an earlier start has begun.

        If not, one launch of the job runs the same command more than once: these are different trainings.

        Args:
            launch: that of the earlier start.
            agent: that of the earlier start.
        """
        return not self.launch or self.launch != launch or (self.agent != "" and self.agent == agent)


def same_job(
    environment: Mapping[str, str], run_key: str | None, command: Sequence[str], parent: str = ""
) -> SameJob | None:
    """The job of a process; None where nothing says that a later start would be the same job.

    Args:
        environment: environment variables of the process.
        run_key: the user's own name of the job; None for none. The command may change then.
        command: the script and its arguments. One job may run several.
        parent: identifies the process that has started this one, on this machine.
    """
    if run_key is not None:
        return SameJob("\n".join(("key", run_key)), _restarts(environment))
    is_torchrun = "TORCHELASTIC_RESTART_COUNT" in environment
    agent = parent if is_torchrun else ""
    if environment.get("SLURM_JOB_ID"):
        parts = ["slurm", *(environment.get(name, "") for name in _SLURM)]
        launch = environment.get("SLURM_RESTART_COUNT") or "0"
        return SameJob("\n".join((*parts, *command)), _restarts(environment), launch, agent)
    if is_torchrun:
        rendezvous = environment.get("TORCHELASTIC_RUN_ID", "")
        if rendezvous in _UNNAMED:
            if environment.get("GROUP_WORLD_SIZE", "1") != "1":
                # Nothing that all nodes know distinguishes this job from the one before.
                return None
            rendezvous = parent
        return SameJob("\n".join(("torchrun", rendezvous, *command)), _restarts(environment), agent=agent)
    pod = _of_pod(environment)
    return None if pod is None else SameJob("\n".join(("kubernetes", *pod, *command)))


def job_of_process(environment: Mapping[str, str], run_key: str | None) -> SameJob | None:
    """The job of this process, as `same_job` finds it."""
    return same_job(environment, run_key, sys.orig_argv[1:], _parent())


def job_by_environment(environment: Mapping[str, str]) -> SameJob | None:
    """The job of this process, where the environment asks for runs that go on; None where it does not.

    For those who know no settings. These are `Settings.resume` and `Settings.run_key`.
    """
    run_key, resume = environment.get("TRACELET_RUN_KEY") or None, environment.get("TRACELET_RESUME", "")
    return job_of_process(environment, run_key) if resume == "auto" or (run_key and not resume) else None


def _parent() -> str:
    """Identify the process that has started this one, among all of this and other machines."""
    try:
        return f"{os.getppid()} {started(os.getppid())}"
    except (psutil.Error, OSError):
        return str(os.getppid())


def _restarts(environment: Mapping[str, str]) -> int | None:
    """The fewest restarts that launchers know of: each begins to count anew where the one above it starts again."""
    counts = [environment.get(name, "") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")]
    # SLURM sets its count only once a job was put back into the queue.
    if environment.get("SLURM_JOB_ID") and not counts[0]:
        counts[0] = "0"
    known = [int(count) for count in counts if count.isdecimal()]
    return sum(known) if known else None


def _of_pod(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """What Kubernetes says of the job, or else of the pod whose containers it starts again."""
    found = kubernetes_attributes(environment)
    # A name alone may be that of another job by now.
    if semconv.K8S_JOB_UID in found:
        # The pods of one training are ranks of it, each with an index.
        is_rank = environment.get("WORLD_SIZE", "1") != "1"
        return found[semconv.K8S_JOB_UID], "" if is_rank else str(found.get(semconv.K8S_JOB_COMPLETION_INDEX, ""))
    if semconv.K8S_POD_UID in found:
        return found[semconv.K8S_POD_UID], found.get(semconv.K8S_CONTAINER_NAME, "")
    return None
