"""The life of a run in a relay: when it is over, and why its process is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.decode import Batch
from tracelet_otel.relay.deaths import Deaths
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.notice import RunNotice
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings

_SILENT_S: Final = 2.0
"""Without an owner, the run ends after this many seconds without a new row, since an export may be in transit."""


class RunLife:
    """Tells when a run is over, from its stream and from the process that owns it.

    Args:
        run: the run.
        journal: its journal.
        guard: counts and logs errors.
        settings: how long silence lasts until it means something.
        is_owner_gone: returns whether the process that owns the run is gone, or has to be taken for gone.
        state: state of the journal, with what `deaths.owner_as_plain` returned for that process; None where its
            processes are not to be watched.
        ends: waits for the ends of the run's processes.
    """

    def __init__(
        self,
        run: RelayedRun,
        journal: Journal,
        guard: Guard,
        settings: Settings,
        is_owner_gone: Callable[[], bool],
        state: Mapping[str, Any] | None = None,
        ends: Ends | None = None,
    ) -> None:
        self._run = run
        self._journal = journal
        self._guard = guard
        self._settings = settings
        self._is_owner_gone = is_owner_gone
        self._notice = RunNotice(run, journal, settings)
        self._deaths: Deaths | None = None
        if state is not None:
            try:
                self._deaths = Deaths(journal.path.parent, state, ends)
            except Exception as error:
                self._guard.report("why a process is gone will not be known", error)

    @property
    def is_owner_gone(self) -> bool:
        """Whether the process that owns the run is gone, or has to be taken for gone."""
        return self._is_owner_gone()

    def hear(self, batches: Iterable[Batch]) -> None:
        """Watch the processes that have sent something."""
        batches = tuple(batches)
        self._notice.hear(batches)
        self._of_deaths(lambda deaths: deaths.hear(batches))

    def look(self) -> None:
        """Pass on what has waited too long, and take note of the run's processes; to be called regularly."""
        self._run.look()
        self._notice.look()
        self._of_deaths(Deaths.look)

    def is_over(self, *, is_told_to_finish: bool = False) -> bool:
        """Whether the run is to be closed now.

        Args:
            is_told_to_finish: whether the relay was asked to end.
        """
        run = self._run
        if not (run.known.ended or is_told_to_finish or self.is_owner_gone):
            return False
        # The last rows of other ranks may be in transit, or other ranks have yet to notice that rank 0 is gone.
        if run.others_may_send and run.silent_s < self._settings.stop_timeout:
            return False
        if run.known.ended:
            return True
        if is_told_to_finish and self.is_owner_gone:
            # A rank from which nothing has come yet may send at its next interval. It is not waited for here.
            return run.silent_s > _SILENT_S
        return run.silent_s > max(_SILENT_S, 2 * self._settings.export_interval)

    def close(self, patience_s: float, *, marks: bool = False) -> bool:
        """Say why the run's processes are gone, where they are, and close the run, as `RelayedRun.close` does."""
        self._of_deaths(lambda deaths: deaths.tell(self._run, self._journal.state))
        with self._notice.while_closing():
            is_complete = self._run.close(patience_s, marks=marks)
        self.forget()
        return is_complete

    def forget(self) -> None:
        """Watch the run's processes no more, and tell nothing more of it: it is over."""
        self._notice.close()
        self._of_deaths(Deaths.forget)

    def clean(self) -> None:
        """Delete what processes that are gone have left of their ends."""
        self._of_deaths(Deaths.clean)

    def _of_deaths(self, call: Callable[[Deaths], object]) -> None:
        """Do what only tells why processes are gone: nothing else depends on it."""
        if self._deaths is not None:
            try:
                call(self._deaths)
            except Exception as error:
                self._guard.report("why a process is gone will not be known", error)
