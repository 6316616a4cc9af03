"""The values of all ranks of a training, made one stream. Pure: no I/O, and time comes from the caller.

What several ranks log for the same thing is matched: the same training, epoch, name, stage, axis and
step, and, where these repeat, the same occurrence on each rank. A match is passed on once each rank has
contributed, or has gone on to something that all ranks have logged: ranks run one program, so what
stands before it in one rank's stream has been passed by all. Where no rank does that, a match waits
for a limited time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from typing import Final, NamedTuple

from tracelet_otel.exporters.reading import Reading
from tracelet_otel.relay.reduction import reduced

_UNHEARD_S: Final = 10.0
"""For so long a rank is waited for of which nothing at all has come."""
_MOST_OPEN: Final = 200_000
"""Matches that wait; the oldest is passed on where there would be more."""
_MOST_MISSED: Final = 50_000
"""Matches that were passed on without a rank, and are remembered to know what it sends too late."""


class Source(NamedTuple):
    """One sample of one process."""

    process: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What the ranks say of one thing."""

    reading: Reading
    sources: tuple[Source, ...]
    """Of which samples it is made."""


@dataclass(frozen=True, slots=True)
class Late:
    """A sample that came after the others of its match had been passed on."""

    reading: Reading
    rank: int
    source: Source


Result = list["Merged | Late"]

_Key = tuple[int, "int | None", str, str, str, int]


@dataclass(eq=False, slots=True)
class _Match:
    key: _Key
    world_size: int
    since_s: float
    parts: dict[int, tuple[Reading, Source]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    """Number of the row in which each rank logged it."""
    released: bool = False


@dataclass(slots=True)
class _Rank:
    """What is known of a rank."""

    training: int = 0
    row: int = 0
    at: tuple[int, str, str, int, int] | None = None
    """Training, stage, axis, step and time of its current row."""
    names: set[str] = field(default_factory=set)
    """Of its current row."""
    matches: deque[_Match] = field(default_factory=deque)
    """To which it has contributed, in order, until something after them is complete."""
    sent_s: float = float("-inf")
    """When it sent its last value."""
    gone: bool = False
    """Whether it is not waited for."""
    ended: bool = False
    """Whether it has nothing more to say."""


@dataclass(slots=True)
class _Held:
    """Readings of one process that are ahead of some which have not come."""

    since_s: float = 0.0
    readings: list[tuple[int, int, Reading, int]] = field(default_factory=list)


class Merge:
    """Matches of one run.

    Args:
        limit_s: for so long a match waits for ranks that are there and have not logged it.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ranks: dict[int, _Rank] = {}
        self._heard: set[int] = set()
        self._open: dict[_Key, deque[_Match]] = {}
        self._by_age: OrderedDict[int, _Match] = OrderedDict()
        self._missed: OrderedDict[_Key, list[set[int]]] = OrderedDict()
        self._held: dict[str, _Held] = {}
        self._tie = count()

    @property
    def waiting(self) -> int:
        """How many matches have not been passed on, and readings have not been matched."""
        return len(self._by_age) + sum(len(held.readings) for held in self._held.values())

    def hear(self, rank: int) -> None:
        """A rank is there, whether it has sent a value or not."""
        self._heard.add(rank)

    def add(self, process: str, rank: int, readings: Iterable[Reading], complete_to: int, now_s: float) -> Result:
        """Take what a rank has sent.

        Args:
            process: the process that sent it.
            rank: its rank.
            readings: each once, of several processes that train together.
            complete_to: all samples of the process up to this number have come; what is beyond waits
                for those in between, since parts of one export may come in any order.
            now_s: the time.
        """
        result: Result = []
        held = self._held.setdefault(process, _Held())
        for reading in readings:
            held.since_s = held.since_s if held.readings else now_s
            heappush(held.readings, (reading.sequence, next(self._tie), reading, rank))
        self._let_in(process, complete_to, now_s, result)
        while len(self._by_age) > _MOST_OPEN:
            self._give_up(next(iter(self._by_age.values())), now_s, result)
        return result

    def leave(self, rank: int) -> Result:
        """A rank has ended, by itself or not: it is not waited for, unless it sends something again."""
        result: Result = []
        self._rank(rank).gone = self._rank(rank).ended = True
        self._sweep(result)
        return result

    def expire(self, now_s: float) -> Result:
        """Pass on what has waited for too long."""
        result: Result = []
        for process, held in self._held.items():
            if held.readings and now_s - held.since_s >= self._limit_s:
                self._let_in(process, None, now_s, result)
        while self._by_age:
            oldest = next(iter(self._by_age.values()))
            missing = [rank for rank in self._missing(oldest) if rank not in self._heard]
            unheard = [rank for rank in map(self._rank, missing) if not rank.gone]
            if unheard and now_s - oldest.since_s >= min(_UNHEARD_S, self._limit_s):
                for rank in unheard:
                    rank.gone = True
                self._sweep(result)
            elif now_s - oldest.since_s >= self._limit_s:
                self._give_up(oldest, now_s, result)
            else:
                break
        return result

    def flush(self) -> Result:
        """Pass on everything: nothing more comes."""
        result: Result = []
        for process in list(self._held):
            self._let_in(process, None, 0.0, result)
        for match in list(self._by_age.values()):
            self._release(match, result)
        return result

    def _let_in(self, process: str, complete_to: int | None, now_s: float, result: Result) -> None:
        held = self._held[process].readings
        while held and (complete_to is None or held[0][0] <= complete_to):
            _, _, reading, rank = heappop(held)
            self._match(process, rank, reading, now_s, result)

    def _match(self, process: str, number: int, reading: Reading, now_s: float, result: Result) -> None:
        rank = self._rank(number)
        rank.sent_s, rank.gone, rank.ended = now_s, False, False
        self._heard.add(number)
        # The epoch tells apart what evaluation loops log at steps that begin anew in each.
        key = (reading.training, reading.epoch, reading.name, reading.stage, reading.axis, reading.step)
        source = Source(process, reading.sequence)
        self._begin_row(rank, reading)
        if reading.training > rank.training:
            rank.training = reading.training
            self._sweep(result)
        if self._is_late(key, number):
            result.append(Late(reading, number, source))
            return
        match = self._match_for(key, number, reading.world_size, now_s)
        match.parts[number] = (reading, source)
        match.rows[number] = rank.row
        rank.matches.append(match)
        if len(match.parts) >= match.world_size or not any(not self._rank(one).gone for one in self._missing(match)):
            self._complete(match, result)

    def _begin_row(self, rank: _Rank, reading: Reading) -> None:
        # The names of a row may stand in another order on another rank: only whole rows are compared.
        at = (reading.training, reading.stage, reading.axis, reading.step, reading.time_unix_nano)
        if at != rank.at or reading.name in rank.names:
            rank.row += 1
            rank.at = at
            rank.names = set()
        rank.names.add(reading.name)

    def _match_for(self, key: _Key, rank: int, world_size: int, now_s: float) -> _Match:
        matches = self._open.setdefault(key, deque())
        for match in matches:
            if rank not in match.parts:
                return match
        match = _Match(key, world_size, now_s)
        matches.append(match)
        self._by_age[id(match)] = match
        return match

    def _complete(self, match: _Match, result: Result) -> None:
        """Pass on a match to which all ranks have contributed, and all that they have logged before it."""
        for number, row in match.rows.items():
            before = self._ranks[number].matches
            while before and before[0].rows[number] < row:
                self._release(before[0], result, match.parts)
        self._release(match, result)

    def _sweep(self, result: Result) -> None:
        """Pass on what waits for nobody any more."""
        for match in list(self._by_age.values()):
            missing = [self._rank(rank) for rank in self._missing(match)]
            if all(rank.gone or rank.training > match.key[0] for rank in missing):
                self._release(match, result)

    def _give_up(self, match: _Match, now_s: float, result: Result) -> None:
        """Pass on a match that has waited for too long; who has sent nothing since is not waited for again."""
        silent = [rank for rank in map(self._rank, self._missing(match)) if rank.sent_s <= match.since_s]
        self._release(match, result)
        if silent:
            for rank in silent:
                rank.gone = True
            self._sweep(result)

    def _release(self, match: _Match, result: Result, passed: Container[int] = ()) -> None:
        """Pass on a match.

        Args:
            match: the match.
            result: where it goes.
            passed: ranks that have gone on without contributing: what they log there is another occurrence.
        """
        match.released = True
        del self._by_age[id(match)]
        matches = self._open[match.key]
        matches.remove(match)
        if not matches:
            del self._open[match.key]
        missed = {rank for rank in self._missing(match) if rank not in passed and self._may_still_send(rank, match)}
        if missed:
            self._missed.setdefault(match.key, []).append(missed)
            while len(self._missed) > _MOST_MISSED:
                self._missed.popitem(last=False)
        for rank in match.parts:
            contributed = self._ranks[rank].matches
            while contributed and contributed[0].released:
                contributed.popleft()
        result.append(_merged(match))

    def _may_still_send(self, number: int, match: _Match) -> bool:
        rank = self._rank(number)
        return not rank.ended and rank.training <= match.key[0]

    def _is_late(self, key: _Key, rank: int) -> bool:
        missed = self._missed.get(key, [])
        for ranks in missed:
            if rank in ranks:
                ranks.discard(rank)
                if not ranks:
                    missed.remove(ranks)
                if not missed:
                    del self._missed[key]
                return True
        return False

    def _missing(self, match: _Match) -> Iterator[int]:
        return (rank for rank in range(match.world_size) if rank not in match.parts)

    def _rank(self, number: int) -> _Rank:
        rank = self._ranks.get(number)
        if rank is None:
            rank = self._ranks[number] = _Rank()
        return rank


def of_rank(reading: Reading, rank: int) -> Reading:
    """A reading as a series of its rank's own."""
    return replace(reading, name=f"{reading.name}/rank_{rank}")


def _merged(match: _Match) -> Merged:
    parts = [match.parts[rank] for rank in sorted(match.parts)]
    lowest = parts[0][0]
    value = reduced(lowest.reduction, [reading.value for reading, _ in parts])
    return Merged(replace(lowest, value=value), tuple(source for _, source in parts))


def untouched(process: str, readings: Sequence[Reading]) -> list[Merged]:
    """Readings that are nobody's but their process's."""
    return [Merged(reading, (Source(process, reading.sequence),)) for reading in readings]
