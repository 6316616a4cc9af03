"""Opens the run of a process before it starts ranks as copies of itself."""

from __future__ import annotations

from collections.abc import Callable

from tracelet_otel.instrumentation.launching import InStartedProcess, Launching


class OpensRun:
    """A `Launching` that opens the run when the process is about to spawn or fork ranks.

    Such a process only waits for its ranks and logs nothing itself, so nothing else would open the run.

    Args:
        inner: announces the run to the ranks.
        open_run: opens the run.
    """

    def __init__(self, inner: Launching, open_run: Callable[[], None]) -> None:
        self._inner = inner
        self._open_run = open_run

    def begin(self, training: int) -> None:
        """Announce the run, as `inner` does."""
        self._inner.begin(training)

    def end(self) -> None:
        """End the announcement, as `inner` does."""
        self._inner.end()

    @property
    def place(self) -> str:
        """What `inner` says."""
        return self._inner.place

    @property
    def in_process(self) -> InStartedProcess | None:
        """What `inner` has for a started process. If that is not None, the run is opened first."""
        found = self._inner.in_process
        if found is not None:
            self._open_run()
        return found
