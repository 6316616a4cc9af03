"""One run in the relay: what is accepted is journalled, merged over ranks, then handed to each backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.base import RunLocation, Tracker
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.decode import Batch, Param, Reading, Report
from tracelet_otel.protocol.hparam_reports import Reports
from tracelet_otel.protocol.messages import Status
from tracelet_otel.relay.end_of_stream import EndOfStream
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.merge import Late, Merge, Result, Source
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.packing import Share, pack_shares, unpack_shares
from tracelet_otel.relay.parts import RequestPart, alone, joined, process_of, share, without_known
from tracelet_otel.relay.ranges import IntegerRanges
from tracelet_otel.relay.unmerged import Unmerged, ranges, seen_of
from tracelet_otel.settings import Settings

_MOST_PROBLEMS: Final = 20
_UNHEARD_S: Final = 10.0
"""For so long values wait for a rank of which nothing at all has come."""
_ROOM_S: Final = 0.1
"""So often it is tried again to write to a full disk."""
REOPENED: Final[Mapping[str, Any]] = {"ended": False, "end_unix_nano": None, "outcomes": {}, "complete": None}
"""What a journal says of a run that goes on."""


class EndedError(TraceletError):
    """The run takes no more."""


class TooLateError(TraceletError):
    """The run takes no more of a process that does not own it, and never will."""


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
        self._deliveries: dict[str, Delivery] = {}
        self._closing = False
        self._complete = False
        self._over = False
        state = journal.state
        self._final = Status.from_line(state["complete"]) if state.get("complete") else None
        if self._final is not None:
            self._closing = self._complete = self._over = True
        self._ended: bool = state.get("ended", False)
        self._end_unix_nano: int | None = state.get("end_unix_nano")
        self._members = Members(state.get("outcomes", {}), settings.export_interval)
        self._reports = Reports(state.get("hparams"))
        self._seen = seen_of(state.get("seen", {}))
        # What a process logs now may leave it after an interval, and arrive after another one.
        interval_s = 2 * settings.export_interval
        self._merge = Merge(max(settings.rank_timeout, interval_s), max(_UNHEARD_S, interval_s))
        self._end_of_stream = EndOfStream(self._complete_to)
        self._outbox = Outbox(journal, settings.journal_limit * 2**20, guard)
        self._unmerged = Unmerged(state.get("passed", {}))
        # What the merge has passed on and the journal has yet to know.
        self._passes = False
        self._ready: list[Reading] = []
        self._merged_parts: list[int] = []
        if self._final is None:
            self._merge_what_waits()
        self._new_row_s = self._heard_s = time.monotonic()
        self._ended_s = self._heard_s if self._ended else None

    @property
    def ended(self) -> bool:
        """Whether the run's owner has ended it."""
        return self._ended

    @property
    def others_may_send(self) -> bool:
        """Whether another process than the owner may have more to say."""
        with self._lock:
            # A short training may be over before another rank has found its run.
            now_s = time.monotonic()
            return (
                self._members.others_may_send(now_s, self._ended_s)
                or self._merge.waits_for_unheard
                or self._end_of_stream.have_overtaken(now_s)
            )

    def _complete_to(self, process: str) -> int:
        seen = self._seen.get(process)
        return seen.complete_to if seen else 0

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
        return not any(one.ranges for one in self._seen.values()) and not self.status.urls

    @property
    def memory(self) -> dict[str, Any]:
        """What a journal has to begin with, where the run goes on after its journal is gone."""
        return {"seen": ranges(self._seen), "hparams": self._reports.state}

    @property
    def status(self) -> Status:
        """How far the delivery is."""
        return self._final or Status(
            urls={name: delivery.url for name, delivery in self._deliveries.items() if delivery.url is not None},
            accounts={name: self._account(delivery) for name, delivery in self._deliveries.items()},
            errors=self._guard.counts,
            complete=self._complete,
            over=self._over,
            unclosed=[name for name, delivery in self._deliveries.items() if not delivery.complete or self._ready],
            lost={name: delivery.lost for name, delivery in self._deliveries.items() if delivery.lost is not None},
            journal=str(self._journal.path),
        )

    def _account(self, delivery: Delivery) -> Account:
        account = delivery.account
        # What waits for room on the disk has yet to get to any tracker.
        return replace(account, pending=account.pending + len(self._ready)) if self._ready else account

    def hear(self) -> None:
        """Somebody asked for the run: its process is alive."""
        self._heard_s = time.monotonic()

    def reopen(self) -> None:
        """Go on with a run that had ended; the caller has the journal remember `REOPENED`."""
        self._closing = self._complete = self._over = self._ended = False
        self._ended_s = self._end_unix_nano = None
        self._final = None
        self._members.reopen()

    def open(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> dict[str, RunLocation]:
        """Create or continue the run in each backend, and deliver from now on.

        Returns:
            Where it is, by backend.

        Raises:
            TraceletError: a backend does not give us the run.
        """
        deliveries = self._make(trackers)
        places: dict[str, RunLocation] = {}
        for name, delivery in deliveries.items():
            try:
                places[name] = delivery.open(resource)
            except BaseException:
                for opened in places:
                    deliveries[opened].give_back()
                raise
        self._feed(deliveries, resource)
        return places

    def resume(self, trackers: Mapping[str, Tracker], resource: Mapping[str, Any]) -> None:
        """Deliver what the journal holds and what comes, as soon as each backend gives us the run."""
        deliveries = self._make(trackers)
        for delivery in deliveries.values():
            delivery.begin(resource)
        self._feed(deliveries, resource)

    def accept(self, part: RequestPart) -> None:
        """Take what one request has for this run; when this returns, it is on the disk.

        Raises:
            EndedError: the run is closed.
            TooLateError: it is closed, and the part is of a process that does not own it.
            JournalError: it could not be kept; nothing of it was taken.
        """
        with self._lock:
            self._heard_s = time.monotonic()
            seen = {process: IntegerRanges(one.ranges) for process, one in self._seen.items()}
            fresh = [without_known(batch, seen) for batch in part.batches]
            # All ranks have the same hyperparameters, or nobody could say which count.
            reports, params = self._reports, []
            if any(reports.has_news(process_of(batch.resource), _params(batch)) for batch in part.batches):
                reports = reports.copy()
                for batch in part.batches:
                    params += reports.add(process_of(batch.resource), _params(batch))
            outcomes = dict(self._members.outcomes)
            for batch in part.batches:
                outcomes.update(self._members.said(process_of(batch.resource), batch))
            ended = self._ended or any(batch.ended for batch in part.batches)
            has_rows = any(batch.readings for batch in fresh if not batch.is_system)
            if self._closing:
                # What only repeats is well: the last exports of a run overlap with its end, and other
                # ranks may end after it.
                owned = any(self._members.owns_run(process_of(batch.resource), batch) for batch in part.batches)
                said = bool(params) or (ended, outcomes) != (self._ended, self._members.outcomes)
                if owned and (has_rows or said):
                    raise EndedError("the run has ended")
                if has_rows and self._ended:
                    raise TooLateError("rank 0 has ended the run")
                if has_rows:
                    raise EndedError("nothing has come for long: the run is being closed")
                late = sum(len(batch.readings) for batch in fresh)
                self._guard.count("readings of GPU and host came after the run's end", late)
                return
            self._end_unix_nano = next(
                (batch.end_unix_nano for batch in part.batches if batch.end_unix_nano), self._end_unix_nano
            )
            shares = joined(found for batch in fresh if (found := share(batch)) is not None)
            self._keep(fresh, shares, reports, outcomes, ended, seen)
            self._reports, self._ended, self._seen = reports, ended, seen
            if ended and self._ended_s is None:
                self._ended_s = self._heard_s
            self._hear(part.batches)
            if has_rows:
                self._new_row_s = self._heard_s
            for one in shares:
                self._merge_share(one)
            if self._end_of_stream:
                self._hand_on(self._without(self._newly_left()))
            for batch in part.batches:
                self._tell(batch, params)
                params = []

    def look(self) -> None:
        """Pass on what has waited for too long, or for ranks that are gone; to be called now and then."""
        with self._lock:
            if self._deliveries and not self._closing:
                self._hand_on(self._without(self._newly_left()))
                self._hand_on(self._without(self._members.newly_gone(time.monotonic())))
                self._hand_on(self._merge.expire(time.monotonic()))

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
            if self._over:
                return self._complete
            if not self._closing:
                self._hand_on(self._merge.flush())
            self._closing = True
        self._wait_for_room(patience_s)
        # Side by side: a backend that is down takes no time from another.
        closing = [
            threading.Thread(target=delivery.close, args=(patience_s,), name=f"tracelet-close-{name}")
            for name, delivery in self._deliveries.items()
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
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
        self._over = True
        return self._complete

    def forget(self) -> None:
        """Remove the journal of a run all of which is delivered."""
        self._journal.remove()

    def discard(self) -> bool:
        """Forget a run that has nothing and that no backend knows of; returns whether it is such."""
        with self._lock:
            if not self.empty:
                return False
            self._closing = True
        for delivery in self._deliveries.values():
            delivery.close(0)
        self._journal.remove()
        self._over = True
        return True

    def _make(self, trackers: Mapping[str, Tracker]) -> dict[str, Delivery]:
        return {name: Delivery(tracker, self._guard, self._outbox.lane(name)) for name, tracker in trackers.items()}

    def _feed(self, deliveries: dict[str, Delivery], resource: Mapping[str, Any]) -> None:
        with self._lock:
            self._deliveries = deliveries
            said = Batch(resource, (), (), self._members.outcome, end_unix_nano=self._end_unix_nano)
            self._tell(said, self._reports.all)
        # Until now nobody could have sent anything.
        self._new_row_s = self._heard_s = time.monotonic()

    def _merge_what_waits(self) -> None:
        """Merge what a relay before this one has left; of each process at once, since parts came in any order."""
        waiting: dict[tuple[str, int], list[Reading]] = {}
        for number, content in self._journal.unmerged():
            shares = unpack_shares(content)
            self._unmerged.add(number, shares)
            for one in shares:
                left = [reading for reading in one.readings if not self._unmerged.is_passed(one.process, reading)]
                waiting.setdefault((one.process, one.rank), []).extend(left)
        for (process, rank), readings in waiting.items():
            self._merge_share(Share(process, rank, tuple(readings)))

    def _keep(
        self,
        fresh: Sequence[Batch],
        shares: Sequence[Share],
        reports: Reports,
        outcomes: Mapping[str, str],
        ended: bool,
        seen: Mapping[str, IntegerRanges],
    ) -> None:
        state = {
            "outcomes": outcomes,
            "ended": ended,
            "end_unix_nano": self._end_unix_nano,
            "seen": ranges(seen),
            # Only what has changed: a large model's are many, and nothing else of a request grows with them.
            **({"hparams": reports.state} if reports is not self._reports else {}),
        }
        ready = [reading for batch in fresh for reading in alone(batch)]
        waiting = [one for one in shares if one.readings]
        if ready or waiting:
            number = self._outbox.write(ready, pack_shares(waiting) if waiting else None, state=state)
            if number is not None:
                self._unmerged.add(number, waiting)
        elif (outcomes, ended) != (self._members.outcomes, self._ended) or reports is not self._reports:
            self._journal.remember(state)

    def _tell(self, batch: Batch, params: Sequence[tuple[str, Param]]) -> None:
        """Say what is not a reading, new hyperparameters and the outcome; readings are in the outbox."""
        said = replace(batch, readings=(), outcome=self._members.outcome)
        for delivery in self._deliveries.values():
            delivery.put(said, params)

    def _merge_share(self, found: Share) -> None:
        complete_to = self._seen[found.process].complete_to
        self._hand_on(self._merge.add(found.process, found.rank, found.readings, complete_to, time.monotonic()))

    def _hear(self, heard: Iterable[Batch]) -> None:
        for batch in (one for one in heard if not one.is_system):
            process = process_of(batch.resource)
            self._members.hear(process, batch, self._heard_s)
            self._end_of_stream.hear(process, batch, self._heard_s)

    def _newly_left(self) -> list[int]:
        now_s = time.monotonic()
        return self._members.newly_left(lambda process: not self._end_of_stream.lacks(process, now_s))

    def _without(self, ranks: Iterable[int]) -> Result:
        return [one for rank in ranks for one in self._merge.leave(rank)]

    def _hand_on(self, result: Result) -> None:
        """Pass on what is merged; what cannot be written is tried again with what comes next."""
        sources: list[Source] = []
        for one in result:
            if isinstance(one, Late):
                sources.append(one.source)
                self._guard.report(
                    f"a value of {one.reading.name!r} from rank {one.rank} came too late to be merged",
                    f"the others' were passed on before, for they had waited too long (rank_timeout); step "
                    f"{one.reading.step}",
                )
            else:
                sources.extend(one.sources)
                self._ready.append(one.reading)
        if sources:
            self._merged_parts += self._unmerged.pass_on(sources)
            self._passes = True
        if not self._passes:
            return
        try:
            # What it is made of is on the disk, and stays there until this is.
            state = {"passed": self._unmerged.passed}
            self._outbox.write(self._ready, merged=self._merged_parts, state=state, durable=False)
        except JournalError as error:
            self._guard.report("values that are merged wait for room on the disk", error)
            return
        self._ready, self._merged_parts, self._passes = [], [], False
        for delivery in self._deliveries.values():
            delivery.wake()

    def _wait_for_room(self, patience_s: float) -> None:
        """Where the disk is full, trackers that take readings make room."""
        deadline_s = time.monotonic() + patience_s
        while True:
            with self._lock:
                self._hand_on([])
                if not self._ready or time.monotonic() >= deadline_s:
                    return
            time.sleep(_ROOM_S)


def _params(batch: Batch) -> tuple[Report, ...]:
    """Those of a batch that count."""
    return () if batch.rank else batch.params
