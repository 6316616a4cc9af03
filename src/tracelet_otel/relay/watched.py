"""A process of a run, and what can be known of its end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from tracelet_otel._support.processes import is_alive
from tracelet_otel.protocol.fault_files import fault_file
from tracelet_otel.relay.death import GONE, Remains
from tracelet_otel.relay.exit_status import ExitStatus
from tracelet_otel.relay.memory_kills import MemoryKills

_MOST_STACK_BYTES: Final = 1 << 20


class WatchedProcess:
    """A process of the run that is on this machine, or was.

    Args:
        pid: its pid.
        start: what `processes.started` returned for it.
        rank: its rank; None where it has none, or has not told it.
        kills: the count of its control group when it was first seen; None where there is none.
    """

    def __init__(self, pid: int, start: str, rank: int | None, kills: MemoryKills | None) -> None:
        self.pid = pid
        self.start = start
        self.rank = rank
        self.status = ExitStatus(pid, start)
        self.has_left = False
        """Whether it has reported that it ends."""
        self.number: float = math.inf
        """The how many-th of those that have ended it is; infinite where that is not known."""
        self._kills = kills
        self._samples = (kills, kills)
        """The last two counts; the first is old enough that a rise since then may have been the end of this process."""
        self._risen: tuple[str, bool] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs, and is not about to end."""
        return is_alive(self.pid, self.start) and self.status.read() is None

    @property
    def is_missing(self) -> bool:
        """Whether it is gone, has not reported that it ends, and has no exit status that says that all is well."""
        return not (self.is_alive or self.has_left or self.status.read() == 0)

    @property
    def has_ended(self) -> bool:
        """Whether `note` was called."""
        return self.number != math.inf

    def note(self, number: int) -> None:
        """Take note that it has just ended."""
        self.number = number
        self.status.read()
        self._risen = self._rise()

    def sample(self) -> None:
        """Take the count, if it lives."""
        last = self._samples[1]
        if last is not None and self._risen is None:
            self._samples = (last, last.now)

    def remains(self, directory: Path, loss: str) -> Remains:
        """What is known of it, now that it is gone."""
        # After a restart there is another count.
        rise, is_old = ("", False) if loss != GONE else self._risen or self._rise()
        stack = _text(fault_file(directory, self.pid, self.start))
        return Remains(self.rank, self.status.read(), stack, rise, is_old, loss)

    def _rise(self) -> tuple[str, bool]:
        """What says that a process was killed for memory, and whether that was long ago."""
        first, (before, _) = self._kills, self._samples
        if first is None or before is None:
            return "", False
        lately = before.rise
        return (lately, False) if lately else (first.rise, True)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_STACK_BYTES).decode(errors="replace")
    except OSError:
        return ""
