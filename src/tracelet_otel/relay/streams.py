"""Keeps track of how much each process of a run has sent, as it reports, and whether samples of it are still to come.

Requests need not arrive in the order in which they were sent. The report of an end may overtake samples on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracelet_otel.protocol.decode import Batch

_OVERTAKEN_S: Final = 30.0
"""How long, after a process has reported its end, its missing samples are waited for."""


class Streams:
    """The streams of all processes of a run. Times are in seconds, of the clock by which the relay waits for ranks.

    Args:
        complete_to: returns the sequence number up to which all samples of a process have come.
        patience_s: how long, before the end of a process, its missing samples are waited for.
    """

    def __init__(self, complete_to: Callable[[str], int], patience_s: float) -> None:
        self.complete_to = complete_to
        """Returns the sequence number up to which all samples of a process have come."""
        self._patience_s = patience_s
        self._sent: dict[str, int] = {}
        """How many samples each process has sent, as it reports."""
        self._lacks_since_s: dict[str, float] = {}
        """Since when each process has been known to have sent samples that have not come."""
        self._ended_s: dict[str, float] = {}
        """When each process first reported its end."""

    @property
    def have_ended(self) -> bool:
        """Whether any process has reported its end."""
        return bool(self._ended_s)

    def hear(self, process: str, batch: Batch, now_s: float) -> None:
        """Take note of what a process reports about its stream."""
        self._sent[process] = max(batch.samples, self._sent.get(process, 0))
        if self.has_sent_more(process):
            self._lacks_since_s.setdefault(process, now_s)
        else:
            self._lacks_since_s.pop(process, None)
        if batch.ended or batch.left:
            self._ended_s.setdefault(process, now_s)

    def have_overtaken(self, now_s: float) -> bool:
        """Whether any process has reported its end while samples of it are still to come."""
        return any(self.lacks(process, now_s) for process in self._ended_s)

    def lacks(self, process: str, now_s: float) -> bool:
        """Whether samples of a process are missing, and it has not ended so long ago that they count as lost."""
        return self.has_sent_more(process) and now_s < self._ended_s.get(process, now_s) + _OVERTAKEN_S

    def is_on_its_way(self, process: str, now_s: float) -> bool:
        """Whether samples of a process are known to be on their way, and not for so long that they count as lost."""
        since_s = self._lacks_since_s.get(process)
        return since_s is not None and self.has_sent_more(process) and now_s < since_s + self._patience_s

    def has_sent_more(self, process: str) -> bool:
        """Whether a process has sent more samples than have come."""
        return self._sent.get(process, 0) > self.complete_to(process)
