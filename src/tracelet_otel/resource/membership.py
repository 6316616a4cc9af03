"""What this process is to its run: which rank, and in which of its trainings."""

from __future__ import annotations

from typing import Any

from tracelet_otel import semconv
from tracelet_otel.resource.rank_info import RankInfo


class Membership:
    """One process of a run; what only a trainer knows is told by it when it starts.

    Args:
        rank_info: what the environment says; None where no launcher did.
        started_in: number of the training in which rank 0 started this process; 0 where it did not.
            What is logged before that training was logged by rank 0, alone: this process runs the
            same script from its beginning.
    """

    def __init__(self, rank_info: RankInfo | None = None, started_in: int = 0) -> None:
        self.rank_info = rank_info
        """None for a process that is no rank, or does not know yet."""
        self.training = max(started_in - 1, 0)
        """Number of the current, or else last, training that several processes share, from 1.

        What a process trains by itself does not count: not all need do it.
        """
        self.repeats = started_in > 0
        """Whether what happens now has happened in rank 0 before it started this process."""

    def begin(self, world_size: int) -> None:
        """A training begins in this process.

        Args:
            world_size: how many processes take part in it.
        """
        if world_size > 1:
            self.training += 1
            self.repeats = False

    @property
    def rank(self) -> int | None:
        """Which rank this process is; None where it is none, or does not know yet."""
        return self.rank_info.rank if self.rank_info else None

    @property
    def world_size(self) -> int | None:
        """How many processes train together, where this is one of them."""
        return self.rank_info.world_size if self.rank_info else None

    def is_shadow(self, world_size: int) -> bool:
        """Whether a training of this process is nobody's: each rank runs it by itself, and rank 0 reports it.

        Args:
            world_size: how many processes take part in the training.
        """
        return self.repeats or (world_size == 1 and self.rank_info is not None and not self.rank_info.is_first)

    @property
    def attributes(self) -> dict[str, Any]:
        """Resource attributes, of what is known by now."""
        if self.rank_info is None:
            return {}
        found = {
            semconv.RANK: self.rank_info.rank,
            semconv.LOCAL_RANK: self.rank_info.local_rank,
            semconv.NODE_RANK: self.rank_info.node_rank,
        }
        return {name: value for name, value in found.items() if value is not None}
