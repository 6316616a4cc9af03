"""What of a journal each backend is done with, and which of its bodies may go."""

from __future__ import annotations

import functools
import itertools
from array import array
from collections import deque
from collections.abc import Iterable, Mapping

from tracelet_otel.relay.journal import Journal, Ranges, Taken
from tracelet_otel.relay.merge import Source
from tracelet_otel.relay.seen import Seen


class Backlog:
    """Follows each sample from the journal until all backends are done with it.

    Not thread-safe.

    Args:
        journal: of the run.
        backends: their names.
    """

    def __init__(self, journal: Journal, backends: Iterable[str]) -> None:
        self._journal = journal
        self._bodies: deque[tuple[int, Ranges]] = deque()
        self._taken = {name: journal.taken(name) for name in backends}
        self._done = {name: seen_of(taken.samples) for name, taken in self._taken.items()}
        # Numbers of processes and samples in turn: as objects they would take ten times the memory.
        self._given: dict[str, deque[array[int]]] = {name: deque() for name in self._taken}
        self._processes: dict[str, int] = {}

    def counts(self, backend: str) -> tuple[int, int]:
        """How many readings a backend has taken, and has refused."""
        taken = self._taken[backend]
        return taken.delivered, taken.refused

    def is_done(self, backend: str, source: Source) -> bool:
        """Whether a backend is done with a sample."""
        seen = self._done[backend].get(source.process)
        return seen is not None and source.sequence in seen

    def done_by_all(self, process: str) -> Seen:
        """Samples of a process with which all backends are done; the caller's own."""
        seen = [done.get(process, Seen()) for done in self._done.values()]
        common = functools.reduce(Seen.common, seen) if seen else Seen()
        return Seen(common.ranges)

    def add_body(self, number: int, samples: Ranges) -> None:
        """A body is in the journal, with samples that were in none before."""
        self._bodies.append((number, samples))

    def give(self, backend: str, sources: tuple[Source, ...]) -> None:
        """A backend is given what was made of some samples; it takes everything in order."""
        pairs = ((self._processes.setdefault(one.process, len(self._processes)), one.sequence) for one in sources)
        self._given[backend].append(array("q", itertools.chain.from_iterable(pairs)))

    def drop(self, sources: Mapping[str, Iterable[Source]]) -> None:
        """Samples, by backend, are in nothing that it will be given.

        Raises:
            JournalError: the journal does not know it.
        """
        for backend, dropped in sources.items():
            for source in dropped:
                self._done[backend].setdefault(source.process, Seen()).add(source.sequence)
            self._remember(backend, *self.counts(backend))
        self._forget()

    def take(self, backend: str, delivered: int, refused: int) -> None:
        """A backend has taken and refused so many readings in all.

        Raises:
            JournalError: the journal does not know it.
        """
        given, done, names = self._given[backend], self._done[backend], list(self._processes)
        for _ in range(delivered + refused - sum(self.counts(backend))):
            pairs = given.popleft()
            for process, sequence in zip(pairs[::2], pairs[1::2], strict=True):
                done.setdefault(names[process], Seen()).add(sequence)
        self._remember(backend, delivered, refused)
        self._forget()

    def _remember(self, backend: str, delivered: int, refused: int) -> None:
        taken = Taken(delivered, refused, ranges(self._done[backend]))
        self._taken[backend] = taken
        self._journal.take(backend, taken)

    def _forget(self) -> None:
        last = None
        while self._bodies and self._is_body_done(self._bodies[0][1]):
            last = self._bodies.popleft()[0]
        if last is not None:
            self._journal.forget(last)

    def _is_body_done(self, samples: Ranges) -> bool:
        return all(
            process in done and done[process].has_all(first, last)
            for done in self._done.values()
            for process, pairs in samples.items()
            for first, last in pairs
        )


def ranges(seen: Mapping[str, Seen]) -> Ranges:
    """Samples by process, as a journal keeps them."""
    return {process: one.ranges for process, one in seen.items()}


def seen_of(samples: Ranges) -> dict[str, Seen]:
    """What a journal keeps, by process."""
    return {process: Seen((first, last) for first, last in pairs) for process, pairs in samples.items()}
