"""Reads the figures of a relay and its runs. Nothing is read before somebody asks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from http import HTTPStatus

import psutil

from tracelet_otel.relay.deliveries import Deliveries
from tracelet_otel.relay.figures import RelayFigures, RunFigures, TrackerFigures, largest, total
from tracelet_otel.relay.journal import Journal, JournalError, Position
from tracelet_otel.relay.merging import Merging
from tracelet_otel.relay.outbox import Lane, Outbox
from tracelet_otel.relay.packing import unpack


class RunMeter:
    """Tells what this relay has done for one run, and what waits. Thread-safe.

    The disk is read outside of the run's lock, since requests wait for that.

    Args:
        journal: of the run.
        outbox: of the run.
        merging: of the run.
        deliveries: of the run.
        lock: the lock of the run, under which the merge changes.
    """

    def __init__(
        self, journal: Journal, outbox: Outbox, merging: Merging, deliveries: Deliveries, lock: threading.RLock
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._merging = merging
        self._deliveries = deliveries
        self._lock = lock
        self._stored: dict[str, tuple[Position, int]] = {}
        """By tracker, a position behind which no row was in memory, and when the reading there was logged."""

    def read(self, *, is_over: bool) -> RunFigures:
        """The figures at this moment.

        Args:
            is_over: whether the run is over, so that its journal is closed.
        """
        with self._lock:
            merging = self._merging
            waiting, unwritten, oldest = merging.waiting, merging.unwritten, merging.oldest_unix_nano
            taken, late, found = merging.taken, merging.incomplete.late, merging.incomplete.found
        accounts = self._deliveries.accounts(unwritten, found)
        lanes = {lane.backend: lane for lane in self._outbox.lanes}
        lags = {name: self._lag_s(lane, oldest if unwritten else None) for name, lane in lanes.items()}
        return RunFigures(
            open_runs=int(not is_over),
            readings=taken,
            waiting=waiting,
            journal_bytes=0 if is_over else self._journal_bytes(),
            undelivered_s=largest([_age_s(oldest), *lags.values()]),
            late=late,
            incomplete=found,
            trackers={
                name: TrackerFigures(
                    account.pending,
                    lags[name],
                    lanes[name].dropped,
                    account.refused,
                    account.problem,
                    self._deliveries.files.refused(name),
                )
                for name, account in accounts.items()
            },
        )

    def _lag_s(self, lane: Lane, unwritten: int | None) -> float | None:
        """Seconds since the first reading that a tracker has yet to take was logged; None where it cannot be read.

        Args:
            lane: the queue of the tracker.
            unwritten: when the oldest of those was logged that are not in the queue yet; None where there are none.
        """
        if not lane.pending:
            return _age_s(unwritten)
        first = lane.first_held
        since = self._stored_unix_nano(lane) if first is None else first.time_unix_nano
        return None if since is None else _age_s(since)

    def _stored_unix_nano(self, lane: Lane) -> int | None:
        """When the first reading was logged that waits in the journal only; its row is read once."""
        position = lane.position
        known = self._stored.get(lane.backend)
        if known is None or known[0] != position:
            try:
                found = self._journal.next_row(position.after)
            except JournalError:
                return None
            if found is None:
                return None  # all was taken in the meantime
            known = self._stored[lane.backend] = position, unpack(found[1])[0].time_unix_nano
        return known[1]

    def _journal_bytes(self) -> int | None:
        try:
            return self._journal.size_bytes
        except JournalError:
            return None


class RelayMeter:
    """Counts the answers that a relay gives, and tells the figures of the whole relay.

    Args:
        runs: returns the figures of each of its runs.
    """

    def __init__(self, runs: Callable[[], Iterable[RunFigures]]) -> None:
        self._runs = runs
        # From the first, so that whoever watches sees it grow.
        self._requests = Counter({int(HTTPStatus.OK): 0, int(HTTPStatus.SERVICE_UNAVAILABLE): 0})
        self._turned_away_s: float | None = None
        self._process = psutil.Process()

    def answered(self, status: int) -> None:
        """Count an answer to a request with metrics, by its HTTP status code."""
        self._requests[status] += 1
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._turned_away_s = time.monotonic()

    def read(self) -> RelayFigures:
        """The figures at this moment."""
        turned_away_s = self._turned_away_s
        return RelayFigures(
            requests=dict(self._requests),
            turned_away_s=None if turned_away_s is None else time.monotonic() - turned_away_s,
            memory_bytes=self._process.memory_info().rss,
            runs=total(self._runs()),
        )


def _age_s(since_unix_nano: int | None) -> float:
    """Seconds since a time, at least 0: it may be of the clock of another machine."""
    return 0.0 if since_unix_nano is None else max(time.time() - since_unix_nano / 1e9, 0.0)
