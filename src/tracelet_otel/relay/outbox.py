"""The queue of readings for the trackers, which the journal holds until each tracker is done with them."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.journal import Journal, Position
from tracelet_otel.relay.packing import pack, unpack

_LONGEST_ROW: Final = 2_000
"""Most readings in one row of the journal."""
_MOST_RECENT: Final = 20_000
"""Most readings that are kept in memory as well, so that a tracker that keeps up reads nothing from the disk."""
_LEFT: Final = 0.99
"""Rows are dropped until the journal is this share of its limit: to drop many costs little more than to drop one."""
_UNCHECKED: Final = 0.001
"""The size of the journal is read again after this share of its limit was written."""
_MOST_DROPPED: Final = 1_000
"""Most rows that are dropped at a time."""


class Outbox:
    """The rows of readings of one run, and for each tracker a queue (`Lane`) that reads them in order. Thread-safe.

    Where the journal is as large as it may be, the oldest rows are dropped. Their readings count as refused by each
    tracker that has not taken them.

    Args:
        journal: the journal of the run.
        limit_bytes: how large the journal may be.
        guard: reports that readings were dropped.
    """

    def __init__(self, journal: Journal, limit_bytes: int, guard: Guard) -> None:
        self._journal = journal
        self._limit_bytes = limit_bytes
        self._guard = guard
        self._unchecked_bytes = limit_bytes
        """How much was written since the size of the journal was read; at first nothing is known of it."""
        self._lock = threading.RLock()
        self._lanes: dict[str, Lane] = {}
        self._recent: OrderedDict[int, list[Reading]] = OrderedDict()
        self._recent_count = 0
        # Ids of rows: of the last one, and of the last one that is not in memory as well.
        self._last = self._on_disk_only = journal.last_row

    def lane(self, backend: str) -> Lane:
        """The queue of a tracker, by its name; it goes on where the journal says that the tracker was."""
        with self._lock:
            position = self._journal.position(backend)
            # The row that the tracker has in part is missing if it was dropped while only other trackers had the run.
            rows = [row for row in [self.next_row(position.after)] if row is not None and row[0] == position.row]
            position = position if rows else replace(position, row=0, taken=0)
            pending = self._journal.readings_after(position.after) - position.taken
            lane = self._lanes[backend] = Lane(self, backend, position, pending, rows)
            return lane

    @property
    def lanes(self) -> list[Lane]:
        """The queues of all trackers."""
        with self._lock:
            return list(self._lanes.values())

    def clear(self) -> None:
        """Drop the readings in memory, since the run is over; the journal stays as it is."""
        with self._lock:
            self._forget_recent(self._last)

    def write(
        self,
        readings: Sequence[Reading],
        unmerged: bytes | None = None,
        merged: Iterable[int] = (),
        state: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> int | None:
        """Add readings, and change other parts of the journal in the same transaction.

        Args:
            readings: in the order in which trackers take them.
            unmerged: passed on to `Journal.write`, as are all that follow.
            merged: ids of rows of `unmerged` to delete.
            state: values to store, by key.
            durable: whether a crash of the machine must not lose it.

        Returns:
            The id of the new row of `unmerged`; None where none was added.

        Raises:
            JournalError: nothing was written.
        """
        chunks = [list(readings[start : start + _LONGEST_ROW]) for start in range(0, len(readings), _LONGEST_ROW)]
        rows = [(len(chunk), pack(chunk)) for chunk in chunks]
        with self._lock:
            self._unchecked_bytes += len(unmerged or b"") + sum(len(content) for _, content in rows)
            if self._unchecked_bytes > self._limit_bytes * _UNCHECKED:
                self._make_room()
                self._unchecked_bytes = 0
            written = self._journal.write(rows, unmerged, merged, state, durable=durable)
            for number, chunk in zip(written.ready, chunks, strict=True):
                self._last = number
                self._recent[number] = chunk
                self._recent_count += len(chunk)
            self._forget_recent()
            for lane in self._lanes.values():
                lane.grow(len(readings))
        return written.unmerged

    def next_row(self, after: int) -> tuple[int, list[Reading]] | None:
        """The first row after an id, as its own id and its readings; None where there is none.

        Raises:
            JournalError: it cannot be read.
        """
        with self._lock:
            if after >= self._on_disk_only:
                later = range(after + 1, self._last + 1)
                return next(((number, self._recent[number]) for number in later if number in self._recent), None)
            found = self._journal.next_row(after)
            return (found[0], unpack(found[1])) if found else None

    def moved(self, lane: Lane) -> None:
        """Store the new position of a tracker, and delete the rows that all trackers are done with."""
        with self._lock:
            done = min(one.position.after for one in self._lanes.values())
            self._forget_recent(done)
            try:
                self._journal.move({lane.backend: lane.position}, forget_to=done)
            except TraceletError as error:
                self._guard.report("the journal does not know what was delivered", error)

    @property
    def lock(self) -> threading.RLock:
        """The lock that is held while rows are written and while lanes move."""
        return self._lock

    def _forget_recent(self, up_to: int = 0) -> None:
        """Drop rows from memory: those up to an id, and the oldest where there are too many readings."""
        while self._recent and (self._recent_count > _MOST_RECENT or next(iter(self._recent)) <= up_to):
            self._on_disk_only, row = self._recent.popitem(last=False)
            self._recent_count -= len(row)

    def _make_room(self) -> None:
        """Drop the oldest rows where the journal is full: many at once, but none that a tracker may be sending.

        Rows that are in memory stay as well. They are few: where the journal is full with them, something else has
        taken the room.
        """
        size_bytes = self._journal.size_bytes
        if size_bytes < self._limit_bytes or not self._lanes:
            return
        held = {number for lane in self._lanes.values() for number in lane.held}
        dropped: dict[int, int] = {}
        for number, readings, row_bytes in self._journal.oldest_rows(len(held) + _MOST_DROPPED, self._on_disk_only):
            if size_bytes < self._limit_bytes * _LEFT:
                break
            if number not in held:
                dropped[number] = readings
                size_bytes -= row_bytes
        if dropped:
            self._drop(dropped)

    def _drop(self, rows: Mapping[int, int]) -> None:
        lost = {
            lane: sum(readings for number, readings in rows.items() if number > lane.position.after)
            for lane in self._lanes.values()
        }
        positions = {lane: replace(lane.position, refused=lane.position.refused + lost[lane]) for lane in lost}
        self._journal.move({lane.backend: position for lane, position in positions.items()}, forget=rows)
        for lane, position in positions.items():
            if lost[lane]:
                lane.drop(lost[lane], position)
                self._guard.report(
                    f"so much waits for {lane.backend} that its oldest values were dropped",
                    f"the journal has {self._limit_bytes / 2**20:g} MiB, as many as `journal_limit` lets it have",
                )
                self._guard.count(UNDELIVERED, lost[lane])


class Lane:
    """The `Queue` of one tracker: the rows of an outbox after the tracker's position.

    Args:
        outbox: the rows.
        backend: name of the tracker.
        position: how far the tracker is.
        pending: how many readings wait for it.
        rows: the row that it has in part, if there is one, as its id and its readings.
    """

    def __init__(
        self,
        outbox: Outbox,
        backend: str,
        position: Position,
        pending: int,
        rows: Iterable[tuple[int, list[Reading]]],
    ) -> None:
        self._outbox = outbox
        self._pending = pending
        self._rows = deque(rows)
        self._lost = False
        self.backend = backend
        """Name of the tracker."""
        self.position = position
        """How far the tracker is."""
        self.dropped = 0
        """How many readings this relay has dropped before the tracker had them."""

    @property
    def delivered(self) -> int:
        """How many readings the tracker has taken since the beginning of the run."""
        return self.position.delivered

    @property
    def refused(self) -> int:
        """How many readings the tracker will never have; after `lose`, all that wait are among them."""
        return self.position.refused + (self._pending if self._lost else 0)

    @property
    def pending(self) -> int:
        """How many readings wait; none after `lose`."""
        return 0 if self._lost else self._pending

    @property
    def first_held(self) -> Reading | None:
        """The next reading, where `first` has read its row; None where none waits, or its row has not been read."""
        with self._outbox.lock:
            return self._rows[0][1][self.position.taken] if self._rows else None

    @property
    def held(self) -> list[int]:
        """Ids of the rows that `first` has read; they must not be dropped."""
        return [number for number, _ in self._rows]

    def first(self, most: int) -> Sequence[Reading]:
        """The next readings, up to a number, from memory or from the journal; they stay in the queue.

        Raises:
            JournalError: they cannot be read.
        """
        with self._outbox.lock:
            taken = self.position.taken
            available = sum(len(row) for _, row in self._rows) - taken
            while available < most:
                found = self._outbox.next_row(self._rows[-1][0] if self._rows else self.position.after)
                if found is None:
                    break
                self._rows.append(found)
                available += len(found[1])
            held = itertools.chain.from_iterable(row for _, row in self._rows)
            return list(itertools.islice(held, taken, taken + most))

    def take(self, delivered: int, refused: int) -> None:
        """Move the position behind readings that `first` has given, and store it in the journal.

        Args:
            delivered: how many the tracker has taken.
            refused: how many it will never take.
        """
        with self._outbox.lock:
            after, taken = self.position.after, self.position.taken + delivered + refused
            while self._rows and taken >= len(self._rows[0][1]):
                after, row = self._rows.popleft()
                taken -= len(row)
            self._pending -= delivered + refused
            number = self._rows[0][0] if taken else 0
            self.position = Position(
                after, number, taken, self.position.delivered + delivered, self.position.refused + refused
            )
            self._outbox.moved(self)

    def lose(self) -> None:
        """Count all that waits, and all that comes, as refused; in the journal the readings stay."""
        self._lost = True

    def grow(self, readings: int) -> None:
        """Count readings that were added to the outbox."""
        self._pending += readings

    def drop(self, readings: int, position: Position) -> None:
        """Take note that rows were dropped which `first` has not read.

        Args:
            readings: how many they had.
            position: the new one, in which they count as refused.
        """
        self.position = position
        self.dropped += readings
        self._pending -= readings
