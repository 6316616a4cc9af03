"""Which run of this process is found by the processes that it starts, and that work for it.

An environment has room for one: the run that has gone on for longest. After the last one it is again the run that this
process has found itself, where it works for another one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tracelet_otel._support.environment import (
    is_recorded_elsewhere,
    recorder_text,
    recorder_text_of,
    set_recorder_text,
)
from tracelet_otel._support.forks import ProcessLock

if TYPE_CHECKING:
    from tracelet_otel.settings import Settings


class OfferedRuns:
    """The runs of this process that have begun and not ended, the oldest one first. A forked child has none of them."""

    def __init__(self) -> None:
        self._changing = ProcessLock()
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._texts: dict[int, str | None] = {}
        """By id of the run the text for the environment; None where processes are to find nothing."""
        self._found: str | None = None
        """What was in the environment before the first of them."""

    def offer(self, run: object, settings: Settings, place: str, *, is_opening: bool = False) -> None:
        """Let processes find a run, or none if its settings leave them out. A second call for a run replaces the first.

        Args:
            run: the run.
            settings: its settings.
            place: text that says where it is found; empty where it takes nothing of others, which they say then.
            is_opening: whether the run is not there yet.
        """
        text = None if settings.workers == "off" else recorder_text_of(os.getpid(), place, is_opening=is_opening)
        with self._changing:
            if os.getpid() != self._pid:
                self._forget()
            if not self._texts:
                # With the pid of this process it is what it had before this program took the place of another (`exec`).
                self._found = recorder_text() if is_recorded_elsewhere() else None
            self._texts[id(run)] = text
            self._tell()

    def withdraw(self, run: object) -> None:
        """A run has ended, or could not begin. For one that was not offered here, it does nothing."""
        with self._changing:
            if os.getpid() == self._pid and id(run) in self._texts:
                del self._texts[id(run)]
                self._tell()

    def _tell(self) -> None:
        set_recorder_text(next(iter(self._texts.values()), self._found))


offered: Final = OfferedRuns()
"""Those of this process."""
