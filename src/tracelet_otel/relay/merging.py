"""Connects the merge of a run with its journal and its outbox.

Readings that have to be merged are in the journal, as they came, until their merged values are written to the outbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.matches import Late, Result, Source
from tracelet_otel.relay.merge import Merge
from tracelet_otel.relay.outbox import Outbox
from tracelet_otel.relay.packing import Share, pack_shares, unpack_shares
from tracelet_otel.relay.parts import joined
from tracelet_otel.relay.ranges import Ranges
from tracelet_otel.relay.unmerged import Unmerged


class Merging:
    """The merge of one run: readings of ranks go in, rows of merged values come out. Not thread-safe.

    Args:
        journal: the journal of the run; what an earlier relay has left in it is merged first.
        outbox: merged values are written to it.
        merge: a new merge.
        passed: the samples that an earlier relay has passed on (`Unmerged.passed`), as stored in the journal.
        complete_to: returns the sequence number up to which all samples of a process have come.
        guard: reports values that came too late.
        on_rows: called when rows were written, to wake the threads that deliver them.
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Outbox,
        merge: Merge,
        passed: Ranges,
        complete_to: Callable[[str], int],
        guard: Guard,
        on_rows: Callable[[], None],
    ) -> None:
        self._on_rows = on_rows
        self._outbox = outbox
        self._merge = merge
        self._unmerged = Unmerged(passed)
        self._complete_to = complete_to
        self._guard = guard
        # What the merge has passed on and is not written to the journal yet.
        self._ready: list[Reading] = []
        self._done_parts: list[int] = []
        self._has_news = False
        self._resume(journal)

    @property
    def waits_for_unheard(self) -> bool:
        """Whether something waits for a rank of which nothing at all has come yet."""
        return self._merge.waits_for_unheard

    @property
    def waiting(self) -> int:
        """How many matches, and readings that are not matched yet, wait for other ranks or for missing samples."""
        return self._merge.waiting

    @property
    def unwritten(self) -> int:
        """How many merged readings wait for room on the disk."""
        return len(self._ready)

    def keep(self, ready: Sequence[Reading], shares: Sequence[Share], state: Mapping[str, Any]) -> None:
        """Write what a request has brought to the journal.

        Args:
            ready: readings that are not to be merged.
            shares: readings that are to be merged; the caller passes them to `add` after this.
            state: values for the journal to store, by key.

        Raises:
            JournalError: nothing was written.
        """
        number = self._outbox.write(ready, pack_shares(shares) if shares else None, state=state)
        if number is not None:
            self._unmerged.add(number, shares)

    def add(self, share: Share) -> None:
        """Merge readings of a rank that `keep` has written."""
        complete_to = self._complete_to(share.process)
        self._pass_on(self._merge.add(share.process, share.rank, share.readings, complete_to, time.monotonic()))

    def leave(self, ranks: Iterable[int]) -> None:
        """Take note that ranks have ended, and pass on what waited only for them."""
        self._pass_on([one for rank in ranks for one in self._merge.leave(rank)])

    def expire(self) -> None:
        """Pass on what has waited for too long, and try again to write what could not be written before."""
        self._pass_on(self._merge.expire(time.monotonic()))

    def flush(self) -> None:
        """Pass on everything; called when nothing more comes."""
        self._pass_on(self._merge.flush())

    def _resume(self, journal: Journal) -> None:
        """Merge what an earlier relay has left; all of a process at once, since parts came in any order."""
        waiting: list[Share] = []
        for number, content in journal.unmerged():
            shares = unpack_shares(content)
            self._unmerged.add(number, shares)
            for one in shares:
                unpassed = (reading for reading in one.readings if not self._unmerged.is_passed(one.process, reading))
                waiting.append(replace(one, readings=tuple(unpassed)))
        for one in joined(waiting):
            self.add(one)

    def _pass_on(self, result: Result) -> None:
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
            self._done_parts += self._unmerged.pass_on(sources)
            self._has_news = True
        if self._has_news:
            self._write()

    def _write(self) -> None:
        try:
            # It need not be durable. If it is lost, the samples that it is made of are still on the disk.
            state = {"passed": self._unmerged.passed}
            self._outbox.write(self._ready, merged=self._done_parts, state=state, durable=False)
        except JournalError as error:
            self._guard.report("values that are merged wait for room on the disk", error)
            return
        self._ready, self._done_parts, self._has_news = [], [], False
        self._on_rows()
