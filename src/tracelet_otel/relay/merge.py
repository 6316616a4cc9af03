"""The values of all ranks of a training, made one stream. Pure: no I/O, and time comes from the caller.

What several ranks log for the same thing is matched: the same training, epoch, name, stage, axis and
step, and, where these repeat, the same occurrence on each rank. A match is passed on once each rank has
contributed, or has gone on to something that all ranks have logged: ranks run one program, so what
stands before it in one rank's stream has been passed by all. Where no rank does that, a match waits
for a limited time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Final

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Held, Key, Late, Match, Merged, Rank, Result, Source
from tracelet_otel.relay.reduction import reduced

_MOST_OPEN: Final = 200_000
"""Matches that wait; the oldest is passed on where there would be more."""
_MOST_MISSED: Final = 50_000
"""Values of ranks that were not waited for any longer, remembered to know them when they come too late."""


class Merge:
    """Matches of one run.

    Args:
        limit_s: for so long a match waits for ranks that are there and have not logged it.
        unheard_s: for so long it waits for ranks of which nothing at all has come.
    """

    def __init__(self, limit_s: float, unheard_s: float = 10.0) -> None:
        self._limit_s = limit_s
        self._unheard_s = min(unheard_s, limit_s)
        self._training = 0
        self._generation = 0
        self._ranks: dict[int, Rank] = {}
        self._open: dict[Key, list[Match]] = {}
        self._by_age: OrderedDict[int, Match] = OrderedDict()
        self._missed: OrderedDict[Key, list[set[int]]] = OrderedDict()
        self._missed_count = 0
        self._unordered: set[str] = set()
        self._held: dict[str, Held] = {}
        self._tie = count()

    @property
    def waiting(self) -> int:
        """How many matches have not been passed on, and readings have not been matched."""
        return len(self._by_age) + sum(len(held.readings) for held in self._held.values())

    @property
    def waits_for_unheard(self) -> bool:
        """Whether something waits for a rank of which nothing at all has come yet."""
        return any(self._rank(rank).process is None for match in self._by_age.values() for rank in self._awaited(match))

    def hear(self, process: str, rank: int) -> Result:
        """A process is there, whether it has sent a value or not.

        Args:
            process: which.
            rank: its rank; a process that had it before has ended.
        """
        result: Result = []
        known = self._rank(rank)
        if known.process not in (None, process):
            if known.generation == self._generation:
                self._generation += 1
            for match in list(self._by_age.values()):
                if rank not in match.parts and match.key[0] < self._generation:
                    self._release(match, result, (rank,))
            self._ranks[rank] = Rank(process, self._generation)
        elif known.process is None:
            known.process, known.generation = process, self._generation
        return result

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
        result = self.hear(process, rank)
        held = self._held.setdefault(process, Held())
        for reading in readings:
            held.since_s = held.since_s if held.readings else now_s
            heappush(held.readings, (reading.sequence, next(self._tie), reading, rank))
        self._let_in(process, complete_to, now_s, result)
        while len(self._by_age) > _MOST_OPEN:
            self._give_up(next(iter(self._by_age.values())), result)
        return result

    def leave(self, rank: int) -> Result:
        """A rank has ended, by itself or not: in this training it is not waited for any more."""
        result: Result = []
        ended = self._rank(rank)
        ended.not_in, ended.ended = self._training, True
        self._sweep(result)
        return result

    def expire(self, now_s: float) -> Result:
        """Pass on what has waited for too long."""
        result: Result = []
        for process, held in self._held.items():
            # Before the others give up on its values: what is lost on the way is lost.
            if held.readings and now_s - held.since_s >= self._limit_s / 2:
                self._unordered.add(process)
                self._let_in(process, None, now_s, result)
        while self._by_age:
            oldest = next(iter(self._by_age.values()))
            unheard = [rank for rank in self._awaited(oldest) if self._rank(rank).process is None]
            if unheard and now_s - oldest.since_s >= self._unheard_s:
                for rank in unheard:
                    self._rank(rank).not_in = max(oldest.training, self._training)
                self._sweep(result)
            elif now_s - oldest.since_s >= self._limit_s:
                self._give_up(oldest, result)
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
        complete_to = None if process in self._unordered else complete_to
        while held and (complete_to is None or held[0][0] <= complete_to):
            _, _, reading, rank = heappop(held)
            self._match(process, rank, reading, now_s, result)

    def _match(self, process: str, number: int, reading: Reading, now_s: float, result: Result) -> None:
        rank = self._rank(number)
        rank.sent_s = now_s
        rank.does_not_log.discard(reading.name)
        if rank.not_in >= reading.training:
            # It is there again.
            rank.not_in, rank.ended = reading.training - 1, False
        self._training = max(self._training, reading.training)
        # The epoch tells apart what evaluation loops log at steps that begin anew in each.
        of_training = (reading.training, reading.epoch, reading.name, reading.stage, reading.axis, reading.step)
        key = (rank.generation, *of_training)
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
        if len(match.parts) >= match.world_size or next(self._awaited(match), None) is None:
            self._complete(match, result)

    def _begin_row(self, rank: Rank, reading: Reading) -> None:
        # The names of a row may stand in another order on another rank: only whole rows are compared.
        at = (reading.training, reading.stage, reading.axis, reading.step, reading.time_unix_nano)
        if at != rank.at or reading.name in rank.names:
            rank.row += 1
            rank.at = at
            rank.names = set()
        rank.names.add(reading.name)

    def _match_for(self, key: Key, rank: int, world_size: int, now_s: float) -> Match:
        matches = self._open.setdefault(key, [])
        # A rank contributes to the first that lacks it, so those that have it come first.
        first = bisect_left(matches, True, key=lambda match: rank not in match.parts)
        if first < len(matches):
            return matches[first]
        match = Match(key, world_size, now_s)
        matches.append(match)
        self._by_age[id(match)] = match
        return match

    def _complete(self, match: Match, result: Result) -> None:
        """Pass on a match to which all ranks have contributed, and all that they have logged before it."""
        for number, row in match.rows.items():
            before = self._ranks[number].matches
            while before and before[0].rows[number] < row:
                self._release(before[0], result, match.parts)
        self._release(match, result)

    def _sweep(self, result: Result) -> None:
        """Pass on what waits for nobody any more."""
        for match in list(self._by_age.values()):
            if next(self._awaited(match), None) is None:
                self._release(match, result)

    def _give_up(self, match: Match, result: Result) -> None:
        """Pass on a match that has waited for too long; who sent nothing meanwhile does not log that name."""
        for rank in map(self._rank, list(self._awaited(match))):
            if rank.sent_s <= match.since_s:
                rank.does_not_log.add(match.name)
        self._release(match, result)

    def _release(self, match: Match, result: Result, passed: Container[int] = ()) -> None:
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
            self._missed_count += 1
            while self._missed_count > _MOST_MISSED:
                self._missed_count -= len(self._missed.popitem(last=False)[1])
        for rank in match.parts:
            contributed = self._ranks[rank].matches
            while contributed and contributed[0].released:
                contributed.popleft()
        result.append(_merged(match))

    def _may_still_send(self, number: int, match: Match) -> bool:
        rank = self._rank(number)
        return rank.training <= match.training and not (rank.ended and rank.not_in >= match.training)

    def _is_late(self, key: Key, rank: int) -> bool:
        missed = self._missed.get(key, [])
        for ranks in missed:
            if rank in ranks:
                ranks.discard(rank)
                if not ranks:
                    missed.remove(ranks)
                    self._missed_count -= 1
                if not missed:
                    del self._missed[key]
                return True
        return False

    def _missing(self, match: Match) -> Iterator[int]:
        return (rank for rank in range(match.world_size) if rank not in match.parts)

    def _awaited(self, match: Match) -> Iterator[int]:
        """Ranks that may contribute to a match and have not."""
        for number in self._missing(match):
            rank = self._rank(number)
            if max(rank.training - 1, rank.not_in) < match.training and match.name not in rank.does_not_log:
                yield number

    def _rank(self, number: int) -> Rank:
        rank = self._ranks.get(number)
        if rank is None:
            rank = self._ranks[number] = Rank()
        return rank


def of_rank(reading: Reading, rank: int) -> Reading:
    """A reading as a series of its rank's own."""
    return reading._replace(name=f"{reading.name}/rank_{rank}")


def _merged(match: Match) -> Merged:
    parts = [match.parts[rank] for rank in sorted(match.parts)]
    lowest = parts[0][0]
    value = reduced(lowest.reduction, [reading.value for reading, _ in parts])
    return Merged(lowest._replace(value=value), tuple(source for _, source in parts))
