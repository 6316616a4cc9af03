"""Merges the values that all ranks of a training log into one stream. Pure: no I/O, and the caller passes the time.

A match is what ranks have logged for the same thing: the same training, epoch, name, stage, axis and step. Where these
repeat, the first occurrence on one rank is matched with the first on the others, and so on. Each match is passed on as
one value. It waits for a rank until that has contributed, or there is a reason not to wait (`ranks.Ranks`), or a time
limit is over. Ranks run one program: once all have logged the same thing, all are past what any logged before it.

An example of three ranks. `a@1` is the metric `a` at step 1; its values of ranks 0, 1 and 2 are 0, 4 and 8:

    rank 0    rank 1    rank 2                        the match of a@1 is passed on as
    a@1       a@1       a@1                           4 at once: all ranks have contributed
    a@1, b@2  a@1, b@2  b@2                           2 at once: all ranks have logged b@2, so rank 2 is past a@1
    a@1       a@1       a value of the next training  2 at once: rank 2 is in a later training
    a@1       a@1       the end of its process        2 at once: rank 2 has ended
    a@1       a@1       nothing, now or before        2 after `unheard_s`: rank 2 was never heard
    a@1       a@1       z@0 before, nothing now       2 after `limit_s`; the next `a` does not wait
    a@1       a@1       a@1 after one of these waits  2 as before; the value of rank 2 is `Late`
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import chain, count, islice, takewhile
from operator import attrgetter
from typing import Final

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Held, Key, Late, Match, Merged, Part, RankSet, Result, Source, numbers
from tracelet_otel.relay.ranks import Ranks
from tracelet_otel.relay.reduction import reduced

_MOST_OPEN: Final = 200_000
"""Most matches that wait; where there would be more, the oldest is passed on."""
_MOST_MISSED: Final = 50_000
"""Most matches remembered that went on without a rank's value, so that the value is known as late when it comes."""
_SEQUENCE: Final = attrgetter("sequence")


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
        self._ranks = Ranks()
        self._open: dict[Key, list[Match]] = {}
        """Matches that wait, by key, in the order of occurrence."""
        self._by_age: OrderedDict[int, Match] = OrderedDict()
        """The same matches by `id`, the oldest first."""
        self._missed: OrderedDict[Key, list[RankSet]] = OrderedDict()
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
    def oldest_unix_nano(self) -> int | None:
        """When the oldest of what waits was logged, in nanoseconds since the epoch; None where nothing waits."""
        parts = (part for match in islice(self._by_age.values(), 1) for part in match.parts.values())
        held = (one.readings[0][2] for one in self._held.values())
        return min((reading.time_unix_nano for reading in chain((part.reading for part in parts), held)), default=None)

    @property
    def waits_for_unheard(self) -> bool:
        """Whether something waits for a rank of which nothing at all has come yet."""
        return any(self._ranks.awaited(match) & ~self._ranks.heard for match in self._by_age.values())

    def hear(self, process: str, number: int) -> Result:
        """Take note of a process, whether it has sent a value or not.

        Args:
            process: key of the process.
            number: its rank. A process that had this rank before has ended, and is not waited for.
        """
        result: Result = []
        known = self._ranks[number]
        if known.process == process or self._ranks.is_replaced(process):
            return result
        is_first = known.process is None
        if not is_first and known.generation == self._generation:
            self._generation += 1
        self._ranks.renew(number, process, self._generation)
        if not is_first:
            self._release_unawaited(result)
        return result

    def add(
        self, process: str, number: int, readings: Iterable[Reading], complete_to: int, now_s: float, part: int = 0
    ) -> Result:
        """Take what a rank has sent.

        Args:
            process: key of the process that sent it.
            number: its rank.
            readings: readings that are to be merged, each of them passed once.
            complete_to: all samples of the process up to this sequence number have come. Those beyond wait for the
                ones that are missing, since the parts of an export may come in any order.
            now_s: the time.
            part: where the journal has the readings (`Source.part`).
        """
        result = self.hear(process, number)
        for reading in sorted(readings, key=_SEQUENCE):
            held = self._held.get(process)
            if held is None and (reading.sequence <= complete_to or process in self._unordered):
                self._match(process, number, reading, part, now_s, result)
                continue
            held = held or self._held.setdefault(process, Held(now_s))
            heappush(held.readings, (reading.sequence, next(self._tie), reading, number, part))
        self._match_held(process, complete_to, now_s, result)
        while len(self._by_age) > _MOST_OPEN:
            self._give_up(next(iter(self._by_age.values())), result)
        return result

    def leave(self, ranks: Iterable[int]) -> Result:
        """Take note that processes of ranks have ended or died; in this training they are not waited for any more."""
        result: Result = []
        left = list(ranks)
        for number in left:
            self._ranks.leave(number, self._training, ended=True)
        if left:
            self._release_unawaited(result)
        return result

    def expire(self, now_s: float, is_on_its_way: Callable[[str], bool] = lambda _: False) -> Result:
        """Pass on what has waited for too long.

        Args:
            now_s: the time.
            is_on_its_way: returns whether values of a process are known to be on their way here. Matches wait longer
                for it.
        """
        result: Result = []
        for process, held in list(self._held.items()):
            # The missing samples are taken for lost, and those that are held go on.
            if now_s - held.since_s >= self._limit_s:
                self._unordered.add(process)
                self._match_held(process, 0, now_s, result)
        limit_s = now_s - self._unheard_s
        for match in list(takewhile(lambda match: match.since_s <= limit_s, self._by_age.values())):
            self._expire(match, now_s, is_on_its_way, result)
        return result

    def flush(self, has_sent_more: Callable[[str], bool] = lambda _: False) -> Result:
        """Pass on everything; called when nothing more comes.

        Args:
            has_sent_more: returns whether a process has sent more than has come. Values lack no rank of another one.
        """
        result: Result = []
        for process in list(self._held):
            self._unordered.add(process)
            self._match_held(process, 0, 0.0, result)
        short = self._ranks.of_processes(has_sent_more)
        for match in list(self._by_age.values()):
            self._release(match, result, may_lack=short)
        return result

    def _expire(self, match: Match, now_s: float, is_on_its_way: Callable[[str], bool], result: Result) -> None:
        unheard = self._ranks.awaited(match) & ~self._ranks.heard
        if unheard and not match.released:
            for number in numbers(unheard):
                self._ranks.leave(number, max(match.training, self._training), ended=False)
            self._release_unawaited(result)
        if match.released or now_s - match.since_s < self._limit_s:
            return
        late = (self._ranks[number].process for number in numbers(self._ranks.awaited(match)))
        if not any(process in self._held or is_on_its_way(process) for process in late if process is not None):
            self._give_up(match, result)

    def _match_held(self, process: str, complete_to: int, now_s: float, result: Result) -> None:
        """Match readings of a process that were held, in order, up to a sequence number or to all that there are."""
        held = self._held.get(process)
        if held is None:
            return
        is_unordered = process in self._unordered
        while held.readings and (is_unordered or held.readings[0][0] <= complete_to):
            _, _, reading, number, part = heappop(held.readings)
            self._match(process, number, reading, part, now_s, result)
        if not held.readings:
            del self._held[process]

    def _match(self, process: str, number: int, reading: Reading, part: int, now_s: float, result: Result) -> None:
        bit, rank = 1 << number, self._ranks.of(process, number)
        rank.sent_s = now_s
        self._training = max(self._training, reading.training)
        # The epoch is part of the key since evaluation loops count their steps from 0 in each epoch.
        of_training = (reading.training, reading.epoch, reading.name, reading.stage, reading.axis, reading.step)
        key = (rank.generation, *of_training)
        source = Source(process, reading.sequence, part)
        if self._ranks.log(rank, number, reading):
            self._release_unawaited(result)
        if self._missed and self._pop_missed(key, bit):
            result.append(Late(reading, number, source))
            return
        match = self._match_for(key, number, reading.world_size, now_s)
        match.parts[number] = Part(reading, source, rank.row, rank.matches)
        match.have |= bit
        rank.matches.append(match)
        if len(match.parts) >= reading.world_size or not self._ranks.awaited(match):
            self._complete(match, result)

    def _match_for(self, key: Key, number: int, world_size: int, now_s: float) -> Match:
        matches = self._open.setdefault(key, [])
        # A rank contributes to the first match that lacks it, so the matches that have it come first.
        first = bisect_left(matches, True, key=lambda match: number not in match.parts)
        if first < len(matches):
            return matches[first]
        match = Match(key, (1 << world_size) - 1, now_s)
        matches.append(match)
        self._by_age[id(match)] = match
        return match

    def _complete(self, match: Match, result: Result) -> None:
        """Pass on a match that waits for no rank, and before it all that its ranks have logged in earlier rows."""
        for number, part in match.parts.items():
            while part.matches and part.matches[0].parts[number].row < part.row:
                self._release(part.matches[0], result, match.have)
        self._release(match, result)

    def _release_unawaited(self, result: Result) -> None:
        """Pass on the matches that wait for no rank any more."""
        for match in list(self._by_age.values()):
            if not self._ranks.awaited(match):
                self._release(match, result)

    def _give_up(self, match: Match, result: Result) -> None:
        """Pass on a match that has waited for too long; ranks that sent nothing meanwhile are not waited for again."""
        for number in numbers(self._ranks.awaited(match)):
            if self._ranks[number].sent_s <= match.since_s:
                self._ranks.wait_no_more(number, match.name)
        self._release(match, result)

    def _release(self, match: Match, result: Result, passed: RankSet = 0, may_lack: RankSet = -1) -> None:
        """Pass on a match.

        Args:
            match: the match.
            result: the merged value is appended to it.
            passed: ranks that are past the match; what they still log with its key belongs to another match.
            may_lack: ranks that the merged value may lack; -1 for all.
        """
        lacks = self._ranks.lacked_by(match) & ~passed & may_lack
        self._ranks.log_no_more(match.missing & passed, match.name)
        match.released = True
        del self._by_age[id(match)]
        matches = self._open[match.key]
        matches.remove(match)
        if not matches:
            del self._open[match.key]
        missed = self._ranks.may_still_send(match) & ~passed
        if missed:
            self._missed.setdefault(match.key, []).append(missed)
            self._missed_count += 1
            while self._missed_count > _MOST_MISSED:
                self._missed_count -= len(self._missed.popitem(last=False)[1])
        for part in match.parts.values():
            while part.matches and part.matches[0].released:
                part.matches.popleft()
        result.append(_merged(match, lacks))

    def _pop_missed(self, key: Key, bit: RankSet) -> bool:
        """Whether a match was passed on without this rank's value, which comes too late then; asked once for each."""
        missed = self._missed.get(key, [])
        for place, ranks in enumerate(missed):
            if ranks & bit:
                missed[place] = ranks & ~bit
                if not missed[place]:
                    del missed[place]
                    self._missed_count -= 1
                if not missed:
                    del self._missed[key]
                return True
        return False


def _merged(match: Match, lacks: RankSet) -> Merged:
    parts = [match.parts[number] for number in sorted(match.parts)]
    lowest = parts[0].reading
    value = reduced(lowest.reduction, [part.reading.value for part in parts])
    return Merged(lowest._replace(value=value), [part.source for part in parts], lacks)
