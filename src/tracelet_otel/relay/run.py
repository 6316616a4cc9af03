"""One run in the relay. What it accepts is written to a journal, merged over ranks, then delivered to each tracker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.protocol.decode import Batch
from tracelet_otel.protocol.messages import Status
from tracelet_otel.relay.deliveries import Deliveries
from tracelet_otel.relay.figures import RunFigures
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.merge import Merge
from tracelet_otel.relay.merging import Merging
from tracelet_otel.relay.meter import RunMeter
from tracelet_otel.relay.news import Known, News, news_of, reopened
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.parts import RequestPart, alone, process_of
from tracelet_otel.relay.phase import Phase, refusal_of
from tracelet_otel.relay.ranges import stored
from tracelet_otel.relay.streams import Streams
from tracelet_otel.settings import Settings

_MOST_PROBLEMS: Final = 20
"""How many problems are reported to the run's owner."""
_UNHEARD_S: Final = 10.0
"""How long values wait for a rank from which nothing has come yet."""


class RelayedRun:
    """One run in the relay, with its journal, its merge and its deliveries.

    Args:
        journal: journal of this run. What an earlier relay has left in it is delivered first.
        guard: counts and logs errors.
        settings: how often processes export, how long values wait for ranks, and how large the journal may be.
        now: the time in seconds, by which ranks are waited for.
        count_runs: returns how many runs the relay has.
    """

    def __init__(
        self,
        journal: Journal,
        guard: Guard,
        settings: Settings,
        now: Callable[[], float] = time.monotonic,
        count_runs: Callable[[], int] = lambda: 1,
    ) -> None:
        self._journal = journal
        self._guard = guard
        self._now = now
        self._lock = threading.RLock()
        state = journal.state
        self._final = Status.from_line(state["complete"]) if state.get("complete") else None
        """Last status of an earlier relay of this run that has delivered everything; None if there was none."""
        self._complete = self._final is not None
        self.known: Final = Known.from_state(state)
        """What has come so far; to be changed by the run only."""
        self._phase = Phase.CLOSED if self._complete else Phase.ENDED if self.known.ended else Phase.OPEN
        self._members = Members(stored(state, "outcomes"), settings.export_interval, stored(state, "members"), now())
        # A process may export a value an interval after it was logged, and the export may arrive an interval later.
        limit_s = max(settings.rank_timeout, interval_s := 2 * settings.export_interval)
        self._streams = Streams(self.known.complete_to, limit_s)
        self._outbox = Outbox(journal, settings.journal_limit * 2**20, guard)
        self._deliveries = Deliveries(self._outbox, guard, count_runs, journal.path)
        self.spans, self.files = self._deliveries.spans, self._deliveries.files
        merge = Merge(limit_s, max(_UNHEARD_S, interval_s))
        self._merging = Merging(self._outbox, merge, state, self._streams, guard, self._deliveries.wake, now)
        self.latest = self._merging.latest
        """The newest values that were passed on to trackers."""
        self._meter = RunMeter(journal, self._outbox, self._merging, self._deliveries, self._lock)
        self._merging.resume(journal.unmerged(), self._members.ranks)
        self._new_row_s = self._heard_s = self._now()
        self._ended_s = self._heard_s if self.known.ended else None

    @property
    def others_may_send(self) -> bool:
        """Whether a process other than the owner may send more, or values or samples of it are still waited for."""
        with self._lock:
            # Values also wait for ranks that have sent nothing: a short training may end before a rank finds its run.
            now_s = self._now()
            return (
                self._members.others_may_send(now_s, self._ended_s)
                or self._merging.waits_for_unheard
                or self._streams.have_overtaken(now_s)
            )

    @property
    def silent_s(self) -> float:
        """Seconds since the last request that had a new row."""
        return self._now() - self._new_row_s

    @property
    def unheard_s(self) -> float:
        """Seconds since the last request of any kind. A process that is alive sends one in each export interval."""
        return self._now() - self._heard_s

    @property
    def problems(self) -> str:
        """What could not be done so far, one problem to a line. The run's owner logs it."""
        return "\n".join(list(self._guard.counts)[:_MOST_PROBLEMS])

    @property
    def is_over(self) -> bool:
        """Whether nothing more is tried (`Status.over`), without the rest of the status."""
        return self._phase is Phase.CLOSED

    @property
    def status(self) -> Status:
        """How far the delivery is."""
        unwritten = self._merging.unwritten
        return self._final or Status(
            urls=self._deliveries.urls,
            accounts=self._deliveries.accounts(unwritten, self._merging.incomplete.count),
            errors={**self._guard.counts, **self._merging.incomplete.errors},
            complete=self._complete,
            over=self.is_over,
            unclosed=self._deliveries.unclosed(unwritten),
            lost=self._deliveries.lost,
            journal=str(self._journal.path),
            outcome=self._members.outcome,
            attempt=self._deliveries.attempt(self.known.attempt),
            ids=self._deliveries.ids,
            hints=self._deliveries.hints,
            values=self.latest.ranges() if self.is_over else (),
        )

    @property
    def figures(self) -> RunFigures:
        """What this relay has done for the run, and what waits."""
        return self._meter.read(is_over=self.is_over)

    def hear(self) -> None:
        """Take note that a process has asked for the run's status, so it is alive."""
        self._heard_s = self._now()

    def reopen(self) -> dict[str, Any]:
        """Go on with a run that had ended, without processes that are gone; returns what the caller has to store."""
        self._phase, self._complete = Phase.OPEN, False
        self.known.ended, self.known.end_unix_nano = False, None
        self._ended_s = self._final = None
        self._merging.leave({rank for _, rank in self._members.ranks})
        self._members.reopen()
        return reopened(self._journal.state)

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
        self._begin()
        return locations

    def resume(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Do the same as `open` in the background; each tracker gets values as soon as it has the run."""
        self._deliveries.begin(trackers, resource)
        self._begin()

    def accept(self, parts: Sequence[RequestPart]) -> list[TraceletError | None]:
        """Accept those parts of requests that belong to this run. They are written to the disk together.

        Returns:
            For each part None where it is on the disk, or why it is not: `EndedError` if the run is closed or being
            closed, `TooLateError` if its process does not own the run besides, `JournalError` if it cannot be written.
        """
        with self._lock:
            self._heard_s = self._now()
            if self._phase >= Phase.CLOSING:
                return [self._refusal(part) for part in parts]
            batches = [batch for part in parts for batch in part.batches]
            news = news_of(batches, self.known, self._members)
            try:
                number = self._keep(news)
            except JournalError as error:
                return [error for _ in parts]
            self._take(batches, news, number)
            return [None for _ in parts]

    def _refusal(self, part: RequestPart) -> TraceletError | None:
        news = news_of(part.batches, self.known, self._members)
        owned = any(self._members.owns_run(process_of(batch.resource), batch) for batch in part.batches)
        refusal = refusal_of(news, owned=owned, ended=self.known.ended)
        if refusal is None:
            late = sum(len(batch.readings) for batch in news.fresh)
            self._guard.count("readings of GPU and host came after the run's end", late)
        return refusal

    def _take(self, batches: Sequence[Batch], news: News, number: int) -> None:
        """Process what requests have brought, and what the journal has by now; `number` is what `_keep` returned."""
        self.known.take(news)
        if self.known.ended and self._phase is Phase.OPEN:
            self._phase, self._ended_s = Phase.ENDED, self._heard_s
        self._hear(batches)
        self._new_row_s = self._heard_s if news.has_rows else self._new_row_s
        self._merging.add(news.shares, number)
        if self._streams.have_ended:
            self._merging.leave(self._newly_left())
        self.files.notice()
        if news.says_more:
            self._deliveries.tell(news.reported, self._members.outcome, self.known.end_unix_nano)
        else:
            self._deliveries.wake()

    def look(self) -> None:
        """Pass on values that have waited too long, or for ranks that have ended; to be called regularly."""
        with self._lock:
            if self._deliveries and self._phase < Phase.CLOSING:
                self._merging.leave(self._newly_left())
                self._merging.leave(self._members.newly_gone(self._now()))
                self._merging.expire()

    def close(self, patience_s: float, *, marks: bool = False) -> bool:
        """Deliver what is left and end the run in each tracker.

        Args:
            patience_s: give up on a tracker that takes nothing for this many seconds.
            marks: whether to keep a journal that says so until `forget` is called, for a relay after this one.

        Returns:
            Whether everything is delivered. Then the journal is deleted, or says so.
        """
        with self._lock:
            if self._phase is Phase.CLOSED:
                return self._complete
            if self._phase < Phase.CLOSING:
                self._merging.flush()
            self._phase = Phase.CLOSING
        self._merging.wait_for_room(self._lock, patience_s)
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
        """Delete the run and its journal, if it has no readings and no tracker has it; returns whether it was so."""
        with self._lock:
            if self.status.urls or not self.known.is_empty:
                return False
            self._phase = Phase.CLOSING
        self._deliveries.close(0)
        self._journal.remove()
        self._phase = Phase.CLOSED
        return True

    def _begin(self) -> None:
        with self._lock:
            self._deliveries.tell(self.known.reported, self._members.outcome, self.known.end_unix_nano)
        # No process could send anything before this.
        self._new_row_s = self._heard_s = self._now()

    def _keep(self, news: News) -> int:
        ready = [reading for batch in news.fresh for reading in alone(batch)]
        waiting = [one for one in news.shares if one.readings]
        if ready or waiting:
            return self._merging.keep(ready, waiting, news.state)
        if news.reports or news.says_more or news.identities:
            self._journal.remember(news.state)
        return 0

    def _hear(self, batches: Iterable[Batch]) -> None:
        for batch in (one for one in batches if not one.is_system):
            process = process_of(batch.resource)
            self._members.hear(process, batch, self._heard_s)
            self._streams.hear(process, batch, self._heard_s)

    def _newly_left(self) -> list[int]:
        return self._members.newly_left(lambda process: not self._streams.lacks(process, self._now()))
