"""Keeps track of which processes have reported their end, and whether samples of them are still to come.

The report of an end may overtake samples on the way: requests need not arrive in the order in which they were sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracelet_otel.protocol.decode import Batch

_OVERTAKEN_S: Final = 30.0
"""How long, after a process has reported its end, its missing samples are waited for."""


class EndOfStream:
    """The ends of the streams of all processes of a run. Times are of the monotonic clock.

    Args:
        complete_to: returns the sequence number up to which all samples of a process have come.
    """

    def __init__(self, complete_to: Callable[[str], int]) -> None:
        self._complete_to = complete_to
        self._sent: dict[str, int] = {}
        """How many samples each process has sent, as it reports."""
        self._ended_s: dict[str, float] = {}
        """When each process first reported its end."""

    def __bool__(self) -> bool:
        """Whether any process has reported its end."""
        return bool(self._ended_s)

    def hear(self, process: str, batch: Batch, now_s: float) -> None:
        """Take note of what a process reports about its stream."""
        self._sent[process] = max(batch.samples, self._sent.get(process, 0))
        if batch.ended or batch.left:
            self._ended_s.setdefault(process, now_s)

    def have_overtaken(self, now_s: float) -> bool:
        """Whether any process has reported its end while samples of it are still to come."""
        return any(self.lacks(process, now_s) for process in self._ended_s)

    def lacks(self, process: str, now_s: float) -> bool:
        """Whether samples of a process are missing, and it has not ended so long ago that they count as lost."""
        is_short = self._sent.get(process, 0) > self._complete_to(process)
        return is_short and now_s < self._ended_s.get(process, now_s) + _OVERTAKEN_S
