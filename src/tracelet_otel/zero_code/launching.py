"""Ranks that are copies of a process: their run has to be there before them."""

from __future__ import annotations

from collections.abc import Callable

from tracelet_otel.instrumentation.launching import InStartedProcess, Launching


class OpensRun:
    """A `Launching` of a process that waits for the ranks that it spawns or forks, and logs nothing itself.

    Args:
        inner: tells the ranks of the run.
        open_run: begins it.
    """

    def __init__(self, inner: Launching, open_run: Callable[[], None]) -> None:
        self._inner = inner
        self._open_run = open_run

    def begin(self, training: int) -> None:
        """See `Launching.begin`."""
        self._inner.begin(training)

    def end(self) -> None:
        """See `Launching.end`."""
        self._inner.end()

    @property
    def in_process(self) -> InStartedProcess | None:
        """See `Launching.in_process`."""
        found = self._inner.in_process
        if found is not None:
            self._open_run()
        return found
