"""Merges the values that all ranks of a training log into one stream. Pure: no I/O, and the caller passes the time.

A match is what ranks have logged for the same thing: the same training, epoch, name, stage, axis and step. Where these
repeat, the first occurrence on one rank is matched with the first on the others, and so on. Each match is passed on as
one value. It waits for a rank until that has contributed, or there is a reason not to wait (`NotAwaited`), or a time
limit is over. Ranks run one program: once all have logged the same thing, all are past what any logged before it.

An example of three ranks. `a@1` is the metric `a` at step 1; its values of ranks 0, 1 and 2 are 0, 4 and 8:

    rank 0    rank 1    rank 2                        the match of a@1 is passed on as
    a@1       a@1       a@1                           4 at once: all ranks have contributed
    a@1, b@2  a@1, b@2  b@2                           2 at once: all ranks have logged b@2, so rank 2 is past a@1
    a@1       a@1       a value of the next training  2 at once: `IN_LATER_TRAINING`
    a@1       a@1       the end of its process        2 at once: `ENDED`
    a@1       a@1       nothing, now or before        2 after `unheard_s`: `NEVER_HEARD`
    a@1       a@1       z@0 before, nothing now       2 after `limit_s`; the next `a` waits no more: `DOES_NOT_LOG`
    a@1       a@1       a@1 after one of these waits  2 as before; the value of rank 2 is `Late`
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Final

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Held, Key, Late, Match, Merged, NotAwaited, Rank, Result, Source
from tracelet_otel.relay.reduction import reduced

_MOST_OPEN: Final = 200_000
"""Most matches that wait; where there would be more, the oldest is passed on."""
_MOST_MISSED: Final = 50_000
"""Most matches remembered that went on without a rank's value, so that the value is known as late when it comes."""


class Merge:
    """The matches of one run. Methods return what they have passed on.

    Args:
        limit_s: how long a match waits for ranks of which something has come.
        unheard_s: how long it waits for ranks of which nothing at all has come; `limit_s` at most.
    """

    def __init__(self, limit_s: float, unheard_s: float = 10.0) -> None:
        self._limit_s = limit_s
        self._unheard_s = min(unheard_s, limit_s)
        self._training = 0
        self._generation = 0
        """How often the ranks were started again; it keeps values of old and new processes apart."""
        self._ranks: dict[int, Rank] = {}
        self._open: dict[Key, list[Match]] = {}
        """Matches that wait, by key, in the order of occurrence."""
        self._by_age: OrderedDict[int, Match] = OrderedDict()
        """The same matches by `id`, the oldest first."""
        self._missed: OrderedDict[Key, list[set[int]]] = OrderedDict()
        """For each match that went on without some ranks, which of them may still send their value."""
        self._missed_count = 0
        self._unordered: set[str] = set()
        """Processes of which samples were lost: their readings are no longer held back."""
        self._held: dict[str, Held] = {}
        self._tie = count()

    @property
    def waiting(self) -> int:
        """How many matches have not been passed on, plus how many readings have not been matched."""
        return len(self._by_age) + sum(len(held.readings) for held in self._held.values())

    @property
    def waits_for_unheard(self) -> bool:
        """Whether something waits for a rank of which nothing at all has come yet."""
        return any(self._rank(rank).process is None for match in self._by_age.values() for rank in self._awaited(match))

    def hear(self, process: str, rank: int) -> Result:
        """Take note of a process, whether it has sent a value or not.

        Args:
            process: key of the process.
            rank: its rank. A process that had this rank before has ended, and is not waited for.
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
            process: key of the process that sent it.
            rank: its rank.
            readings: readings that are to be merged, each of them passed once.
            complete_to: all samples of the process up to this sequence number have come. Those beyond wait for the
                ones that are missing, since the parts of an export may come in any order.
            now_s: the time.
        """
        result = self.hear(process, rank)
        held = self._held.setdefault(process, Held())
        for reading in readings:
            held.since_s = held.since_s if held.readings else now_s
            heappush(held.readings, (reading.sequence, next(self._tie), reading, rank))
        self._match_held(process, complete_to, now_s, result)
        while len(self._by_age) > _MOST_OPEN:
            self._give_up(next(iter(self._by_age.values())), result)
        return result

    def leave(self, rank: int) -> Result:
        """Take note that a rank's process has ended or died; in this training it is not waited for any more."""
        result: Result = []
        left = self._rank(rank)
        left.absent_through, left.ended = self._training, True
        self._release_unawaited(result)
        return result

    def expire(self, now_s: float) -> Result:
        """Pass on what has waited for too long."""
        result: Result = []
        for process, held in self._held.items():
            # The missing samples are taken for lost after half the limit, before matches give up on those held here.
            if held.readings and now_s - held.since_s >= self._limit_s / 2:
                self._unordered.add(process)
                self._match_held(process, None, now_s, result)
        while self._by_age:
            oldest = next(iter(self._by_age.values()))
            unheard = [rank for rank in self._awaited(oldest) if self._rank(rank).process is None]
            if unheard and now_s - oldest.since_s >= self._unheard_s:
                for rank in unheard:
                    self._rank(rank).absent_through = max(oldest.training, self._training)
                self._release_unawaited(result)
            elif now_s - oldest.since_s >= self._limit_s:
                self._give_up(oldest, result)
            else:
                break
        return result

    def flush(self) -> Result:
        """Pass on everything; called when nothing more comes."""
        result: Result = []
        for process in list(self._held):
            self._match_held(process, None, 0.0, result)
        for match in list(self._by_age.values()):
            self._release(match, result)
        return result

    def _match_held(self, process: str, complete_to: int | None, now_s: float, result: Result) -> None:
        """Match readings of a process in order, up to a sequence number; all of them where that is None."""
        held = self._held[process].readings
        complete_to = None if process in self._unordered else complete_to
        while held and (complete_to is None or held[0][0] <= complete_to):
            _, _, reading, rank = heappop(held)
            self._match(process, rank, reading, now_s, result)

    def _match(self, process: str, number: int, reading: Reading, now_s: float, result: Result) -> None:
        rank = self._rank(number)
        rank.sent_s = now_s
        rank.does_not_log.discard(reading.name)
        if rank.absent_through >= reading.training:
            # It is back.
            rank.absent_through, rank.ended = reading.training - 1, False
        self._training = max(self._training, reading.training)
        # The epoch is part of the key since evaluation loops count their steps from 0 in each epoch.
        of_training = (reading.training, reading.epoch, reading.name, reading.stage, reading.axis, reading.step)
        key = (rank.generation, *of_training)
        source = Source(process, reading.sequence)
        self._note_row(rank, reading)
        if reading.training > rank.training:
            rank.training = reading.training
            self._release_unawaited(result)
        if self._pop_missed(key, number):
            result.append(Late(reading, number, source))
            return
        match = self._match_for(key, number, reading.world_size, now_s)
        match.parts[number] = (reading, source)
        match.rows[number] = rank.row
        rank.matches.append(match)
        if len(match.parts) >= match.world_size or next(self._awaited(match), None) is None:
            self._complete(match, result)

    def _note_row(self, rank: Rank, reading: Reading) -> None:
        # Ranks may log the names of a row in different orders, so only whole rows tell what comes before what.
        at = (reading.training, reading.stage, reading.axis, reading.step, reading.time_unix_nano)
        if at != rank.at or reading.name in rank.names:
            rank.row += 1
            rank.at = at
            rank.names = set()
        rank.names.add(reading.name)

    def _match_for(self, key: Key, rank: int, world_size: int, now_s: float) -> Match:
        matches = self._open.setdefault(key, [])
        # A rank contributes to the first match that lacks it, so the matches that have it come first.
        first = bisect_left(matches, True, key=lambda match: rank not in match.parts)
        if first < len(matches):
            return matches[first]
        match = Match(key, world_size, now_s)
        matches.append(match)
        self._by_age[id(match)] = match
        return match

    def _complete(self, match: Match, result: Result) -> None:
        """Pass on a match that waits for no rank, and before it all that its ranks have logged in earlier rows."""
        for number, row in match.rows.items():
            before = self._ranks[number].matches
            while before and before[0].rows[number] < row:
                self._release(before[0], result, match.parts)
        self._release(match, result)

    def _release_unawaited(self, result: Result) -> None:
        """Pass on the matches that wait for no rank any more."""
        for match in list(self._by_age.values()):
            if next(self._awaited(match), None) is None:
                self._release(match, result)

    def _give_up(self, match: Match, result: Result) -> None:
        """Pass on a match that has waited for too long; ranks that sent nothing meanwhile do not log its name."""
        for rank in map(self._rank, list(self._awaited(match))):
            if rank.sent_s <= match.since_s:
                rank.does_not_log.add(match.name)
        self._release(match, result)

    def _release(self, match: Match, result: Result, passed: Container[int] = ()) -> None:
        """Pass on a match.

        Args:
            match: the match.
            result: the merged value is appended to it.
            passed: ranks that are past the match; what they still log with its key belongs to another match.
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
        reason = self._rank(number).reason_not_to_wait(match)
        return reason not in (NotAwaited.IN_LATER_TRAINING, NotAwaited.ENDED)

    def _pop_missed(self, key: Key, rank: int) -> bool:
        """Whether a match was passed on without this rank's value, which comes too late then; asked once for each."""
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
        """Ranks for which a match has to wait."""
        return (rank for rank in self._missing(match) if self._rank(rank).reason_not_to_wait(match) is None)

    def _rank(self, number: int) -> Rank:
        rank = self._ranks.get(number)
        if rank is None:
            rank = self._ranks[number] = Rank()
        return rank


def of_rank(reading: Reading, rank: int) -> Reading:
    """A reading under a name of its rank's own, for runs that keep ranks apart."""
    return reading._replace(name=f"{reading.name}/rank_{rank}")


def _merged(match: Match) -> Merged:
    parts = [match.parts[rank] for rank in sorted(match.parts)]
    lowest = parts[0][0]
    value = reduced(lowest.reduction, [reading.value for reading, _ in parts])
    return Merged(lowest._replace(value=value), tuple(source for _, source in parts))
