"""One run in the relay: what is accepted is journalled, merged over ranks, then handed to each backend."""

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
_UNHEARD_S: Final = 10.0
"""For so long values wait for a rank of which nothing at all has come."""
_ROOM_S: Final = 0.1
"""So often it is tried again to write to a full disk."""
REOPENED: Final[Mapping[str, Any]] = {"ended": False, "end_unix_nano": None, "outcomes": {}, "complete": None}
"""What a journal says of a run that goes on."""


class RelayedRun:
    """A run between its journal and its trackers.

    Args:
        journal: of this run; what it holds is delivered first.
        guard: where errors end.
        settings: how often processes send, and how long values wait for ranks.
    """

    def __init__(self, journal: Journal, guard: Guard, settings: Settings) -> None:
        self._journal = journal
        self._guard = guard
        self._lock = threading.RLock()
        state = journal.state
        self._final = Status.from_line(state["complete"]) if state.get("complete") else None
        """What a relay before this one has said when all was delivered."""
        self._complete = self._final is not None
        self._known = Known.from_state(state)
        self._phase = Phase.CLOSED if self._complete else Phase.ENDED if self._known.ended else Phase.OPEN
        self._members = Members(state.get("outcomes", {}), settings.export_interval)
        self._end_of_stream = EndOfStream(self._complete_to)
        self._outbox = Outbox(journal, settings.journal_limit * 2**20, guard)
        # What a process logs now may leave it after an interval, and arrive after another one.
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
        """Whether another process than the owner may have more to say."""
        with self._lock:
            # A short training may be over before another rank has found its run.
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
        """Seconds since the last new row."""
        return time.monotonic() - self._new_row_s

    @property
    def unheard_s(self) -> float:
        """Seconds since anything came; a process that is alive sends at each of its export intervals."""
        return time.monotonic() - self._heard_s

    @property
    def problems(self) -> str:
        """What could not be done so far, one to a line; for the owner's log."""
        return "\n".join(list(self._guard.counts)[:_MOST_PROBLEMS])

    @property
    def empty(self) -> bool:
        """Whether it has no row, and no backend knows of it."""
        return self._known.is_empty and not self.status.urls

    @property
    def memory(self) -> dict[str, Any]:
        """What a journal has to begin with, where the run goes on after its journal is gone."""
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
        """Somebody asked for the run: its process is alive."""
        self._heard_s = time.monotonic()

    def reopen(self) -> None:
        """Go on with a run that had ended; the caller has the journal remember `REOPENED`."""
        self._phase, self._complete = Phase.OPEN, False
        self._known = replace(self._known, ended=False, end_unix_nano=None)
        self._ended_s = None
        self._final = None
        self._members.reopen()

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, RunLocation]:
        """Create or continue the run in each backend, and deliver from now on.

        Returns:
            Where it is, by backend.

        Raises:
            TraceletError: a backend does not give us the run.
        """
        locations = self._deliveries.open(trackers, resource)
        self._begin(resource)
        return locations

    def resume(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Deliver what the journal holds and what comes, as soon as each backend gives us the run."""
        self._deliveries.begin(trackers, resource)
        self._begin(resource)

    def accept(self, part: RequestPart) -> None:
        """Take what one request has for this run; when this returns, it is on the disk.

        Raises:
            EndedError: the run is closed.
            TooLateError: it is closed, and the part is of a process that does not own it.
            JournalError: it could not be kept; nothing of it was taken.
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
        """What only repeats is well: the last exports of a run overlap with its end, and ranks may end after it."""
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
        """It is on the disk: from now on it counts."""
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
        """Pass on what has waited for too long, or for ranks that are gone; to be called now and then."""
        with self._lock:
            if self._deliveries and self._phase < Phase.CLOSING:
                self._merging.leave(self._newly_left())
                self._merging.leave(self._members.newly_gone(time.monotonic()))
                self._merging.expire()

    def close(self, patience_s: float, *, marks: bool = False) -> bool:
        """Deliver what is left and end the run in each backend.

        Args:
            patience_s: give up on a backend that has taken nothing for this long.
            marks: leave a journal that says that all is delivered, until `forget`: who comes after
                a relay that was killed then knows it.

        Returns:
            Whether everything is delivered; then the journal is gone, or marked.
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
            # It is delivered again, by whoever finds it.
            self._guard.report("the journal does not know that all is delivered", error)
            self._journal.close()
        self._outbox.clear()
        self._phase = Phase.CLOSED
        return self._complete

    def forget(self) -> None:
        """Remove the journal of a run all of which is delivered."""
        self._journal.remove()

    def discard(self) -> bool:
        """Forget a run that has nothing and that no backend knows of; returns whether it is such."""
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
        # Until now nobody could have sent anything.
        self._new_row_s = self._heard_s = time.monotonic()

    def _keep(self, news: News) -> None:
        ready = [reading for batch in news.fresh for reading in alone(batch)]
        waiting = [one for one in news.shares if one.readings]
        if ready or waiting:
            self._merging.keep(ready, waiting, news.state)
        elif news.has_reports or news.says_more_than(self._members.outcomes):
            self._journal.remember(news.state)

    def _hear(self, heard: Iterable[Batch]) -> None:
        for batch in (one for one in heard if not one.is_system):
            process = process_of(batch.resource)
            self._members.hear(process, batch, self._heard_s)
            self._end_of_stream.hear(process, batch, self._heard_s)

    def _newly_left(self) -> list[int]:
        now_s = time.monotonic()
        return self._members.newly_left(lambda process: not self._end_of_stream.lacks(process, now_s))

    def _wait_for_room(self, patience_s: float) -> None:
        """Where the disk is full, somebody may make room."""
        deadline_s = time.monotonic() + patience_s
        while True:
            with self._lock:
                self._merging.expire()
                if not self._merging.unwritten or time.monotonic() >= deadline_s:
                    return
            time.sleep(_ROOM_S)
