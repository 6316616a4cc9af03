"""Which samples of a journal wait for other ranks, and which of its parts are needed no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Source
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.ranges import IntegerRanges, Ranges, ranges, seen_of


class Unmerged:
    """Follows samples from the part of the journal in which they came until they are passed on.

    Not thread-safe.

    Args:
        passed: what `passed` gave, in a relay before this one.
    """

    def __init__(self, passed: Ranges) -> None:
        self._passed = seen_of(passed)
        self._parts: deque[tuple[int, Ranges]] = deque()

    @property
    def passed(self) -> Ranges:
        """Samples that are passed on, of parts that have others."""
        return ranges(self._passed)

    def add(self, number: int, shares: Iterable[Share]) -> None:
        """A part is in the journal, with samples that were in none before."""
        by_process: dict[str, IntegerRanges] = {}
        for share in shares:
            of_process = by_process.setdefault(share.process, IntegerRanges())
            for reading in share.readings:
                of_process.add(reading.sequence)
        self._parts.append((number, ranges(by_process)))

    def is_passed(self, process: str, reading: Reading) -> bool:
        """Whether a sample was passed on."""
        return process in self._passed and reading.sequence in self._passed[process]

    def pass_on(self, sources: Iterable[Source]) -> list[int]:
        """Samples are passed on; returns the numbers of parts that have no others any more."""
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
