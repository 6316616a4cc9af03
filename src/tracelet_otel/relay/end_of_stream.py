"""What processes say last, and which samples of theirs it has overtaken on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracelet_otel.protocol.decode import Batch

_OVERTAKEN_S: Final = 30.0
"""For so long samples are waited for that the last word of their process has overtaken."""


class EndOfStream:
    """Of the processes of a run; times are of the monotonic clock.

    Args:
        complete_to: the sequence number up to which each sample of a process has come.
    """

    def __init__(self, complete_to: Callable[[str], int]) -> None:
        self._complete_to = complete_to
        self._sent: dict[str, int] = {}
        """Samples that each process has sent, by what it says."""
        self._said_s: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any process has said its last word."""
        return bool(self._said_s)

    def hear(self, process: str, batch: Batch, now_s: float) -> None:
        """Hear what a process says."""
        self._sent[process] = max(batch.samples, self._sent.get(process, 0))
        if batch.ended or batch.left:
            self._said_s.setdefault(process, now_s)

    def have_overtaken(self, now_s: float) -> bool:
        """Whether a process has said its last word, and samples of it are still on their way."""
        return any(self.lacks(process, now_s) for process in self._said_s)

    def lacks(self, process: str, now_s: float) -> bool:
        """Whether samples of a process are still on their way."""
        is_short = self._sent.get(process, 0) > self._complete_to(process)
        return is_short and now_s < self._said_s.get(process, now_s) + _OVERTAKEN_S
