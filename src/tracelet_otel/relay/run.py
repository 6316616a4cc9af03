"""One run in the relay. What it accepts is written to a journal, merged over ranks, then delivered to each tracker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.protocol.decode import Batch
from tracelet_otel.protocol.messages import Status
from tracelet_otel.relay.deliveries import Deliveries
from tracelet_otel.relay.end_of_stream import EndOfStream
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.merge import Merge
from tracelet_otel.relay.merging import Merging
from tracelet_otel.relay.news import Known, News, news_of
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.parts import RequestPart, alone, process_of
from tracelet_otel.relay.phase import EndedError, Phase, TooLateError
from tracelet_otel.settings import Settings

_MOST_PROBLEMS: Final = 20
"""How many problems are reported to the run's owner."""
_UNHEARD_S: Final = 10.0
"""How long values wait for a rank from which nothing has come yet."""
_ROOM_S: Final = 0.1
"""Pause between two attempts to write to a full disk."""
REOPENED: Final[Mapping[str, Any]] = {"ended": False, "end_unix_nano": None, "outcomes": {}, "complete": None}
"""State that a journal stores when a run that has ended goes on."""


class RelayedRun:
    """One run in the relay, with its journal, its merge and its deliveries.

    Args:
        journal: journal of this run. What an earlier relay has left in it is delivered first.
        guard: counts and logs errors.
        settings: how often processes export, how long values wait for ranks, and how large the journal may be.
    """

    def __init__(self, journal: Journal, guard: Guard, settings: Settings) -> None:
        self._journal = journal
        self._guard = guard
        self._lock = threading.RLock()
        state = journal.state
        self._final = Status.from_line(state["complete"]) if state.get("complete") else None
        """Last status of an earlier relay of this run that has delivered everything; None if there was none."""
        self._complete = self._final is not None
        self._known = Known.from_state(state)
        self._phase = Phase.CLOSED if self._complete else Phase.ENDED if self._known.ended else Phase.OPEN
        self._members = Members(state.get("outcomes", {}), settings.export_interval)
        self._end_of_stream = EndOfStream(self._complete_to)
        self._outbox = Outbox(journal, settings.journal_limit * 2**20, guard)
        # A process may export a value one interval after it was logged, and the export may arrive an interval later.
        interval_s = 2 * settings.export_interval
        merge = Merge(max(settings.rank_timeout, interval_s), max(_UNHEARD_S, interval_s))
        self._deliveries = Deliveries(self._outbox, guard)
        passed, wake = state.get("passed", {}), self._deliveries.wake
        self._merging = Merging(journal, self._outbox, merge, passed, self._complete_to, guard, wake)
        self._new_row_s = self._heard_s = time.monotonic()
        self._ended_s = self._heard_s if self._known.ended else None

    @property
    def ended(self) -> bool:
        """Whether the run's owner has ended it."""
        return self._known.ended

    @property
    def others_may_send(self) -> bool:
        """Whether a process other than the owner may send more, or values or samples of it are still waited for."""
        with self._lock:
            # Values also wait for ranks that have sent nothing: a short training may end before a rank finds its run.
            now_s = time.monotonic()
            return (
                self._members.others_may_send(now_s, self._ended_s)
                or self._merging.waits_for_unheard
                or self._end_of_stream.have_overtaken(now_s)
            )

    def _complete_to(self, process: str) -> int:
        return self._known.complete_to(process)

    @property
    def silent_s(self) -> float:
        """Seconds since the last request that had a new row."""
        return time.monotonic() - self._new_row_s

    @property
    def unheard_s(self) -> float:
        """Seconds since the last request of any kind. A process that is alive sends one in each export interval."""
        return time.monotonic() - self._heard_s

    @property
    def problems(self) -> str:
        """What could not be done so far, one problem to a line. The run's owner logs it."""
        return "\n".join(list(self._guard.counts)[:_MOST_PROBLEMS])

    @property
    def empty(self) -> bool:
        """Whether the run has no readings, and no tracker has it."""
        return self._known.is_empty and not self.status.urls

    @property
    def memory(self) -> dict[str, Any]:
        """State for a new journal, where the run goes on after its journal was deleted."""
        return self._known.memory

    @property
    def status(self) -> Status:
        """How far the delivery is."""
        unwritten = self._merging.unwritten
        return self._final or Status(
            urls=self._deliveries.urls,
            accounts=self._deliveries.accounts(unwritten),
            errors=self._guard.counts,
            complete=self._complete,
            over=self._phase is Phase.CLOSED,
            unclosed=self._deliveries.unclosed(unwritten),
            lost=self._deliveries.lost,
            journal=str(self._journal.path),
        )

    def hear(self) -> None:
        """Take note that a process has asked for the run's status, so it is alive."""
        self._heard_s = time.monotonic()

    def reopen(self) -> None:
        """Go on with a run that had ended. The caller also has to store `REOPENED` in the journal."""
        self._phase, self._complete = Phase.OPEN, False
        self._known = replace(self._known, ended=False, end_unix_nano=None)
        self._ended_s = None
        self._final = None
        self._members.reopen()

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, RunLocation]:
        """Create or continue the run in each tracker, and deliver from now on.

        Args:
            trackers: trackers of the run, by name.
            resource: attributes of the run's resource.

        Returns:
            Where people find the run, by tracker.

        Raises:
            TraceletError: a tracker can neither create nor continue the run.
        """
        locations = self._deliveries.open(trackers, resource)
        self._begin(resource)
        return locations

    def resume(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Do the same as `open` in the background; each tracker gets values as soon as it has the run."""
        self._deliveries.begin(trackers, resource)
        self._begin(resource)

    def accept(self, part: RequestPart) -> None:
        """Accept the part of a request that belongs to this run. When this returns, it is on the disk.

        Raises:
            EndedError: the run is closed, or is being closed. The same request may succeed later.
            TooLateError: the run's owner has ended it, and it is closed. A process that does not own it is too late.
            JournalError: the part could not be written to the journal; nothing of it was accepted.
        """
        with self._lock:
            self._heard_s = time.monotonic()
            news = news_of(part, self._known, self._members)
            if self._phase >= Phase.CLOSING:
                self._check_repeats(part, news)
                return
            self._keep(news)
            self._take(part, news)

    def _check_repeats(self, part: RequestPart, news: News) -> None:
        """Check a request that came after the end. It may only repeat what is known, or report that a rank ends."""
        owned = any(self._members.owns_run(process_of(batch.resource), batch) for batch in part.batches)
        if owned and (news.has_rows or news.says_more_than(self._members.outcomes)):
            raise EndedError("the run has ended")
        if news.has_rows and self._known.ended:
            raise TooLateError("rank 0 has ended the run")
        if news.has_rows:
            raise EndedError("nothing has come for long: the run is being closed")
        late = sum(len(batch.readings) for batch in news.fresh)
        self._guard.count("readings of GPU and host came after the run's end", late)

    def _take(self, part: RequestPart, news: News) -> None:
        """Process a request that is in the journal."""
        self._known = news.after
        if self._known.ended and self._phase is Phase.OPEN:
            self._phase, self._ended_s = Phase.ENDED, self._heard_s
        self._hear(part.batches)
        if news.has_rows:
            self._new_row_s = self._heard_s
        for one in news.shares:
            self._merging.add(one)
        if self._end_of_stream:
            self._merging.leave(self._newly_left())
        params = news.params
        for batch in part.batches:
            self._deliveries.tell(batch, params, self._members.outcome)
            params = []

    def look(self) -> None:
        """Pass on values that have waited too long, or for ranks that have ended; to be called regularly."""
        with self._lock:
            if self._deliveries and self._phase < Phase.CLOSING:
                self._merging.leave(self._newly_left())
                self._merging.leave(self._members.newly_gone(time.monotonic()))
                self._merging.expire()

    def close(self, patience_s: float, *, marks: bool = False) -> bool:
        """Deliver what is left and end the run in each tracker.

        Args:
            patience_s: give up on a tracker that takes nothing for this many seconds.
            marks: whether to keep a journal which says that all is delivered, until `forget` is called. The next relay
                reads it if this one is killed.

        Returns:
            Whether everything is delivered. Then the journal is deleted, or says so.
        """
        with self._lock:
            if self._phase is Phase.CLOSED:
                return self._complete
            if self._phase < Phase.CLOSING:
                self._merging.flush()
            self._phase = Phase.CLOSING
        self._wait_for_room(patience_s)
        self._deliveries.close(patience_s)
        self._complete = bool(self._deliveries) and not self.status.unclosed
        try:
            if self._complete and marks:
                self._journal.remember({"complete": replace(self.status, over=True).line()})
                self._journal.clear()
            elif self._complete:
                self._journal.remove()
            else:
                self._journal.close()
        except JournalError as error:
            # A relay that finds the journal delivers everything again.
            self._guard.report("the journal does not know that all is delivered", error)
            self._journal.close()
        self._outbox.clear()
        self._phase = Phase.CLOSED
        return self._complete

    def forget(self) -> None:
        """Delete the journal, when everything is delivered."""
        self._journal.remove()

    def discard(self) -> bool:
        """Delete the run and its journal, if it is `empty`; returns whether it was."""
        with self._lock:
            if not self.empty:
                return False
            self._phase = Phase.CLOSING
        self._deliveries.close(0)
        self._journal.remove()
        self._phase = Phase.CLOSED
        return True

    def _begin(self, resource: Mapping[str, Any]) -> None:
        with self._lock:
            said = Batch(resource, (), (), None, end_unix_nano=self._known.end_unix_nano)
            self._deliveries.tell(said, self._known.reports.all, self._members.outcome)
        # No process could send anything before this.
        self._new_row_s = self._heard_s = time.monotonic()

    def _keep(self, news: News) -> None:
        ready = [reading for batch in news.fresh for reading in alone(batch)]
        waiting = [one for one in news.shares if one.readings]
        if ready or waiting:
            self._merging.keep(ready, waiting, news.state)
        elif news.has_reports or news.says_more_than(self._members.outcomes):
            self._journal.remember(news.state)

    def _hear(self, batches: Iterable[Batch]) -> None:
        for batch in (one for one in batches if not one.is_system):
            process = process_of(batch.resource)
            self._members.hear(process, batch, self._heard_s)
            self._end_of_stream.hear(process, batch, self._heard_s)

    def _newly_left(self) -> list[int]:
        now_s = time.monotonic()
        return self._members.newly_left(lambda process: not self._end_of_stream.lacks(process, now_s))

    def _wait_for_room(self, patience_s: float) -> None:
        """Where the disk is full, wait until there is room to write merged values, or until the time is up."""
        deadline_s = time.monotonic() + patience_s
        while True:
            with self._lock:
                self._merging.expire()
                if not self._merging.unwritten or time.monotonic() >= deadline_s:
                    return
            time.sleep(_ROOM_S)
