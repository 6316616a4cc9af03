"""Keeps track of which samples in a journal still wait to be merged, so that what is done can be deleted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Source
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.ranges import IntegerRanges, Ranges, ranges, seen_of


class Unmerged:
    """The samples in the table `unmerged` of a journal, and which of them the merge has passed on.

    A part is one row of that table. It holds the samples of one request, and can be deleted once all of them are passed
    on. Not thread-safe.

    Args:
        passed: the value of `passed` that an earlier relay of this run has stored.
    """

    def __init__(self, passed: Ranges) -> None:
        self._passed = seen_of(passed)
        self._parts: deque[tuple[int, Ranges]] = deque()

    @property
    def passed(self) -> Ranges:
        """Samples that are passed on, but whose parts are still in the journal."""
        return ranges(self._passed)

    def add(self, number: int, shares: Iterable[Share]) -> None:
        """Take note of a new part.

        Args:
            number: its id.
            shares: its samples; none of them is in another part.
        """
        by_process: dict[str, IntegerRanges] = {}
        for share in shares:
            of_process = by_process.setdefault(share.process, IntegerRanges())
            for reading in share.readings:
                of_process.add(reading.sequence)
        self._parts.append((number, ranges(by_process)))

    def is_passed(self, process: str, reading: Reading) -> bool:
        """Whether a sample of a part that is still in the journal was passed on."""
        return process in self._passed and reading.sequence in self._passed[process]

    def pass_on(self, sources: Iterable[Source]) -> list[int]:
        """Take note that samples are passed on; returns the ids of parts that can be deleted now."""
        for source in sources:
            self._passed.setdefault(source.process, IntegerRanges()).add(source.sequence)
        done = []
        while self._parts and self._is_done(self._parts[0][1]):
            done.append(self._parts.popleft()[0])
        if not self._parts:
            self._passed.clear()
        return done

    def _is_done(self, samples: Ranges) -> bool:
        return all(
            process in self._passed and self._passed[process].has_all(first, last)
            for process, pairs in samples.items()
            for first, last in pairs
        )
