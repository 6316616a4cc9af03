"""Connects the merge of a run with its journal and its outbox.

Readings that have to be merged are in the journal, as they came, until their merged values are written to the outbox.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.incomplete import Incomplete
from tracelet_otel.relay.journal import JournalError
from tracelet_otel.relay.latest import LatestValues
from tracelet_otel.relay.matches import Late, Result, Source
from tracelet_otel.relay.merge import Merge
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.packing import Share, pack_shares, unpack_shares
from tracelet_otel.relay.ranges import stored, to_store
from tracelet_otel.relay.streams import Streams
from tracelet_otel.relay.unmerged import Unmerged

_ROOM_S: Final = 0.1
"""Pause between two attempts to write to a full disk."""


class Merging:
    """The merge of one run: readings of ranks go in, rows of merged values come out. Not thread-safe.

    Args:
        outbox: merged values are written to it.
        merge: a new merge.
        state: the journal's state.
        streams: tells how much of each process has come, and what is on its way.
        guard: reports values that are merged without a rank, and those that came too late.
        on_rows: called when rows were written, to wake the threads that deliver them.
        now: the time in seconds, by which ranks are waited for.
    """

    def __init__(
        self,
        outbox: Outbox,
        merge: Merge,
        state: Mapping[str, Any],
        streams: Streams,
        guard: Guard,
        on_rows: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._on_rows = on_rows
        self._outbox = outbox
        self._merge = merge
        self._unmerged = Unmerged(stored(state, "passed"))
        self._streams = streams
        self._incomplete = Incomplete(guard, stored(state, "incomplete"))
        self._guard = guard
        self.taken = 0
        """How many readings requests have brought to this relay; a repeated one counts once."""
        self.latest = LatestValues(is_whole="resource" not in state)
        """The newest values that this relay has passed on to trackers."""
        # What the merge has passed on and is not written to the journal yet.
        self._ready: list[Reading] = []
        self._done_parts: list[int] = []
        self._state: dict[str, Any] = {}
        self._has_news = False

    @property
    def waits_for_unheard(self) -> bool:
        """Whether something waits for a rank of which nothing at all has come yet."""
        return self._merge.waits_for_unheard

    @property
    def waiting(self) -> int:
        """How many matches, and readings that are not matched yet, wait for other ranks or for missing samples."""
        return self._merge.waiting

    @property
    def incomplete(self) -> Incomplete:
        """Merged values that lack a rank."""
        return self._incomplete

    @property
    def unwritten(self) -> int:
        """How many merged readings wait for room on the disk."""
        return len(self._ready)

    @property
    def oldest_unix_nano(self) -> int | None:
        """When the oldest reading that is not in the outbox yet was logged; None where there is none.

        In nanoseconds since the epoch.
        """
        unwritten = [reading.time_unix_nano for reading in self._ready[:1]]
        unmerged = self._merge.oldest_unix_nano
        return min([*unwritten, *([] if unmerged is None else [unmerged])], default=None)

    def resume(self, unmerged: Iterable[tuple[int, bytes]], ranks: Iterable[tuple[str, int]]) -> None:
        """Merge what an earlier relay has left, before anything else.

        Args:
            unmerged: id and content of each row of the journal's table.
            ranks: process and number of each rank of which something has come. They are waited for as before.
        """
        found: dict[tuple[str, int], list[tuple[Reading, int]]] = {}
        for number, content in unmerged:
            shares = unpack_shares(content)
            if not self._unmerged.add(number, shares):
                self._done_parts.append(number)
                continue
            for one in shares:
                found.setdefault((one.process, one.rank), []).extend(
                    (reading, number) for reading in one.readings if not self._unmerged.is_passed(one.process, reading)
                )
        result = self._merged([Share(process, rank, ()) for process, rank in ranks], 0)
        for (process, rank), readings in found.items():
            # In the order in which the process has logged them: its requests may have come in another one.
            readings.sort(key=lambda pair: pair[0].sequence)
            for number, pairs in groupby(readings, key=lambda pair: pair[1]):
                result += self._merged([Share(process, rank, tuple(reading for reading, _ in pairs))], number)
        self._pass_on(result)

    def keep(self, ready: Sequence[Reading], shares: Sequence[Share], state: Mapping[str, Any]) -> int:
        """Write what requests have brought to the journal.

        Args:
            ready: readings that are not to be merged.
            shares: readings that are to be merged; the caller passes them to `add` after this.
            state: values for the journal to store, by key.

        Returns:
            The id under which the journal has the shares; 0 where there are none.

        Raises:
            JournalError: nothing was written.
        """
        number = self._outbox.write(ready, pack_shares(shares) if shares else None, state=state)
        self.latest.take(ready)
        self.taken += len(ready) + sum(len(one.readings) for one in shares)
        if number is None:
            return 0
        self._unmerged.add(number, shares)
        return number

    def add(self, shares: Iterable[Share], number: int) -> None:
        """Merge readings of ranks.

        Args:
            shares: the readings. A rank without any is known to the merge from then on.
            number: what `keep` has returned.
        """
        self._pass_on(self._merged(shares, number))

    def leave(self, ranks: Iterable[int]) -> None:
        """Take note that ranks have ended, and pass on what waited only for them."""
        self._pass_on(self._merge.leave(ranks))

    def expire(self) -> None:
        """Pass on what has waited for too long, and try again to write what could not be written before."""
        now_s = self._now()
        self._pass_on(self._merge.expire(now_s, lambda process: self._streams.is_on_its_way(process, now_s)))

    def flush(self) -> None:
        """Pass on everything; called when nothing more comes."""
        self._pass_on(self._merge.flush(self._streams.has_sent_more))

    def wait_for_room(self, lock: threading.RLock, patience_s: float) -> None:
        """Where the disk is full, wait until there is room to write merged values, or until the time is up.

        Args:
            lock: is held while anything here is changed, and not in between.
            patience_s: give up after so many seconds.
        """
        deadline_s = time.monotonic() + patience_s
        while True:
            with lock:
                self.expire()
                if not self.unwritten or time.monotonic() >= deadline_s:
                    return
            time.sleep(_ROOM_S)

    def _merged(self, shares: Iterable[Share], number: int) -> Result:
        now_s = self._now()
        return [
            passed
            for one in shares
            for passed in self._merge.add(
                one.process, one.rank, one.readings, self._streams.complete_to(one.process), now_s, number
            )
        ]

    def _pass_on(self, result: Result) -> None:
        sources: list[Source] = []
        for one in result:
            if isinstance(one, Late):
                sources.append(one.source)
                self._incomplete.note_late(one)
            else:
                sources.extend(one.sources)
                self._ready.append(one.reading)
                if one.lacks:
                    self._incomplete.note(one)
        if sources:
            self._done_parts += self._unmerged.pass_on(sources)
            self._has_news = True
        if self._has_news:
            self._write()

    def _write(self) -> None:
        try:
            # It need not be durable. If it is lost, the samples that it is made of are still on the disk.
            self._state.update(to_store("passed", self._unmerged.changes()) | self._incomplete.changes())
            self._outbox.write(self._ready, merged=self._done_parts, state=self._state, durable=False)
        except JournalError as error:
            self._guard.report("values that are merged wait for room on the disk", error)
            return
        self.latest.take(self._ready)
        self._ready, self._done_parts, self._state, self._has_news = [], [], {}, False
        self._on_rows()
