"""Readings that are ready for the trackers: in the journal, until each tracker is done with them."""

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
"""Readings."""
_MOST_RECENT: Final = 20_000
"""Readings that are in memory as well: a tracker that keeps up reads nothing from the disk."""
_LEFT: Final = 0.99
"""Of what a journal may have, so much is left after rows were dropped: many at once cost little more than one."""
_MOST_DROPPED: Final = 1_000
"""Rows at a time."""


class Outbox:
    """Rows of readings in the order in which each tracker takes them.

    Where the journal is as large as it may be, the oldest row makes room: it counts as refused by each tracker that
    has not taken it. Thread-safe.

    Args:
        journal: of the run.
        limit_bytes: how large the journal may be.
        guard: where it is said that readings were dropped.
    """

    def __init__(self, journal: Journal, limit_bytes: int, guard: Guard) -> None:
        self._journal = journal
        self._limit_bytes = limit_bytes
        self._guard = guard
        self._lock = threading.RLock()
        self._lanes: dict[str, Lane] = {}
        self._recent: OrderedDict[int, list[Reading]] = OrderedDict()
        self._recent_count = 0
        # Numbers of rows: of the last one, and of the last one that is not in memory as well.
        self._last = self._on_disk_only = journal.last_row

    def lane(self, backend: str) -> Lane:
        """The queue of a tracker, by its name, which goes on where it was."""
        with self._lock:
            position = self._journal.position(backend)
            # A row of which it has a part stays until it has all of it, or was dropped while others had the run.
            rows = [row for row in [self.next_row(position.after)] if row is not None and row[0] == position.row]
            position = position if rows else replace(position, row=0, taken=0)
            pending = self._journal.readings_after(position.after) - position.taken
            lane = self._lanes[backend] = Lane(self, backend, position, pending, rows)
            return lane

    def clear(self) -> None:
        """Forget what is in memory: the run is over."""
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
        """Add readings, together with a change of what else the journal has: see `Journal.write`.

        Returns:
            The number of what waits for other ranks.

        Raises:
            JournalError: nothing was written.
        """
        chunks = [list(readings[start : start + _LONGEST_ROW]) for start in range(0, len(readings), _LONGEST_ROW)]
        rows = [(len(chunk), pack(chunk)) for chunk in chunks]
        with self._lock:
            if rows or unmerged:
                self._make_room()
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
        """The first row behind the one with a number, with its own number.

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
        """A tracker has taken something."""
        with self._lock:
            done = min(one.position.after for one in self._lanes.values())
            self._forget_recent(done)
            try:
                self._journal.move({lane.backend: lane.position}, forget_to=done)
            except TraceletError as error:
                self._guard.report("the journal does not know what was delivered", error)

    @property
    def lock(self) -> threading.RLock:
        """Held while rows are written, and while lanes move."""
        return self._lock

    def _forget_recent(self, up_to: int = 0) -> None:
        """Drop rows from memory: those up to a number, and the oldest of what is too much."""
        while self._recent and (self._recent_count > _MOST_RECENT or next(iter(self._recent)) <= up_to):
            self._on_disk_only, row = self._recent.popitem(last=False)
            self._recent_count -= len(row)

    def _make_room(self) -> None:
        """Drop the oldest rows where the journal is full: many at once, but none that a tracker may have in its hands.

        Rows that are in memory stay. Where they are too much, something else takes the room.
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
    """The `Queue` of one tracker in an outbox."""

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
        """How far it is."""

    @property
    def delivered(self) -> int:
        """See `Queue.delivered`."""
        return self.position.delivered

    @property
    def refused(self) -> int:
        """See `Queue.refused`."""
        return self.position.refused + (self._pending if self._lost else 0)

    @property
    def pending(self) -> int:
        """See `Queue.pending`."""
        return 0 if self._lost else self._pending

    @property
    def held(self) -> list[int]:
        """Numbers of the rows that `first` has read, and that must stay."""
        return [number for number, _ in self._rows]

    def first(self, most: int) -> Sequence[Reading]:
        """See `Queue.first`."""
        with self._outbox.lock:
            taken = self.position.taken
            there = sum(len(row) for _, row in self._rows) - taken
            while there < most:
                found = self._outbox.next_row(self._rows[-1][0] if self._rows else self.position.after)
                if found is None:
                    break
                self._rows.append(found)
                there += len(found[1])
            held = itertools.chain.from_iterable(row for _, row in self._rows)
            return list(itertools.islice(held, taken, taken + most))

    def take(self, delivered: int, refused: int) -> None:
        """See `Queue.take`."""
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
        """See `Queue.lose`; in the journal the readings stay."""
        self._lost = True

    def grow(self, readings: int) -> None:
        """So many readings were written."""
        self._pending += readings

    def drop(self, readings: int, position: Position) -> None:
        """So many readings were dropped, all of one row that `first` has not read; the position is the new one."""
        self.position = position
        self._pending -= readings
