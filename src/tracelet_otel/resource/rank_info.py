"""The rank of a process in a training, according to its environment variables. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SLURM_INTERACTIVE: Final = ("bash", "interactive")
"""Names of SLURM jobs whose tasks Lightning does not treat as ranks."""


@dataclass(frozen=True)
class RankInfo:
    """The rank of one process among those that train together; None where a value is not known."""

    rank: int | None = None
    """Rank among all processes."""
    local_rank: int | None = None
    """Rank among the processes of its node."""
    node_rank: int | None = None
    world_size: int | None = None
    """Number of processes that train together."""

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which owns the run."""
        return not (self.rank or self.local_rank or self.node_rank)

    @property
    def is_on_another_node(self) -> bool:
        """Whether the launcher says that rank 0 is on another node."""
        return bool(self.node_rank)

    def __str__(self) -> str:
        return f"rank {'?' if self.rank is None else self.rank}" + (
            f" on node {self.node_rank}" if self.is_on_another_node else ""
        )


def is_first_of_node(rank_info: RankInfo | None) -> bool:
    """Whether a process is the one that reports for its node: local rank 0, or a process without a known rank."""
    return rank_info is None or not rank_info.local_rank


def rank_info_of(environment: Mapping[str, str]) -> RankInfo | None:
    """The rank that a launcher has given to a process; None where no launcher did.

    Sources: torchrun's and SLURM's documentation of their variables; Lightning sets LOCAL_RANK,
    NODE_RANK and WORLD_SIZE for the processes that it starts, but not RANK.
    """
    rank, local_rank = _number(environment, "RANK"), _number(environment, "LOCAL_RANK")
    world_size = _number(environment, "WORLD_SIZE")
    # As in Lightning, NODE_RANK takes precedence over torchrun's GROUP_RANK.
    node_rank = _number(environment, "NODE_RANK", "GROUP_RANK")
    if rank is not None:
        return RankInfo(rank, local_rank, node_rank, world_size)
    if local_rank is not None:
        return RankInfo(None if node_rank else local_rank, local_rank, node_rank or 0, world_size)
    if _is_slurm(environment):
        return RankInfo(
            _number(environment, "SLURM_PROCID"),
            _number(environment, "SLURM_LOCALID"),
            _number(environment, "SLURM_NODEID"),
            _number(environment, "SLURM_NTASKS"),
        )
    if node_rank:
        # Lightning's own launcher has not run yet, on a node that is not the first.
        return RankInfo(None, 0, node_rank, world_size)
    return None


def job_of(environment: Mapping[str, str]) -> str | None:
    """A hash that the ranks of one job share and no other job has; None where no variable identifies the job."""
    rendezvous = environment.get("TORCHELASTIC_RUN_ID", "")
    parts = [
        environment.get("SLURM_JOB_ID", ""),
        environment.get("SLURM_STEP_ID", ""),
        environment.get("SLURM_RESTART_COUNT", ""),
    ]
    if "RANK" in environment or "LOCAL_RANK" in environment:
        # Left out under SLURM alone: there Lightning chooses the address and port, and only once the training starts.
        parts += [environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")]
        parts += ["" if rendezvous == "none" else rendezvous, environment.get("TORCHELASTIC_RESTART_COUNT", "")]
    if not any(parts):
        return None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _is_slurm(environment: Mapping[str, str]) -> bool:
    if "SLURM_PROCID" not in environment or "SLURM_NTASKS" not in environment:
        return False
    return environment.get("SLURM_JOB_NAME") not in _SLURM_INTERACTIVE


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        value = environment.get(name, "")
        if value.isdigit():
            return int(value)
    return None
