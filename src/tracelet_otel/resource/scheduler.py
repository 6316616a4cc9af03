"""What SLURM or torchrun says of the job in environment variables. Pure.

Only the variables listed here are read: the environment of a job also holds its secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable

_VARIABLES: Final = {
    semconv.SLURM_JOB_ID: "SLURM_JOB_ID",
    semconv.SLURM_JOB_NAME: "SLURM_JOB_NAME",
    semconv.SLURM_JOB_PARTITION: "SLURM_JOB_PARTITION",
    semconv.SLURM_JOB_NUM_NODES: "SLURM_JOB_NUM_NODES",
    semconv.SLURM_ARRAY_JOB_ID: "SLURM_ARRAY_JOB_ID",
    semconv.SLURM_ARRAY_TASK_ID: "SLURM_ARRAY_TASK_ID",
    semconv.SLURM_STEP_ID: "SLURM_STEP_ID",
    semconv.SLURM_CLUSTER_NAME: "SLURM_CLUSTER_NAME",
    semconv.SLURM_NODE_NAME: "SLURMD_NODENAME",
    semconv.SLURM_RESTART_COUNT: "SLURM_RESTART_COUNT",
    semconv.TORCHRUN_RUN_ID: "TORCHELASTIC_RUN_ID",
    semconv.TORCHRUN_RESTART_COUNT: "TORCHELASTIC_RESTART_COUNT",
}
"""Source: SLURM's `srun` and torchrun's documentation of the variables that they set."""
_COUNTS: Final = (semconv.SLURM_JOB_NUM_NODES, semconv.SLURM_RESTART_COUNT, semconv.TORCHRUN_RESTART_COUNT)
_UNNAMED: Final = {semconv.TORCHRUN_RUN_ID: "none"}
"""Values that stand for a name that nobody has given."""


def scheduler_attributes(environment: Mapping[str, str]) -> dict[str, str | int]:
    """Resource attributes of the job that SLURM or torchrun runs; empty without them."""
    found: dict[str, str | int] = {}
    for attribute, variable in _VARIABLES.items():
        text = environment.get(variable, "")
        if not text or text == _UNNAMED.get(attribute):
            continue
        if attribute not in _COUNTS:
            found[attribute] = encodable(text)
        elif text.isdecimal():
            found[attribute] = int(text)
    return found
