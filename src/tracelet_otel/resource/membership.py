"""The place of this process in its run: its rank, and which training of the run it takes part in."""

from __future__ import annotations

from typing import Any

from tracelet_otel import semconv
from tracelet_otel.resource.rank_info import RankInfo


class Membership:
    """Rank and training of one process; what only a trainer knows is filled in when a training starts.

    Args:
        rank_info: the rank according to the environment; None where no launcher set one.
        started_in: number of the training in which rank 0 started this process; 0 where it did not start it.
            Such a process runs the same script from its beginning. What it logs before that training is not
            recorded again: rank 0 has logged it already.
    """

    def __init__(self, rank_info: RankInfo | None = None, started_in: int = 0) -> None:
        self.rank_info = rank_info
        """None for a process that is not a rank, or does not know its rank yet."""
        self.training = max(started_in - 1, 0)
        """Number of the current training or else of the last one, counted from 1; 0 before the first.

        Only trainings that several processes share are counted: not every process needs to run the others.
        """
        self.start_number = 1
        """Number of the run among those that the script itself has begun, from 1. All ranks run one script."""
        self.repeats = started_in > 0
        """Whether this process is repeating what rank 0 did before it started this process."""

    def begin(self, world_size: int) -> None:
        """Note that a training begins in this process.

        Args:
            world_size: number of processes that take part in the training.
        """
        if world_size > 1:
            self.training += 1
            self.repeats = False

    @property
    def rank(self) -> int | None:
        """Rank of this process; None where it is not a rank, or does not know its rank yet."""
        return self.rank_info.rank if self.rank_info else None

    @property
    def world_size(self) -> int | None:
        """Number of processes that train together; None where this is not one of them, or it is not known."""
        return self.rank_info.world_size if self.rank_info else None

    def is_shadow(self, world_size: int) -> bool:
        """Whether a training of this process is not recorded: each rank runs it by itself, and only rank 0 reports it.

        Args:
            world_size: number of processes that take part in the training.
        """
        return self.repeats or (world_size == 1 and self.rank_info is not None and not self.rank_info.is_first)

    @property
    def attributes(self) -> dict[str, Any]:
        """Resource attributes of the ranks that are known by now."""
        if self.rank_info is None:
            return {}
        found = {
            semconv.RANK: self.rank_info.rank,
            semconv.LOCAL_RANK: self.rank_info.local_rank,
            semconv.NODE_RANK: self.rank_info.node_rank,
        }
        return {name: value for name, value in found.items() if value is not None}
