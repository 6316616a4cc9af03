"""Keeps track of which samples in a journal still wait to be merged, so that what is done can be deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Source
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.ranges import IntegerRanges, Ranges, ranges, seen_of


@dataclass(slots=True)
class _Part:
    """A row of the table `unmerged`. It can be deleted once all of its samples are passed on."""

    processes: set[str]
    """Those that its samples are of."""
    left: int
    """How many of its samples are not passed on."""


class Unmerged:
    """The samples in the table `unmerged` of a journal, and which of them the merge has passed on. Not thread-safe.

    Args:
        passed: samples that an earlier relay of this run has passed on, as the journal has them.
    """

    def __init__(self, passed: Ranges) -> None:
        self._passed = seen_of(passed)
        self._stored = {process for process, pairs in passed.items() if pairs}
        """Processes of which the journal has passed samples."""
        self._changed: set[str] = set()
        self._parts: dict[int, _Part] = {}
        self._first: dict[str, dict[int, int]] = {}
        """By process, the lowest sequence number in each of its parts."""

    def add(self, number: int, shares: Iterable[Share]) -> bool:
        """Take note of a part.

        Args:
            number: its id.
            shares: its samples; none of them is in another part.

        Returns:
            Whether it has samples that are not passed on.
        """
        part = self._parts[number] = _Part(set(), 0)
        for share in shares:
            part.left += sum(not self.is_passed(share.process, reading) for reading in share.readings)
            part.processes.add(share.process)
            of_process = self._first.setdefault(share.process, {})
            # A process may have readings of two ranks in one part, if it was forked.
            first = min(reading.sequence for reading in share.readings)
            of_process[number] = min(of_process.get(number, first), first)
        if not part.left:
            self._forget(number)
        return part.left > 0

    def is_passed(self, process: str, reading: Reading) -> bool:
        """Whether a sample of a part that is still in the journal was passed on."""
        return process in self._passed and reading.sequence in self._passed[process]

    def pass_on(self, sources: Iterable[Source]) -> list[int]:
        """Take note that samples are passed on; returns the ids of parts that can be deleted now."""
        done = []
        for process, sequence, number in sources:
            of_process = self._passed.get(process)
            if of_process is None:
                of_process = self._passed[process] = IntegerRanges()
            of_process.add(sequence)
            self._changed.add(process)
            part = self._parts[number]
            part.left -= 1
            if not part.left:
                done.append(number)
        for number in done:
            self._forget(number)
        return done

    def changes(self) -> Ranges:
        """What has changed since the last call: by process, samples that are passed on while the journal has them."""
        found = ranges({process: self._passed.get(process, IntegerRanges()) for process in self._changed})
        changed = {process: pairs for process, pairs in found.items() if pairs or process in self._stored}
        self._stored -= changed.keys()
        self._stored |= {process for process, pairs in changed.items() if pairs}
        self._changed.clear()
        return changed

    def _forget(self, number: int) -> None:
        """Forget a part, and which samples of its processes were passed on, as far as no other part has such."""
        for process in self._parts.pop(number).processes:
            parts = self._first[process]
            parts.pop(number, None)
            self._changed.add(process)
            if parts:
                if process in self._passed:
                    self._passed[process].forget_below(min(parts.values()))
            else:
                del self._first[process]
                self._passed.pop(process, None)
